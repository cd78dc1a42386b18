"""On a real GPU, where CuPy finds one: sizes of real texts, models, streams, several devices.

`pytest -m gpu tests/ops tests/gpu` runs these, and every case of tests/ops there.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from comparing import flatten, relative_error
from ops.cases import Attention, split, texts_of
from tolerances import HALF, HALF_MODEL, OP, PARITY

import yosort
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cuda.backend import CudaOps

cupy = pytest.importorskip("cupy", exc_type=ImportError)
if not cupy.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.gpu

#: heads, head_dim, num_hash, hash_code_len, lengths of the texts
SHAPES = [
    (12, 64, 32, 9, [4096]),
    (12, 64, 64, 9, [512, 1, 37, 4096, 9]),
    (3, 20, 13, 5, [130, 24, 3]),
    (1, 8, 1, 1, [1]),
    (2, 128, 130, 16, [300, 1000]),
    (1, 300, 7, 12, [77]),
]
#: Normalised sums of values that cancel have no direction of their own; of the other rows, this.
ROW = 1e-4


def close(got: Any, wanted: np.ndarray, dim: int, bound: float) -> None:
    """Compare head by head: typical rows within `bound`, all that have a direction within ROW."""
    difference = np.abs(cupy.asnumpy(got).astype(np.float64) - wanted).reshape(-1, dim).max(axis=1)
    assert np.isfinite(difference).all()
    assert np.median(difference) <= bound
    assert np.quantile(difference, 0.999) <= max(ROW, 10 * bound)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_are_the_cpus_bit_for_bit(shape: Any) -> None:
    case = Attention("fast", *shape)
    arrays = split(case.draw()["qkv"])[:2]
    gpu, cpu = CudaOps(cupy), CpuOps()
    functions = gpu.hash_functions(case.functions())
    got = gpu._kernels.codes(*map(cupy.asarray, arrays), functions, case.hash_code_len)
    for codes, rows in zip(got, arrays, strict=True):
        wanted = cpu.codes(rows, cpu.hash_functions(case.functions()), case.hash_code_len)
        np.testing.assert_array_equal(codes.get(), wanted)


@pytest.mark.parametrize("tiny", [1e-30, 1e-38, 1e-40])
def test_codes_of_the_smallest_numbers(tiny: float) -> None:
    """CuPy compiles with -ftz=true, which must not reach the hash."""
    case = Attention("fast", *SHAPES[2])
    x = split(case.draw()["qkv"])[0] * np.float32(tiny)
    gpu, cpu = CudaOps(cupy), CpuOps()
    got = gpu.codes(cupy.asarray(x), gpu.hash_functions(case.functions()), case.hash_code_len)
    wanted = cpu.codes(x, cpu.hash_functions(case.functions()), case.hash_code_len)
    np.testing.assert_array_equal(got.get(), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_row_by_one_column(dtype: str) -> None:
    """CuPy's own matmul would leave cuBLAS, and round each product of float16."""
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal((1, 640)).astype(dtype) for _ in range(2))
    ops = CudaOps(cupy, dtype=dtype)
    linear_map = ops.linear_map([weight], [np.zeros(1, np.float32)])
    got = float(ops.linear(cupy.asarray(x), linear_map).get()[0, 0])
    wanted = float((x.astype(np.float64) @ weight.T.astype(np.float64))[0, 0])
    assert abs(got - wanted) <= (HALF if dtype == "float16" else OP) * abs(wanted)


@pytest.mark.parametrize("first", [0, 1, 4])
def test_rows_are_hashed_wherever_they_lie(first: int) -> None:
    """By vectors of four elements where they are aligned, one by one elsewhere."""
    case = Attention("fast", 2, 64, 32, 9, (300,))
    rows = np.random.default_rng(0).standard_normal((300, 136)).astype(np.float32)
    gpu, cpu = CudaOps(cupy), CpuOps()
    x = cupy.asarray(rows)[:, first : first + 128]
    got = gpu.codes(x, gpu.hash_functions(case.functions()), 9)
    host = np.ascontiguousarray(rows[:, first : first + 128])
    wanted = cpu.codes(host, cpu.hash_functions(case.functions()), 9)
    np.testing.assert_array_equal(got.get(), wanted)


def test_loading_keeps_no_page_locked_memory() -> None:
    yosort.YosoModel(CONFIG, seed=1, device="cuda", attention="sampled")
    assert cupy.get_default_pinned_memory_pool().n_free_blocks() == 0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("form", ["expectation", "fast"])
def test_attention_is_the_cpus(shape: Any, dtype: str, form: str) -> None:
    case = Attention(form, *shape)
    qkv = case.draw()["qkv"].astype(dtype)
    got = case.attend(CudaOps(cupy, dtype=dtype), qkv, case.lengths)
    wanted = case.attend(CpuOps(), qkv.astype(np.float32), case.lengths)
    close(got, wanted, case.width, OP if dtype == "float32" else HALF)


