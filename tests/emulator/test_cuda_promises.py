"""What is the GPU backend's own beside tests/ops: passes, parts, counters, and codes of both."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from ops.cases import SHAPES, Attention, draw, layout_of, split

from emulator import build, devices, fake_cupy
from emulator.counting import by_warps
from yosort import ops as functional
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cuda import attention as cuda_attention
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.hashing import gaussian_projection
from yosort.ops.interface import HashFunctions

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")


def attend(ops: CudaOps, case: Attention) -> np.ndarray:
    return np.asarray(ops.to_host(case.attend(ops, case.draw()["qkv"], case.lengths)))


@pytest.mark.parametrize("shape", [*SHAPES[3::5], (1, 1100, 2, 13, (7, 5))], ids=str)
def test_queries_and_keys_get_their_codes_in_one_launch(shape: Any, any_order: None) -> None:
    case, ops = Attention("fast", *shape), CudaOps(fake_cupy)
    qkv = case.draw()["qkv"]
    query, key, _ = split(ops.from_host(qkv))
    prepared = ops.hash_functions(case.functions())
    got = ops._kernels.codes(query, key[1:], prepared, case.hash_code_len)
    for codes, rows in zip(got, (split(qkv)[0], split(qkv)[1][1:]), strict=True):
        np.testing.assert_array_equal(codes.get(), case.codes(rows).swapaxes(1, 2))


@pytest.mark.parametrize(
    ("shape", "first", "dtype", "vector"),
    [
        ((2, 8, 9, 4, (7,)), 0, "float32", 4),
        ((2, 8, 9, 4, (7,)), 4, "float16", 4),
        ((2, 8, 9, 4, (7,)), 1, "float32", 1),  # columns that begin between two vectors
        ((2, 8, 9, 4, (7,)), 2, "float16", 1),
        ((2, 6, 9, 4, (7,)), 0, "float32", 1),  # and heads
        ((1, 12, 9, 4, (7,)), 0, "float32", 4),
    ],
)
def test_rows_are_hashed_wherever_they_lie(shape: Any, first: int, dtype: str, vector: int) -> None:
    """Four elements at once where every head of every row begins a vector."""
    case, ops = Attention("fast", *shape), CudaOps(fake_cupy, dtype=dtype)
    width = case.heads * case.width
    rows = draw(8, 7, 2 * width + 8).astype(dtype)
    x, y = (ops.from_host(rows)[:, at : at + width] for at in (first, 0))
    prepared = ops.hash_functions(case.functions())
    got = ops._kernels.codes(x, y, prepared, case.hash_code_len)
    for codes, at in zip(got, (first, 0), strict=True):
        wanted = case.codes(rows[:, at : at + width].astype(np.float32))
        np.testing.assert_array_equal(codes.get(), wanted.swapaxes(1, 2))
    ((_, _, *defines),) = ops._launch._functions
    assert dict(defines)["VECTOR"] == vector


def test_vectors_read_each_sector_twice_and_not_eight_times() -> None:
    """A lane's 16 elements are two sectors, which four loads ask for, or sixteen."""
    case, ops = Attention("fast", 1, 64, 7, 9, (64,)), CudaOps(fake_cupy)
    wide = ops.from_host(draw(8, 64, 68))
    prepared, sectors = ops.hash_functions(case.functions()), []
    for first in (0, 1):
        x = wide[:, first : first + 64]
        with by_warps() as found:
            ops._kernels.codes(x, x, prepared, 9)
        sectors.append(found["hadamard_hash"]["global_sectors"])
    once = 2 * 64 * 64 * 4 // 32
    assert sectors[1] - sectors[0] == (8 - 2) * once


def test_no_kernel_uses_atomics() -> None:
    fake_cupy.launches.clear()
    attend(CudaOps(fake_cupy), Attention("fast", *SHAPES[8]))
    names = [name for name, _ in fake_cupy.launches]
    assert names == ["hadamard_hash", "lsh_cumulation", "normalize_heads"]
    assert all(counters["atomics"] == 0 for _, counters in fake_cupy.launches)


def test_small_devices_take_more_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turing has 64 KB of shared memory a block: codes of 9 bits in two passes, the same sums."""
    case = Attention("fast", 2, 8, 9, 9, (33, 7))
    wanted = attend(CudaOps(fake_cupy), case)
    for capability, tolerance in (("80", 0.0), ("75", 1e-6)):
        monkeypatch.setattr(devices, "capabilities", [capability])
        np.testing.assert_allclose(attend(CudaOps(fake_cupy), case), wanted, rtol=0, atol=tolerance)
    monkeypatch.setattr(cuda_attention, "TURING_BUCKETS", cuda_attention.BUCKETS)
    with pytest.raises(fake_cupy.EmulatorError, match=r"no device launches .* shared memory"):
        attend(CudaOps(fake_cupy), case)


@pytest.mark.parametrize("tiny", [1e-38, 1e-40, 3e-44])
def test_code_bits_of_the_smallest_numbers(tiny: float) -> None:
    """Subnormal numbers, which CuPy's own option would take for zero."""
    case, ops = Attention("fast", 2, 40, 9, 9, (13, 6)), CudaOps(fake_cupy)
    query, key, _ = split(case.draw()["qkv"] * np.float32(tiny))
    assert (np.abs(query)[query != 0] < np.finfo(np.float32).tiny).mean() > 0.4
    prepared = ops.hash_functions(case.functions())
    got = ops._kernels.codes(*map(ops.from_host, (query, key)), prepared, case.hash_code_len)
    for codes, rows in zip(got, (query, key), strict=True):
        np.testing.assert_array_equal(codes.get(), case.codes(rows).swapaxes(1, 2))


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
    layout = layout_of([len(value)], 1, code_len, sampled=True)
    both = place(codes[None].astype(np.uint16))
    return ops._kernels.cumulate(both, both, place(value), ops.layout(layout)).get().sum(axis=0)


