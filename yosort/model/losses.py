"""The heads' losses, with torch's meaning. `xp` is the array module of the logits' device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any

#: A label that does not count, as in torch's cross-entropy.
IGNORE = -100


def cross_entropy(
    xp: Any, logits: Array, labels: npt.NDArray[np.int64], *, ignore: int = IGNORE
) -> Array:
    """Return the mean of -log softmax(logits)[label] over the labels that count.

    Args:
        xp: numpy or cupy.
        logits: [rows, classes].
        labels: int64 [rows] on the host, within the classes; `ignore` marks rows that do not count.
        ignore: that mark.

    Returns:
        float32 scalar; NaN when no row counts, as torch has it.
    """
    counted = np.flatnonzero(labels != ignore)
    if not counted.size:
        return xp.asarray(np.nan, np.float32)
    scores = logits[xp.asarray(counted)].astype(np.float64)
    peak = scores.max(axis=-1)
    log_total = xp.log(xp.exp(scores - peak[:, None]).sum(axis=-1)) + peak
    chosen = scores[xp.arange(len(counted)), xp.asarray(labels[counted])]
    return (log_total - chosen).mean().astype(np.float32)


def mean_squared_error(xp: Any, logits: Array, labels: npt.NDArray[np.float64]) -> Array:
    """Return the mean squared difference of logits [rows, labels] and labels alike."""
    difference = logits.astype(np.float64) - xp.asarray(labels)
    return (difference**2).mean().astype(np.float32)


def binary_cross_entropy(xp: Any, logits: Array, labels: npt.NDArray[np.float64]) -> Array:
    """Return the mean binary cross-entropy of sigmoid(logits) [rows, classes] with labels alike."""
    scores, targets = logits.astype(np.float64), xp.asarray(labels)
    # log(1 + exp(x)) - x t, with the exponent's argument kept negative.
    losses = xp.maximum(scores, 0) - scores * targets + xp.log1p(xp.exp(-xp.abs(scores)))
    return losses.mean().astype(np.float32)