def test_slow_hash_codes_differ_only_within_rounding() -> None:
    case = Attention("gaussian", *SHAPES[0])
    x, functions = split(case.draw()["qkv"])[0], case.functions()
    gpu, cpu = CudaOps(cupy), CpuOps()
    got = gpu.codes(cupy.asarray(x), gpu.hash_functions(functions), case.hash_code_len).get()
    wanted = cpu.codes(x, cpu.hash_functions(functions), case.hash_code_len)
    assert (got != wanted).mean() < 1e-4


@pytest.mark.parametrize("form", ["expectation", "fast"])
def test_the_same_bits_every_time_and_in_any_batch(form: str) -> None:
    case = Attention(form, *SHAPES[1])
    qkv = case.draw()["qkv"]

    def run(rows: np.ndarray, lengths: Any) -> np.ndarray:
        return np.asarray(case.attend(CudaOps(cupy), rows, lengths).get())

    first = run(qkv, case.lengths)
    for _ in range(5):
        np.testing.assert_array_equal(run(qkv, case.lengths), first)
    for n, text in zip(case.lengths, texts_of(case.lengths), strict=True):
        np.testing.assert_array_equal(run(qkv[text], [n]), first[text])


CONFIG = yosort.YosoConfig(
    vocab_size=300, hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
    intermediate_size=160, max_position_embeddings=600, hash_code_len=6, num_hash=16, num_labels=3,
    conv_window=5,
)  # fmt: skip
IDS = np.random.default_rng(0).integers(3, 300, (4, 515))
MASK = (np.arange(515) < np.array([[515], [1], [300], [77]])).astype(np.int64)


@pytest.mark.parametrize(
    "name",
    [
        "YosoModel",
        "YosoForMaskedLM",
        "YosoForSequenceClassification",
        "YosoForTokenClassification",
        "YosoForQuestionAnswering",
    ],
)
def test_classes_are_the_cpus(name: str) -> None:
    """In the exact form: a code bit that rounding turns would not say anything."""
    answers = []
    for device in ("cuda", "cpu"):
        model = getattr(yosort, name)(CONFIG, seed=1, device=device, attention="expectation")
        output = model(IDS, MASK, output_hidden_states=True)
        answers.append([cupy.asnumpy(a) for a in _arrays(output)])
    for got, wanted in zip(*answers, strict=True):
        assert relative_error(got, wanted) <= PARITY


def _arrays(output: Any) -> list[Any]:
    arrays: list[Any] = []
    for field in output.to_tuple():
        arrays.extend(field if isinstance(field, tuple) else (field,))
    return arrays


def test_half_precision_is_near() -> None:
    options: dict[str, Any] = {"seed": 1, "attention": "expectation"}
    half = yosort.YosoForMaskedLM(CONFIG, device="cuda", dtype="float16", **options)(IDS, MASK)
    whole = flatten(yosort.YosoForMaskedLM(CONFIG, device="cpu", **options)(IDS, MASK))
    assert half.logits.dtype == np.float16
    assert relative_error(half.logits.get(), whole[0]) <= HALF_MODEL


def test_streams_and_threads() -> None:
    """Callers' streams are used, and threads that share a model get their own answers."""
    model = yosort.YosoForMaskedLM(CONFIG, seed=1, device="cuda", attention="sampled")
    texts = [IDS[:1, : 50 + 40 * i] for i in range(8)]
    wanted = [model(ids).logits.get() for ids in texts]
    with cupy.cuda.Stream(non_blocking=True) as stream:
        got = model(texts[3]).logits
        stream.synchronize()
    np.testing.assert_array_equal(got.get(), wanted[3])
    answers: list[Any] = [None] * 8

    def work(i: int) -> None:
        with cupy.cuda.Stream(non_blocking=True):
            for _ in range(5):
                answers[i] = model(texts[i]).logits.get()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, expected in zip(answers, wanted, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.skipif(cupy.cuda.runtime.getDeviceCount() < 2, reason="one device")
def test_several_devices() -> None:
    models = [yosort.YosoModel(CONFIG, seed=1, device=f"cuda:{i}") for i in range(2)]
    first, second = (model(IDS, MASK).last_hidden_state for model in models)
    assert (first.device.id, second.device.id) == (0, 1)
    with cupy.cuda.Device(1):
        other = second.get()
    assert relative_error(other, first.get()) <= PARITY


def test_dlpack_and_errors() -> None:
    model = yosort.YosoModel(CONFIG, seed=1, device="cuda")
    out = model(IDS, MASK).last_hidden_state
    np.testing.assert_array_equal(cupy.from_dlpack(out).get(), out.get())
    count = cupy.cuda.runtime.getDeviceCount()
    with pytest.raises(yosort.DeviceError, match=f"cuda:{count}"):
        yosort.YosoModel(CONFIG, device=f"cuda:{count}")


def test_long_texts_stay_linear_in_memory() -> None:
    """16,384 tokens, 12 heads: no array of n x n, which would be 12.9 GB."""
    pool, ops = cupy.get_default_memory_pool(), CudaOps(cupy)
    for form in ("fast", "expectation"):
        case = Attention(form, 12, 64, 32, 9, (16384,))
        qkv = case.draw()["qkv"]
        pool.free_all_blocks()
        before = pool.total_bytes()
        case.attend(ops, qkv, case.lengths)
        assert pool.total_bytes() - before - qkv.nbytes < 16 * qkv.nbytes / 3
