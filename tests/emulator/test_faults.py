"""The emulator itself: it runs correct kernels, and catches a planted fault of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator import build, fake_cupy
from emulator.counting import by_warps

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")

#: Reverse 64 numbers through shared memory, and sum them by warps: correct.
CORRECT = """
extern "C" __global__ void kernel(const float *x, float *out, int n) {
    __shared__ float staged[64];
    const int i = threadIdx.x;
    if (i < n) staged[i] = x[i];
    __syncthreads();
    float sum = i < n ? staged[n - 1 - i] : 0.0f;
    for (int s = 16; s; s /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, s);
    if (i < n) out[i] = sum;
}
"""

#: What is wrong -> (text, its replacement, words of the report).
FAULTS = {
    "no barrier": ("    __syncthreads();\n", "", "race in shared|reads shared memory that nobody"),
    "one barrier in a branch": (
        "__syncthreads();",
        "if (i < 32) __syncthreads();",
        "race in shared|reads shared memory that nobody",
    ),
    "some wait at a barrier, some for a warp": (
        "    __syncthreads();\n",
        "    if (i % 2) __syncthreads();\n    else __syncwarp();\n",
        "divergent",
    ),
    "barriers of two lines": (
        "    __syncthreads();\n",
        "    if (i < 32) __syncthreads();\n    else __syncthreads( );\n",
        "divergent",
    ),
    "shared index past the end": ("staged[i] = x[i]", "staged[i + 1] = x[i]", "out of bounds"),
    "global read past the end": ("x[i];", "x[i + 1];", "out of bounds: reads"),
    "global write past the end": ("out[i] = sum", "out[i + 1] = sum", "out of bounds: writes"),
    "write before the start": ("out[i] = sum", "out[i - 1] = sum", "out of bounds: writes"),
    "shared memory nobody wrote": ("if (i < n) staged", "if (i < n - 1) staged", "nobody wrote"),
    "two threads write one shared address": ("staged[i] =", "staged[i / 2] =", "race in shared"),
    "two threads write one global address": ("out[i] = sum", "out[i / 2] = sum", "race in global"),
    "unordered sum": ("out[i] = sum", "out[0] += sum", "race in global|nobody wrote"),
    "absent lane": (
        "sum += __shfl_xor_sync(0xffffffffu, sum, s)",
        "if (i % 32 < 16) sum += __shfl_xor_sync(0x0000ffffu, sum, s)",
        "takes no part",
    ),
    "a lane outside its own mask": ("0xffffffffu", "0x0000ffffu", "leaves out lane"),
    "lanes at different operations": (
        "sum += __shfl_xor_sync(0xffffffffu, sum, s);",
        "{ if (i % 2) sum += __shfl_xor_sync(0xffffffffu, sum, s);\n"
        "  else sum += __shfl_xor_sync(0xffffffffu, sum, s); }",
        "other lanes are at line",
    ),
    "misaligned vector": (
        "if (i < n) out[i] = sum;",
        "struct alignas(16) four { float v[4]; };\n"
        "if (i == 0) *(four *)(out + 1) = *(const four *)x;",
        "misaligned",
    ),
    "early return before a barrier of a warp": (
        "    __syncthreads();",
        "    if (i % 2) return;\n    __syncwarp(0xffffffffu);\n    __syncthreads();",
        "takes no part",
    ),
}


#: Two shared arrays, a shift and a division, each fit to go wrong: correct.
ARRAYS = """
extern "C" __global__ void kernel(const float *x, float *out, int n) {
    __shared__ float first[64], second[4][16], third[64];
    const int i = threadIdx.x;
    float own[4];
    for (int e = 0; e < 4; e++) own[e] = x[i] * e;
    first[i] = own[i % 4], second[i / 16][i % 16] = own[1], third[i] = 0.0f;
    __syncthreads();
    const unsigned bits = 1u << i % 32;
    out[i] = first[63 - i] + second[3 - i / 16][15 - i % 16] + third[i] + (float)(i / n) * bits;
}
"""

#: What no address tells, since the neighbouring array is there -> as in FAULTS.
ARRAY_FAULTS = {
    "index past an array, into the next": ("first[63 - i]", "first[64 - i]", "index 64"),
    "index before an array": ("third[i] + (", "third[i - 1] + (", "index -1"),
    "inner index past its row": ("[15 - i % 16]", "[16 - i % 16]", "index 16"),
    "outer index past the last row": ("second[3 - i", "second[4 - i", "index 4"),
    "index past registers": ("own[i % 4]", "own[i % 5]", "index 4"),
    "shift by the word's width": ("1u << i % 32", "1u << i", "a shift by [3-6]"),
    "division by zero": ("(i / n)", "(i / (n - 64))", "division by zero"),
}


def run(code: str, n: int = 64, out_size: int = 64) -> np.ndarray:
    """Launch the kernel on 1 .. n."""
    kernel = fake_cupy.RawModule(code).get_function("kernel")
    out = fake_cupy.empty(out_size, np.float32)
    x = fake_cupy.asarray(np.arange(1, n + 1, dtype=np.float32))
    kernel((1,), (64,), (x, out, np.int32(n)))
    return out.get()


def test_a_correct_kernel_runs(any_order: None) -> None:
    low, high = sum(range(1, 33)), sum(range(33, 65))
    expected = np.repeat(np.array([high, low], np.float32), 32)
    np.testing.assert_array_equal(run(CORRECT), expected)


@pytest.mark.parametrize("what", FAULTS)
def test_planted_faults_are_caught(what: str) -> None:
    old, new, report = FAULTS[what]
    assert CORRECT.count(old) == 1
    with pytest.raises(fake_cupy.EmulatorError, match=report):
        run(CORRECT.replace(old, new))


def test_arrays_side_by_side_are_correct() -> None:
    i, x = np.arange(64), np.arange(1, 65, dtype=np.float32)
    expected = (x * (i % 4))[::-1] + x[::-1]
    np.testing.assert_array_equal(run(ARRAYS), expected)


@pytest.mark.parametrize("what", ARRAY_FAULTS)
def test_planted_faults_of_arrays_are_caught(what: str) -> None:
    old, new, report = ARRAY_FAULTS[what]
    assert ARRAYS.count(old) == 1
    with pytest.raises(fake_cupy.EmulatorError, match=report):
        run(ARRAYS.replace(old, new))


@pytest.mark.slow
def test_the_portable_switch_finds_the_same(tmp_path: Path) -> None:
    """Processors without an assembly switch: the same results and reports.

    In another folder, since `-m` puts the current one first on the path: a checkout's has no
    compiled part.
    """
    environment = {**os.environ, "YOSORT_EMULATOR_PORTABLE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    chosen = ["-k", "correct_kernel or planted_faults_are_caught"]
    done = subprocess.run(
        [*command, *chosen], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(FAULTS) + 3} passed" in done.stdout


def test_what_nobody_wrote_is_an_error_on_the_host() -> None:
    with pytest.raises(fake_cupy.EmulatorError, match="nobody wrote"):
        run(CORRECT, out_size=65)


def test_a_part_of_an_array_ends_where_it_says() -> None:
    """What lies behind it in the same memory is not its own; a column slice's rows are."""
    whole = fake_cupy.asarray(np.zeros(192, np.float32))
    kernel = fake_cupy.RawModule(CORRECT).get_function("kernel")
    kernel((1,), (64,), (whole[:64], whole[128:], np.int32(64)))
    with pytest.raises(fake_cupy.EmulatorError, match="out of bounds: reads"):
        kernel((1,), (64,), (whole[:63], whole[128:], np.int32(64)))
    with pytest.raises(fake_cupy.EmulatorError, match="out of bounds: writes"):
        kernel((1,), (64,), (whole[:64], whole[129:], np.int32(64)))


