"""The names of activations, which the definitions and both processors' kernels share."""

from __future__ import annotations

import re

from yosort import _dense
from yosort.activations import ACTIVATIONS
from yosort.ops import definitions
from yosort.ops.cuda.launcher import source


def test_every_formula_is_where_it_is_computed() -> None:
    formulas = set(ACTIVATIONS.values())
    assert formulas == set(definitions._FORMULAS)
    assert formulas == set(_dense.ACTIVATION_CODES)
    assert formulas == set(re.findall(r"float activate_(\w+)\(float x\)", source("layer")))
