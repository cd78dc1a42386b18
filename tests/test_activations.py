"""The names of activations, which the definitions and both processors' kernels share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from yosort import _dense
from yosort.activations import ACTIVATIONS
from yosort.ops import definitions
from yosort.ops.cuda.launcher import source


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


#: What a config.json may name, as transformers computes it; the others are of training, or have
#: weights of their own.
MEANT: dict[str, Callable[[float], float]] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_10": lambda x: min(max(gelu(x), -10), 10),
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "linear": lambda x: x,
}


@pytest.mark.parametrize("name", sorted({*ACTIVATIONS, *MEANT}))
def test_a_name_means_what_it_means_to_transformers(name: str) -> None:
    points = [-6.0, -1.0, -0.25, 0.0, 0.5, 2.0, 12.0]
    found = definitions.activate(np.array(points), name)
    np.testing.assert_allclose(found, [MEANT[name](x) for x in points], rtol=1e-6, atol=1e-9)


def test_every_formula_is_where_it_is_computed() -> None:
    formulas = set(ACTIVATIONS.values())
    assert formulas == set(definitions._FORMULAS)
    assert formulas == set(_dense.ACTIVATION_CODES)
    assert formulas == set(re.findall(r"float activate_(\w+)\(float x\)", source("layer")))
