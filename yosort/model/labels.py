"""The labels of a call: read, checked against what the head answered, ready for the losses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from yosort.arguments import FLOAT32_MAX
from yosort.errors import InputError
from yosort.model.batch import PackedBatch
from yosort.model.inputs import ArrayLike, read_ids, to_numpy

Labels = npt.NDArray[np.int64]


def read_classes(name: str, values: ArrayLike, rows: int) -> Labels:
    """Return one integer a row, int64 [rows], from shape [rows] or [rows, 1]."""
    classes = read_ids(name, values)
    if classes.shape not in ((rows,), (rows, 1)):
        raise InputError(f"{name}: wanted shape [{rows}], got {list(classes.shape)}")
    return classes.reshape(rows)


def read_targets(values: ArrayLike, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return numbers to compare logits with, float64 of the logits' `shape` [rows, labels].

    Where there is one label, [rows] will do.
    """
    array = to_numpy("labels", values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"labels: wanted numbers, got dtype {array.dtype}")
    rows, count = shape
    if array.shape != shape and not (count == 1 and array.shape == (rows,)):
        raise InputError(f"labels: wanted shape {list(shape)}, got {list(array.shape)}")
    targets = array.astype(np.float64).reshape(shape)
    # As the logits are: the square of more would overflow, and the loss say nothing.
    if not (np.abs(targets) <= FLOAT32_MAX).all():
        raise InputError("labels: wanted finite values in float32, got NaN or inf")
    return targets


def read_token_labels(values: ArrayLike, batch: PackedBatch) -> Labels:
    """Return one label a packed token, int64 [total], from shape [batch, n]."""
    labels = read_ids("labels", values)
    if labels.shape != batch.shape:
        raise InputError(f"labels: wanted shape {list(batch.shape)}, got {list(labels.shape)}")
    return np.asarray(batch.pack(labels))
