"""The exact form on tensor cores: what a product is, when it is used, and that it compiles."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ops.cases import Attention

from emulator import devices, fake_cupy, nvrtc
from yosort import ConfigError
from yosort.ops.choice import get_ops
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.cuda.launcher import source
from yosort.ops.interface import Layout

ONE = """
extern "C" __global__ void one(const unsigned *a, const unsigned *b, float *c) {
    const int lane = threadIdx.x;
    float sum[4];
    for (int i = 0; i < 4; i++) sum[i] = c[4 * lane + i];
    multiply_add(sum, a + 4 * lane, b + 2 * lane);
    for (int i = 0; i < 4; i++) c[4 * lane + i] = sum[i];
}
"""
SHAPES = {"CODE_LEN": 9, "DIM": 64, "COLUMNS": 64}


def place_of_left(row: int, column: int) -> tuple[int, int, int]:
    """Return (lane, register, half) of an element of the left side [16][16], as PTX has it."""
    return row % 8 * 4 + column % 8 // 2, row // 8 + column // 8 * 2, column % 2


def place_of_right(row: int, column: int) -> tuple[int, int, int]:
    """Return (lane, register, half) of an element of the right side [16][8]."""
    return column * 4 + row % 8 // 2, row // 8, row % 2


def place_of_sum(row: int, column: int) -> tuple[int, int]:
    """Return (lane, register) of an element of the sums [16][8]."""
    return row % 8 * 4 + column // 2, row // 8 * 2 + column % 2


@pytest.mark.parametrize("seed", range(3))
def test_a_product_is_its_definition(cupy: ModuleType, seed: int) -> None:
    """Sums of exact products in float32, in the order of the inner index, to the bit."""
    rng = np.random.default_rng(seed)
    left, right = (rng.standard_normal((16, n)).astype(np.float16) for n in (16, 8))
    before = rng.standard_normal((16, 8)).astype(np.float32)
    a, b = np.zeros((32, 4, 2), np.float16), np.zeros((32, 2, 2), np.float16)
    c = np.zeros((32, 4), np.float32)
    for (i, j), value in np.ndenumerate(left):
        a[place_of_left(i, j)] = value
    for (i, j), value in np.ndenumerate(right):
        b[place_of_right(i, j)] = value
    for (i, j), value in np.ndenumerate(before):
        c[place_of_sum(i, j)] = value
    module = cupy.RawModule(code=source("tensor_attention") + ONE, options=_options())
    sums = cupy.asarray(c)
    words = [cupy.asarray(np.ascontiguousarray(x).view(np.uint32)) for x in (a, b)]
    module.get_function("one")((1,), (32,), (*words, sums))
    wanted = before.copy()
    for k in range(16):
        wanted += left[:, k : k + 1].astype(np.float32) * right[k].astype(np.float32)
    found = sums.get()
    for place, value in np.ndenumerate(wanted):
        assert found[place_of_sum(*place)] == value


def _options() -> tuple[str, ...]:
    return ("--std=c++14", *(f"-D{name}={value}" for name, value in SHAPES.items()), "-DHALF=1")


def kernels_of(ops: CudaOps, width: int = 8) -> set[str]:
    """Return which kernels a call of the exact form launches."""
    begin = len(fake_cupy.launches)
    case = Attention("expectation", 1, width, 1, 4, (5,))
    case.attend(ops, case.draw()["qkv"].astype(ops.dtype), case.lengths)
    return {name for name, _ in fake_cupy.launches[begin:]} & {
        "expected_attention", "tensor_attention",
    }  # fmt: skip


def test_they_are_used_where_they_are_asked_for_and_fit(
    cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: Any = {"dtype": "float16", "tensor_cores": True}
    assert kernels_of(CudaOps(cupy, dtype="float16")) == {"expected_attention"}
    assert kernels_of(CudaOps(cupy, **asked)) == {"tensor_attention"}
    assert kernels_of(CudaOps(cupy, **asked), 128) == {"tensor_attention"}
    assert kernels_of(CudaOps(cupy, **asked), 129) == {"expected_attention"}
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert kernels_of(CudaOps(cupy, tensor_cores=True)) == {"expected_attention"}
    assert "wanted float16 on a device of compute capability 8.0 or later" in caplog.text
    assert "float32 on 9.0" in caplog.text
    monkeypatch.setattr(devices, "capabilities", ["75"])
    assert kernels_of(CudaOps(cupy, **asked)) == {"expected_attention"}
    assert "float16 on 7.5" in caplog.text


def test_the_environment_asks(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yosort.ops.choice.find_gpu", lambda device=None: (cupy, 0))
    for value, wanted in (("", "expected"), ("0", "expected"), ("1", "tensor")):
        monkeypatch.setenv("YOSORT_TENSOR_CORES", value)
        ops: Any = get_ops("cuda", dtype="float16")
        assert kernels_of(ops) == {f"{wanted}_attention"}
    monkeypatch.setenv("YOSORT_TENSOR_CORES", "yes")
    with pytest.raises(ConfigError, match="YOSORT_TENSOR_CORES: wanted"):
        get_ops("cuda", dtype="float16")


def test_small_weights_keep_their_bits(cupy: ModuleType) -> None:
    """Orthogonal keys weigh 2 ** -16 with codes of 16 bits: subnormal in float16, but for LARGE."""
    query, key = np.zeros((1, 16), np.float16), np.zeros((2, 16), np.float16)
    query[0, 0] = key[:, 1] = 1
    value = np.zeros((2, 16), np.float16)
    value[0, 0], value[1, 1] = 0.3, 0.7
    ops = CudaOps(cupy, dtype="float16", tensor_cores=True)
    offsets = np.array([0, 1]), np.array([0, 2])
    layout = ops.layout(Layout(1, 16, *offsets, np.array([False])))
    sums = ops.expectation(*(cupy.asarray(rows) for rows in (query, key, value)), layout)
    wanted = value[[0, 1], [0, 1]].astype(np.float32) * 2.0**-16
    np.testing.assert_allclose(sums.get()[0, :2], wanted, rtol=1e-5)


@pytest.mark.skipif(nvrtc.library() is None, reason="needs the wheel nvidia-cuda-nvrtc")
def test_the_compiler_sees_matrix_instructions() -> None:
    """For a key and a value step of 16 each: 4 of two halves, and 8 of columns, unrolled or not."""
    assembly = nvrtc.ptx(source("tensor_attention"), 80, nvrtc.options(SHAPES, half=True))
    assert "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32" in assembly
