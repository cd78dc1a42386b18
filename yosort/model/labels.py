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
#: What labels a problem wants, and what asks for another problem.
_FORMS = {
    "regression": "wanted a number for each label of a text",
    "single_label_classification": "wanted integers [texts]; several labels a text are floats "
    '[texts, classes], or any numbers with problem_type="multi_label_classification" at load',
    "multi_label_classification": "wanted 0 or 1 for each class; one class a text is an integer",
}


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
    said = f'the config\'s problem_type is "{problem}"'
    if problem is None:
        if classes == 1:
            problem, said = "regression", "one label means regression"
        elif to_numpy("labels", values).dtype.kind in "iu":
            problem, said = "single_label_classification", "integers name one class a text"
        else:
            problem, said = "multi_label_classification", "floats mean several labels a text"
    hint = f"{said}: {_FORMS[problem]}"
    if problem == "single_label_classification":
        return class_loss(read_classes("labels", values, texts, hint), classes)
    targets = read_targets(values, (texts, classes), hint)
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


def read_classes(name: str, values: ArrayLike, rows: int, hint: str | None = None) -> Labels:
    """Return one integer a row, int64 [rows], from shape [rows] or [rows, 1]; of one row from [].

    Raises:
        InputError: another shape or type, with the hint.
    """
    array = to_numpy(name, values)
    if array.dtype.kind == "f" and array.size:
        raise InputError.wanted(name, "integers", got=f"dtype {array.dtype}", hint=hint)
    classes = read_ids(name, array)
    if classes.shape not in ((rows,), (rows, 1)) and not _is_only(classes, rows):
        raise InputError.wanted(name, f"shape [{rows}]", got=list(classes.shape), hint=hint)
    return classes.reshape(rows)


def read_targets(
    values: ArrayLike, shape: tuple[int, int], hint: str | None = None
) -> npt.NDArray[np.float64]:
    """Return numbers to compare logits with, float64 of the logits' `shape` [rows, labels].

    Where there is one label, [rows] will do; of one row [], too.

    Raises:
        InputError: another shape, with the hint; no numbers, or none that are finite.
    """
    array = to_numpy("labels", values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"labels: wanted numbers, got dtype {array.dtype}")
    rows, count = shape
    one = count == 1 and (array.shape == (rows,) or _is_only(array, rows))
    if array.shape != shape and not one:
        raise InputError.wanted("labels", f"shape {list(shape)}", got=list(array.shape), hint=hint)
    targets = array.astype(np.float64).reshape(shape)
    # As the logits are: the square of more would overflow, and the loss say nothing.
    if not (np.abs(targets) <= FLOAT32_MAX).all():
        raise InputError("labels: wanted finite values in float32, got NaN or inf")
    return targets


def _is_only(array: npt.NDArray[Any], rows: int) -> bool:
    """Whether an array is the number of the one row that there is."""
    return rows == 1 and array.ndim == 0


def read_token_labels(values: ArrayLike, batch: PackedBatch) -> Labels:
    """Return one label a packed token, int64 [total], from shape [batch, n]."""
    labels = read_ids("labels", values)
    if labels.shape != batch.shape:
        raise InputError(f"labels: wanted shape {list(batch.shape)}, got {list(labels.shape)}")
    return np.asarray(batch.pack(labels))