def test_uninitialised_global_memory_is_an_error() -> None:
    kernel = fake_cupy.RawModule(CORRECT).get_function("kernel")
    x, out = (fake_cupy.empty(64, np.float32) for _ in range(2))
    with pytest.raises(fake_cupy.EmulatorError, match="reads global memory that nobody wrote"):
        kernel((1,), (64,), (x, out, np.int32(64)))


def test_blocks_racing_for_an_address_are_caught() -> None:
    code = 'extern "C" __global__ void kernel(int *x) { if (threadIdx.x == 0) x[0] = 1; }'
    kernel = fake_cupy.RawModule(code).get_function("kernel")
    with pytest.raises(fake_cupy.EmulatorError, match="race in global"):
        kernel((2,), (32,), (fake_cupy.zeros(1, np.int32),))


def test_a_shuffle_orders_no_memory() -> None:
    """A warp's barrier does, as CUDA says."""
    code = """
    extern "C" __global__ void kernel(const float *x, float *out, int n) {
        __shared__ float staged[64];
        const int i = threadIdx.x;
        staged[i] = x[i];
        __syncwarp();
        out[i] = staged[i ^ 1];
    }
    """
    np.testing.assert_array_equal(run(code), np.arange(1, 65) + np.tile([1, -1], 32))
    with pytest.raises(fake_cupy.EmulatorError, match="race in shared"):
        run(code.replace("__syncwarp();", "__shfl_xor_sync(0xffffffffu, i, 1);"))


