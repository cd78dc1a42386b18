"""How tests compare arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from yosort.model.encoder import Layer
from yosort.ops.interface import LayerTail


def relative_error(got: Any, wanted: Any) -> float:
    """Return the largest difference over the largest magnitude wanted; inf if shapes differ."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    if got.shape != wanted.shape or not np.isfinite(got).all():
        return float("inf")
    if got.size == 0:
        return 0.0
    return float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30))


def flatten(output: Any) -> list[np.ndarray]:
    """Return all arrays of a model output in order, tuples of states opened."""
    arrays = []
    for field in output.to_tuple():
        arrays.extend(field if isinstance(field, tuple) else (field,))
    return [np.asarray(array) for array in arrays]


def by_steps(ops: Any, tail: LayerTail, following: Any, context: Any, x: Any) -> tuple[Any, Any]:
    """Return what a fused tail returns, one operation after the other."""
    out = Layer(None, None, tail).finish(ops, context, x)
    return out, None if following is None else ops.linear(out, following)
