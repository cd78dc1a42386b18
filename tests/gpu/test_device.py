"""On a real device, against the CPU backend: `pytest -m gpu`. Skipped where there is none."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from tolerances import HALF_MODEL, OP, PARITY

import yosort
from yosort import ops
from yosort.ops.gpu import find_gpu
from yosort.ops.reference import l2_normalize
from yosort.ops.signs import hash_signs

try:
    cupy, _ = find_gpu()
    why = ""
except yosort.DeviceError as error:
    why = str(error)

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(why), reason=why)]

CLASSES = [
    "YosoModel",
    "YosoForMaskedLM",
    "YosoForSequenceClassification",
    "YosoForTokenClassification",
    "YosoForQuestionAnswering",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YOSO-base's shape with two layers, random weights."""
    config = yosort.YosoConfig(num_hidden_layers=2, vocab_size=1000, conv_window=5)
    made = tmp_path_factory.mktemp("model")
    yosort.YosoModel(config, seed=1).save_pretrained(made)
    return made


def ragged(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask of three texts, the longest of n tokens."""
    rng = np.random.default_rng(n)
    ids = rng.integers(3, 1000, (3, n))
    mask = (np.arange(n) < np.array([[n], [max(1, n // 2)], [max(1, n // 3)]])).astype(int)
    return ids, mask


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("attention", ["expectation", "sampled"])
def test_classes_equal_the_cpu(folder: Path, name: str, attention: str) -> None:
    ids, mask = ragged(333)
    answers = []
    for device in ("cuda", "cpu"):
        cls = getattr(yosort, name)
        options: dict[str, Any] = {"attention": attention, "allow_random_head": True, "seed": 3}
        model = cls.from_pretrained(folder, device=device, **options)
        answers.append(model(ids, mask).to_tuple()[0])
    # Codes flip where rounding of q and k, which cuBLAS sums in another order, crosses a plane.
    bound = PARITY if attention == "expectation" else 5e-2
    assert relative_error(answers[0].get(), answers[1]) <= bound


@pytest.mark.parametrize(("n", "dim", "num_hash", "length"), [(4096, 64, 64, 9), (37, 48, 130, 16)])
def test_functional_ops(n: int, dim: int, num_hash: int, length: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.standard_normal((2, n, dim)).astype(np.float32)
    signs = hash_signs(num_hash, length, dim, heads=2, seed=0)
    sizes = {"num_hash": num_hash, "hash_code_len": length}
    codes = ops.fast_hash(cupy.asarray(x), cupy.asarray(signs), **sizes)
    wanted = ops.fast_hash(x, signs, **sizes)
    np.testing.assert_array_equal(codes.get(), wanted)
    sums = [
        ops.lsh_cumulation(codes, codes, cupy.asarray(x), hash_code_len=length) for _ in range(2)
    ]
    np.testing.assert_array_equal(sums[0].get(), sums[1].get())
    assert (
        relative_error(sums[0].get(), ops.lsh_cumulation(wanted, wanted, x, hash_code_len=length))
        <= OP
    )
    query, key = (l2_normalize(rng.standard_normal((2, n, dim))).astype(np.float32) for _ in "qk")
    got = ops.expected_attention(*(cupy.asarray(a) for a in (query, key, x)), hash_code_len=length)
    wanted = ops.expected_attention(query, key, x, hash_code_len=length)
    assert relative_error(got.get(), wanted) <= OP


def test_half_precision_is_near(folder: Path) -> None:
    ids, mask = ragged(200)
    half = yosort.load(folder, device="cuda", dtype="float16", attention="expectation")
    wanted = yosort.load(folder, device="cpu", attention="expectation")(ids, mask)
    got = half(ids, mask).last_hidden_state
    assert relative_error(got.get(), wanted.last_hidden_state) <= HALF_MODEL


def test_streams_and_threads_give_the_same_bits(folder: Path) -> None:
    model = yosort.load(folder, device="cuda", attention="sampled")
    ids, mask = ragged(100)
    wanted = model(ids, mask).last_hidden_state.get()
    answers: list[np.ndarray] = []

    def run() -> None:
        with cupy.cuda.Stream(non_blocking=True) as stream:
            out = model(ids, mask).last_hidden_state
            stream.synchronize()
            answers.append(out.get())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    for answer in answers:
        np.testing.assert_array_equal(answer, wanted)


def test_out_of_memory_leaves_the_model_usable(folder: Path) -> None:
    model = yosort.load(folder, device="cuda")
    ids, mask = ragged(50)
    wanted = model(ids, mask).last_hidden_state.get()
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit()
    pool.set_limit(size=pool.used_bytes() + (1 << 20))
    try:
        with pytest.raises(yosort.DeviceError, match="MB are free"):
            model(*ragged(2000))
    finally:
        pool.set_limit(size=limit)
    np.testing.assert_array_equal(model(ids, mask).last_hidden_state.get(), wanted)