def test_atomics_are_no_race_and_are_counted() -> None:
    code = 'extern "C" __global__ void kernel(int *x) { atomicAdd(x, 1); }'
    kernel = fake_cupy.RawModule(code).get_function("kernel")
    x = fake_cupy.zeros(1, np.int32)
    kernel((3,), (40,), (x,))
    assert x.get()[0] == 120
    assert fake_cupy.launches[-1][1]["atomics"] == 120


def test_counters() -> None:
    run(CORRECT)
    counters = fake_cupy.launches[-1][1]
    assert counters["read_bytes"] == counters["written_bytes"] == 64 * 4
    assert counters["shared_accesses"] == 128
    assert counters["barriers"] == 1
    assert counters["warp_ops"] == 64 * 5


@pytest.mark.parametrize(
    ("index", "wavefronts", "sectors"),
    [
        ("i", 1, 4),
        ("31 - i", 1, 4),
        ("0", 1, 1),  # one word for all
        ("i * 2", 2, 8),
        ("i * 32 % 1024", 32, 32),
        ("i * 33 % 1024", 1, 32),
        ("i / 4 * 32", 8, 8),
    ],
)
def test_accesses_by_warps(index: str, wavefronts: int, sectors: int) -> None:
    """What a warp loads together: conflicts of shared memory's banks, sectors of global memory."""
    code = f"""extern "C" __global__ void kernel(const float *x, float *out) {{
        __shared__ float staged[1024];
        const int i = threadIdx.x;
        for (int j = 0; j < 32; j++) staged[32 * j + i] = 1.0f;
        __syncwarp();
        out[i] = staged[{index}] + x[{index}];
    }}"""
    kernel = fake_cupy.RawModule(code).get_function("kernel")
    with by_warps() as found:
        kernel((1,), (32,), (fake_cupy.zeros(1024, np.float32), fake_cupy.empty(32, np.float32)))
    counters = found["kernel"]
    assert counters["shared_stores"] == counters["shared_store_wavefronts"] == 32
    assert (counters["shared_loads"], counters["shared_load_wavefronts"]) == (1, wavefronts)
    assert counters["global_instructions"] == 2
    assert counters["global_sectors"] == sectors + 4


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [((0,), (64,), 0), ((1,), (1025,), 0), ((1, 65536), (1,), 0), ((1,), (64,), 49 << 10)],
)
def test_launches_that_no_device_takes(grid: Any, block: Any, shared: int) -> None:
    kernel = fake_cupy.RawModule(CORRECT).get_function("kernel")
    x = fake_cupy.zeros(64, np.float32)
    with pytest.raises(fake_cupy.EmulatorError, match="no device launches"):
        kernel(grid, block, (x, x, np.int32(64)), shared_mem=shared)


@pytest.mark.parametrize("bad", [64, np.int64(64), np.float32(64), 1.0])
def test_arguments_of_the_wrong_size(bad: Any) -> None:
    kernel = fake_cupy.RawModule(CORRECT).get_function("kernel")
    x = fake_cupy.zeros(64, np.float32)
    with pytest.raises(fake_cupy.EmulatorError, match="the kernel takes i4"):
        kernel((1,), (64,), (x, x, bad))
    with pytest.raises(TypeError):
        kernel((1,), (64,), (np.zeros(64, np.float32), x, np.int32(64)))


def test_an_order_dependent_kernel_shows() -> None:
    # Whoever comes last wins: legal for the race checker as atomics, but the order shows.
    code = """extern "C" __global__ void kernel(int *turn, int *first) {
        const int mine = atomicAdd(turn, 1);
        if (mine == 0) first[0] = threadIdx.x;
    }"""
    kernel = fake_cupy.RawModule(code).get_function("kernel")
    seen = set()
    before = fake_cupy.seed
    try:
        for fake_cupy.seed in range(8):
            first = fake_cupy.zeros(1, np.int32)
            kernel((1,), (64,), (fake_cupy.zeros(1, np.int32), first))
            seen.add(int(first.get()[0]))
    finally:
        fake_cupy.seed = before
    assert len(seen) > 1