@pytest.mark.parametrize(
    ("multiprocessors", "groups"), [(132, 8), (16, 6), (8, 3), (1, 1)], ids=str
)
def test_groups_fill_the_device_at_hand(
    monkeypatch: pytest.MonkeyPatch, multiprocessors: int, groups: int
) -> None:
    """Two blocks a multiprocessor for one text of two heads and three slices; not by the batch."""
    monkeypatch.setattr(devices, "MULTIPROCESSORS", multiprocessors)
    case, ops = Attention("fast", 2, 20, 32, 4, (5, 3)), CudaOps(fake_cupy)
    query, key, value = split(ops.from_host(case.draw()["qkv"]))
    codes = ops._kernels.codes(query, key, ops.hash_functions(case.functions()), 4)
    for lengths in ((5, 3), (8,)):
        where = ops.layout(layout_of(lengths, 2, 4, sampled=True))
        assert len(ops._kernels.cumulate(*codes, value, where)) == groups


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
    attend(CudaOps(fake_cupy), Attention(form, 1, 8, 4, 4, (n,)))
    names = fake_cupy.launches[0][1]
    return {name: sum(c[name] for _, c in fake_cupy.launches) for name in names}


def test_sampled_attention_costs_grow_with_the_length() -> None:
    """Linear: the same number of tokens more, the same bytes more; and not one atomic.

    To the byte: what does not grow (signs, offsets) cancels in the differences.
    """
    small, middle, large = (counted("fast", n) for n in (128, 256, 384))
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
    attend(CudaOps(fake_cupy), Attention("expectation", 1, 64, 1, 4, (128,)))
    counters = dict(fake_cupy.launches)["expected_attention"]
    blocks, tiles, chunks = (
        128 // cuda_attention.QUERY_ROWS,
        128 // 64,
        64 // cuda_attention.MAX_CHUNK,
    )
    assert counters["barriers"] == blocks * tiles * (2 * chunks + 2)


@pytest.mark.parametrize(("width", "chunk"), [(1, 8), (8, 8), (9, 16), (64, 64), (65, 64)])
def test_a_chunk_of_dims_is_no_wider_than_need_be(
    width: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power of two: what is past the width is loaded as zeros, and multiplied."""
    made = []
    original = fake_cupy.RawKernel.__init__

    def note(self: Any, module: Any, name: str) -> None:
        made.append((name, *module.defines))
        original(self, module, name)

    monkeypatch.setattr(fake_cupy.RawKernel, "__init__", note)
    attend(CudaOps(fake_cupy), Attention("expectation", 1, width, 1, 4, (5,)))
    (defines,) = (defines for name, *defines in made if name == "expected_attention")
    assert f"CHUNK={chunk}" in defines


def test_no_two_codes_of_a_key_share_a_bank() -> None:
    """Of four tables at once; nor do sums, of the same bucket in each.

    A tile of 64 keys is 16 steps. Each reads four keys, a bucket and a value each, and their sums;
    the first keys are read twice.
    """
    codes = np.zeros((8, 128), np.int64)
    with by_warps() as found:
        cumulate(codes, draw(7, 128, 8), 9)
    counters = found["lsh_cumulation"]
    rounds, tiles, queries = 8 // 4, 128 // 64, 128 * 8 // 32
    adding = tiles * (17 * (4 + 4) + 16 * 4)
    assert counters["shared_loads"] == rounds * (adding + queries * 4)
    assert counters["shared_load_wavefronts"] == counters["shared_loads"]


def test_tiles_are_filled_without_conflicts() -> None:
    """A wavefront a store; of weights four, for the compiler stores four at once.

    Both products load 16 numbers for 64 multiply-adds, no two lanes' from one bank.
    """
    blocks, warps, each, filled = 2 * 2, 2, 8 * 8, 64 * 64 // 64
    with by_warps() as found:
        attend(CudaOps(fake_cupy), Attention("expectation", 1, 64, 1, 4, (128,)))
    counters = found["expected_attention"]
    assert counters["shared_stores"] == blocks * warps * (3 * filled + each)
    assert counters["shared_store_wavefronts"] == blocks * warps * (3 * filled + 4 * each)
    assert counters["shared_loads"] == blocks * warps * (64 + 64) * (8 + 8)
    assert counters["shared_load_wavefronts"] == counters["shared_loads"]


def test_cosines_past_one_are_clamped(cupy: ModuleType) -> None:
    """Rounding makes them, and acos has no answer there: weights of 1 and of 0, exactly."""
    query = np.zeros((1, 2, 8), np.float32)
    query[0, :, 0] = 1.0001, -1.0001
    value = draw(9, 1, 2, 3)
    place = fake_cupy.asarray
    got = functional.expected_attention(place(query), place(query), place(value), hash_code_len=3)
    np.testing.assert_array_equal(got.get(), value)
