"""What the GPU backend promises beyond being right: what a result may depend on, and its costs."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from comparing import relative_error

from emulator import build, fake_cupy
from yosort import ops as functional
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cuda import attention as cuda_attention
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.hashing import gaussian_projection, hash_signs
from yosort.ops.interface import HashFunctions, Layout

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")

FORMS = ["expectation", "sampled", "slow hash"]


@pytest.fixture(autouse=True)
def seeds() -> Iterator[None]:
    """Let a test change the order of threads."""
    before = fake_cupy.seed
    yield
    fake_cupy.seed = before


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def layout_of(lengths: list[int], count: int, code_len: int) -> Layout:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Layout(count, code_len, offsets, offsets)


def attend(
    ops: CudaOps, form: str, qkv: np.ndarray, layout: Layout, num_hash: int = 9
) -> np.ndarray:
    """Attend as a layer does: q, k and v are columns of one array."""
    width = qkv.shape[1] // 3
    place = fake_cupy.asarray(qkv)
    query, key, value = (place[:, i * width : (i + 1) * width] for i in range(3))
    if form == "expectation":
        return ops.to_host(ops.expected_attention(query, key, value, ops.layout(layout)))
    dim, length = width // layout.heads, layout.hash_code_len
    if form == "sampled":
        signs = hash_signs(num_hash, length, dim, heads=layout.heads, seed=1)
        functions = HashFunctions(num_hash, signs=signs)
    else:
        matrix = gaussian_projection(num_hash, length, dim, heads=layout.heads, seed=1)
        functions = HashFunctions(num_hash, projection=matrix)
    return ops.to_host(
        ops.sampled_attention(query, key, value, ops.layout(layout), ops.hash_functions(functions))
    )


@pytest.mark.parametrize("form", ["expectation", "sampled"])
def test_a_text_does_not_depend_on_its_batch(form: str) -> None:
    """The same bits alone, in a batch, and in another order of threads.

    Enough texts that a choice of blocks by their number would show.
    """
    lengths = [5, 70, 3, 1, 18]
    qkv = draw(1, sum(lengths), 3 * 2 * 8)
    layout = layout_of(lengths, 2, 4)
    together = attend(CudaOps(fake_cupy), form, qkv, layout)
    for begin, end in zip(layout.offsets[:-1], layout.offsets[1:], strict=True):
        fake_cupy.seed += 1
        alone = attend(CudaOps(fake_cupy), form, qkv[begin:end], layout_of([end - begin], 2, 4))
        np.testing.assert_array_equal(alone, together[begin:end])


@pytest.mark.parametrize("form", FORMS)
def test_an_overflow_shows_in_its_text_only(form: str) -> None:
    qkv = draw(2, 12, 3 * 8)
    clean = attend(CudaOps(fake_cupy), form, qkv, layout_of([5, 7], 1, 4))
    qkv[2] = np.nan
    got = attend(CudaOps(fake_cupy), form, qkv, layout_of([5, 7], 1, 4))
    np.testing.assert_array_equal(got[5:], clean[5:])
    if form == "expectation":
        assert np.isnan(got[:5]).all()


@pytest.mark.parametrize("form", FORMS)
def test_one_values_overflow_takes_its_head_along(form: str) -> None:
    """As it does on the CPU: a norm that is not a number divides all of the row."""
    qkv, layout = draw(2, 12, 3 * 2 * 8), layout_of([12], 2, 1)
    qkv[:, 2 * 16 + 3] = np.nan
    got = attend(CudaOps(fake_cupy), form, qkv, layout)
    assert np.isnan(got[:, :8]).all()
    assert np.isfinite(got[:, 8:]).all()


def test_small_devices_take_more_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turing has 64 KB of shared memory a block: codes of 9 bits in two passes, the same sums."""
    qkv, layout = draw(3, 40, 3 * 16), layout_of([33, 7], 2, 9)
    wanted = attend(CudaOps(fake_cupy), "sampled", qkv, layout)
    turing = fake_cupy.cuda.Device(0)
    turing.compute_capability = "75"
    monkeypatch.setitem(fake_cupy.LIMITS, "shared_optin", 64 << 10)
    ops = CudaOps(fake_cupy)
    ops._kernels.device = turing
    np.testing.assert_allclose(attend(ops, "sampled", qkv, layout), wanted, rtol=0, atol=1e-6)
    monkeypatch.setitem(fake_cupy.LIMITS, "shared_optin", 163 << 10)
    ampere = fake_cupy.cuda.Device(0)
    ampere.compute_capability = "80"
    ops = CudaOps(fake_cupy)
    ops._kernels.device = ampere
    np.testing.assert_array_equal(attend(ops, "sampled", qkv, layout), wanted)
    monkeypatch.setitem(fake_cupy.LIMITS, "shared_optin", 64 << 10)
    with pytest.raises(fake_cupy.EmulatorError, match=r"no device launches .* shared memory"):
        attend(CudaOps(fake_cupy), "sampled", qkv, layout)


