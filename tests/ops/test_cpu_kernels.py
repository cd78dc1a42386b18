"""The compiled kernels beside test_ops.py: which there are, and products of several weights."""

from __future__ import annotations

import numpy as np
import pytest

from ops.cases import draw
from ops.conftest import CPU, VARIANTS, Backend, named
from yosort._dense import Kernels, PackedLinear
from yosort.ops.cpu.backend import CpuOps


def test_a_variant_is_there_and_the_baseline_always() -> None:
    assert VARIANTS[-1] == "baseline"
    with pytest.raises(ValueError, match="no kernels for 'mmx'"):
        CpuOps(1, "mmx")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_product_goes_by_its_name(variant: str) -> None:
    kernels = Kernels(variant)
    assert kernels.products == ["float32", "bfloat16", "rounded", "int8", "narrow"]
    weight = np.eye(3, dtype=np.float32)
    for name in kernels.products:
        assert PackedLinear(kernels, [weight], [None], name).kind == name
    with pytest.raises(ValueError, match=r"no product 'int4'; there are \['float32', "):
        PackedLinear(kernels, [weight], [None], "int4")


@pytest.mark.parametrize("backend", [named(b) for b in CPU], indirect=True)
def test_several_weights_are_one_map(backend: Backend) -> None:
    ops = backend.make(2)
    x = draw(1, 40, 33)
    for sizes in ([1, 2, 3], [64, 64, 64], [50, 7, 128, 1], [32768, 5]):
        weights = [draw(i, n, 33).astype(np.float16) for i, n in enumerate(sizes)]
        biases = [draw(9 + i, n) for i, n in enumerate(sizes)]
        packed = ops.linear_map(weights, biases)
        apart = [
            ops.linear(x, ops.linear_map([w], [b])) for w, b in zip(weights, biases, strict=True)
        ]
        np.testing.assert_array_equal(ops.linear(x, packed), np.concatenate(apart, axis=1))
