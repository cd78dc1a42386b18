"""How tests compare arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


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