def test_projections_in_parts_give_the_same_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv = draw(4, 10, 3 * 3 * 4)
    matrix = gaussian_projection(7, 5, 4, heads=3, seed=2)
    functions = HashFunctions(7, projection=matrix)
    x = fake_cupy.asarray(qkv)[:, :12]
    cpu, gpu = CpuOps(1), CudaOps(fake_cupy)
    prepared = gpu.hash_functions(functions)
    whole = gpu.codes(x, prepared, 5).get()
    wanted = cpu.codes(qkv[:, :12], cpu.hash_functions(functions), 5)
    np.testing.assert_array_equal(whole, wanted)
    for heads_at_once in (1, 2):
        monkeypatch.setattr(cuda_attention, "PROJECTED_BYTES", heads_at_once * 4 * 10 * 35)
        parts = gpu.codes(x, prepared, 5).get()
        np.testing.assert_array_equal(parts, whole)


def cumulate(codes: np.ndarray, value: np.ndarray, code_len: int) -> np.ndarray:
    """Return the sums of one text and head over all hashes, codes [num_hash, n]."""
    place, ops = fake_cupy.asarray, CudaOps(fake_cupy)
    layout = layout_of([len(value)], 1, code_len)
    both = place(codes[None].astype(np.uint16))
    return ops._kernels.cumulate(both, both, place(value), ops.layout(layout)).get().sum(axis=0)


@pytest.mark.parametrize(
    ("code_len", "possible"),
    [
        (9, [0]),
        (9, [0, 511]),
        (9, [7, 8, 9]),
        (9, list(range(512))),
        # The first and last of every pass.
        (11, [0, 511, 512, 1023, 1024, 1535, 1536, 2047]),
    ],
    ids=["one", "ends", "neighbours", "any", "passes"],
)
def test_every_bucket_may_be_the_same_or_every_one_another(
    code_len: int, possible: list[int]
) -> None:
    """All keys in one bucket, runs of equal codes, and all apart."""
    value = draw(5, 150, 8)
    codes = np.random.default_rng(len(possible)).choice(possible, (5, 150))
    wanted = sum((row[:, None] == row[None]) @ value.astype(np.float64) for row in codes)
    assert relative_error(cumulate(codes, value, code_len), wanted) < 1e-6


def counted(form: str, n: int) -> dict[str, int]:
    """Return what a call over one text of n tokens counts, all its kernels together."""
    fake_cupy.launches.clear()
    attend(CudaOps(fake_cupy), form, draw(6, n, 3 * 8), layout_of([n], 1, 4), num_hash=4)
    names = fake_cupy.launches[0][1]
    return {name: sum(c[name] for _, c in fake_cupy.launches) for name in names}


def test_sampled_attention_costs_grow_with_the_length() -> None:
    """Linear: the same number of tokens more, the same bytes more; and not one atomic.

    To the byte: what does not grow (signs, offsets) cancels in the differences.
    """
    small, middle, large = (counted("sampled", n) for n in (128, 256, 384))
    for name in ("read_bytes", "written_bytes"):
        assert large[name] - middle[name] == middle[name] - small[name] > 0
    assert large["atomics"] == counted("expectation", 64)["atomics"] == 0


@pytest.mark.parametrize(("num_hash", "code_len"), [(8, 9), (9, 10), (1, 1)])
def test_no_round_is_wasted(num_hash: int, code_len: int) -> None:
    """Barriers of the cumulation: per round and pass, one a tile of keys and two more."""
    fake_cupy.launches.clear()
    cumulate(np.zeros((num_hash, 130), int), draw(7, 130, 8), code_len)
    per_group = -(-num_hash // -(-num_hash // cuda_attention.TABLES))
    rounds = sum(
        -(-min(per_group, num_hash - first) // cuda_attention.TABLES)
        for first in range(0, num_hash, per_group)
    )
    passes = max(1, (1 << code_len) // cuda_attention.BUCKETS)
    assert fake_cupy.launches[-1][1]["barriers"] == rounds * passes * (-(-130 // 64) + 2)


def test_no_tile_is_wasted() -> None:
    """Barriers of the expectation: a pair for each chunk of dims, and a pair a tile of keys."""
    fake_cupy.launches.clear()
    attend(CudaOps(fake_cupy), "expectation", draw(8, 128, 3 * 64), layout_of([128], 1, 4))
    counters = dict(fake_cupy.launches)["expected_attention"]
    blocks, tiles, chunks = (
        128 // cuda_attention.QUERY_ROWS,
        128 // 64,
        64 // cuda_attention.MAX_CHUNK,
    )
    assert counters["barriers"] == blocks * tiles * (2 * chunks + 2)


def test_cosines_past_one_are_clamped(cupy: ModuleType) -> None:
    """Rounding makes them, and acos has no answer there: weights of 1 and of 0, exactly."""
    query = np.zeros((1, 2, 8), np.float32)
    query[0, :, 0] = 1.0001, -1.0001
    value = draw(9, 1, 2, 3)
    place = fake_cupy.asarray
    got = functional.expected_attention(place(query), place(query), place(value), hash_code_len=3)
    np.testing.assert_array_equal(got.get(), value)
