"""What a launch is checked for before CUDA, which checks nothing, gets it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from yosort import DeviceError
from yosort.ops.cuda.launcher import Launcher

GRID = (1, 1)


def arguments(cupy: ModuleType, **changed: Any) -> list[Any]:
    """Return what `normalize_heads` takes: f I I i? I I I F I r."""
    good = {
        "partial": cupy.asarray(np.ones((2, 3), "f4")), "parts": 1, "tokens": 2, "which": None,
        "count": 2, "heads": 1,
        "dim": 3, "eps": 1e-12, "stride": 3, "out": cupy.asarray(np.ones((2, 3), "f4")),
    }  # fmt: skip
    return list({**good, **changed}.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"more": 1}, "normalize_heads: wanted 10 arguments, got 11"),
        ({"parts": 2**31}, "argument 1: wanted at most 2147483647, got 2147483648"),
        ({"parts": -(2**31)}, "argument 1: wanted at most 2147483647, got -2147483648"),
        ({"partial": np.ones((2, 3), "f8")}, "argument 0: wanted a float32 array, got float64"),
        ({"partial": None}, "argument 0: wanted a float32 array, got NoneType"),
        ({"out": np.ones((2, 3), "f2")}, "argument 9: wanted a float32 array, got float16"),
        ({"out": lambda out: out.T}, "argument 9: wanted rows without gaps"),
        ({"out": lambda out: out[:, ::2]}, "argument 9: wanted rows without gaps"),
    ],
)
def test_arguments_that_are_not_the_kernels(
    cupy: ModuleType, changed: dict[str, Any], message: str
) -> None:
    on_device = {
        name: cupy.asarray(value) if isinstance(value, np.ndarray) else value
        for name, value in changed.items()
    }
    if callable(view := changed.get("out")):
        on_device["out"] = view(cupy.asarray(np.ones((2, 6), "f4")))
    with pytest.raises(DeviceError, match=message):
        Launcher(cupy, np.dtype("f4"))("normalize_heads", GRID, 32, *arguments(cupy, **on_device))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ((2**31, 1), "a grid of at most 2147483647 blocks, got 2147483648"),
        ((1, 65536), "a grid of at most 65535 blocks, got 65536"),
        ((1, 1, 65536), "a grid of at most 65535 blocks, got 65536"),
    ],
)
def test_grids_that_no_device_takes(cupy: ModuleType, grid: tuple[int, ...], message: str) -> None:
    with pytest.raises(DeviceError, match=f"normalize_heads: wanted {message}"):
        Launcher(cupy, np.dtype("f4"))("normalize_heads", grid, 32, *arguments(cupy))
