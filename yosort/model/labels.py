"""The labels of a call: read and checked before anything is computed, as the loss they give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import FLOAT32_MAX
from yosort.errors import InputError
from yosort.model import losses
from yosort.model.batch import PackedBatch
from yosort.model.inputs import ArrayLike, read_ids, to_numpy
from yosort.ops.interface import Array

Labels = npt.NDArray[np.int64]
#: The loss of a head's scores; its arguments are the array module and the scores.
Loss = Callable[[Any, Array], Array]


def class_loss(labels: Labels, classes: int) -> Loss:
    """Return the cross-entropy with labels int64 [rows]; -100 does not count.

    Raises:
        InputError: a label outside the classes.
    """
    wrong = labels[(labels != losses.IGNORE) & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        raise InputError(
            f"labels: wanted {losses.IGNORE} (ignored) or 0 to {classes - 1}, got {int(wrong[0])}"
        )
    return partial(losses.cross_entropy, labels=labels)


def text_loss(values: ArrayLike, texts: int, classes: int, problem: str | None) -> Loss:
    """Return the loss of one answer a text, of the kind that the problem or the labels imply.

    Args:
        values: the labels: integers [texts], or floats [texts, classes].
        texts: how many.
        classes: how many labels there are.
        problem: the config's `problem_type`.

    Raises:
        InputError: labels of another shape or type, or outside the classes.
    """
    if problem is None:
        if classes == 1:
            problem = "regression"
        else:
            whole = to_numpy("labels", values).dtype.kind in "iu"
            problem = "single_label_classification" if whole else "multi_label_classification"
    if problem == "single_label_classification":
        return class_loss(read_classes("labels", values, texts), classes)
    targets = read_targets(values, (texts, classes))
    if problem == "regression":
        return partial(losses.mean_squared_error, labels=targets)
    return partial(losses.binary_cross_entropy, labels=targets)


def span_loss(starts: ArrayLike, ends: ArrayLike, batch: PackedBatch) -> Loss | None:
    """Return the mean loss of both ends of answer spans, of scores [texts, n, 2].

    Raises:
        InputError: one end without the other, labels of another shape, or a masked token.
    """
    if (starts is None) != (ends is None):
        given = "end_positions" if starts is None else "start_positions"
        raise InputError(
            f"wanted both start_positions and end_positions, or neither; got {given} alone"
        )
    if starts is None:
        return None
    first = _read_tokens("start_positions", starts, batch)
    last = _read_tokens("end_positions", ends, batch)
    held = None
    if not batch.is_dense:
        held = np.zeros(batch.shape, bool)
        held.reshape(-1)[batch.cells] = True
    return partial(_mean_of_ends, held=held, first=first, last=last)


def _mean_of_ends(
    xp: Any, scores: Array, held: npt.NDArray[np.bool_] | None, first: Labels, last: Labels
) -> Array:
    if held is not None:  # masked tokens are no possible answers: out of the softmax
        scores = xp.where(xp.asarray(held)[..., None], scores, -np.inf)
    n = scores.shape[1]
    ends = [
        losses.cross_entropy(xp, scores[..., i], labels, ignore=n)
        for i, labels in enumerate((first, last))
    ]
    return (ends[0] + ends[1]) / 2


def _read_tokens(name: str, values: ArrayLike, batch: PackedBatch) -> Labels:
    """Return a token of each text, int64 [texts]; n where it lies past the end, and is ignored."""
    texts, n = batch.shape
    tokens = read_classes(name, values, texts).clip(0, n)
    inside = np.flatnonzero(tokens < n)
    masked = inside[batch.rows_of(inside * n + tokens[inside]) < 0]
    if masked.size:
        raise InputError(
            f"{name}[{int(masked[0])}]: wanted a token that attention_mask keeps, "
            f"got {int(tokens[masked[0]])}, which it masks"
        )
    return tokens


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
