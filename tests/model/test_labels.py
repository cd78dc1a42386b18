"""The labels of a call: which there are, of which shape, and which loss they ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import yosort
from yosort import InputError, YosoConfig
from yosort.model.batch import pack_mask
from yosort.model.labels import class_loss, read_classes, read_targets, span_loss, text_loss

LOGITS = np.array([[0.5, -2.0, 3.0], [-0.1, 4.0, -6.0]])
MAX = float(np.finfo(np.float32).max)


def cross_entropy(logits: Any, labels: Any) -> float:
    """Return the mean of -log softmax(logits)[label] over the rows."""
    scores = np.asarray(logits, np.float64)
    chosen = scores[np.arange(len(scores)), labels]
    return float((np.log(np.exp(scores).sum(axis=-1)) - chosen).mean())


def square(logits: Any, labels: Any) -> float:
    return float(((np.asarray(logits) - np.reshape(labels, np.shape(logits))) ** 2).mean())


def binary(logits: Any, labels: Any) -> float:
    """Return the mean of -t log sigmoid(x) - (1 - t) log sigmoid(-x)."""
    x, t = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    return float((t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)).mean())


@pytest.mark.parametrize(
    ("problem", "classes", "labels", "wanted"),
    [
        (None, 3, [2, 0], cross_entropy),
        (None, 3, np.array([[2], [0]], np.uint8), cross_entropy),
        (None, 2, [1, 0], cross_entropy),
        (None, 1, [1, 0], square),
        (None, 1, [[0.5], [2.0]], square),
        (None, 3, [[1.0, 0.0, 1.0]] * 2, binary),
        (None, 3, [[True, False, True]] * 2, binary),
        ("single_label_classification", 3, [0, 1], cross_entropy),
        ("single_label_classification", 1, [0, 0], cross_entropy),
        ("multi_label_classification", 3, [[1, 0, 1], [0, 0, 0]], binary),
        ("multi_label_classification", 1, [1, 0], lambda x, t: binary(x, np.reshape(t, (2, 1)))),
        ("regression", 3, [[1, 0, 1], [0, 0, 7]], square),
        ("regression", 1, np.array([True, False]), square),
    ],
)
def test_the_problem_and_the_labels_say_which_loss(
    problem: str | None, classes: int, labels: Any, wanted: Any
) -> None:
    logits = LOGITS[:, :classes]
    loss = float(text_loss(labels, 2, classes, problem)(np, logits))
    flat = np.reshape(labels, -1) if wanted is cross_entropy else labels
    assert loss == pytest.approx(wanted(logits, flat), rel=1e-6)


@pytest.mark.parametrize(
    ("problem", "classes", "labels", "message"),
    [
        (None, 1, [[1, 2]] * 2, r"\[2, 1\], got \[2, 2\]; one label means regression: wanted a nu"),
        (None, 3, [[1, 2]] * 2, r"shape \[2\], got \[2, 2\]; integers name one class a text: "),
        (None, 3, [1.0, 2.0], r"\[2, 3\], got \[2\]; floats mean several labels a text: "),
        (None, 2, [1.0, 2.0], r"\[2, 2\], got \[2\]; floats mean several labels a text: "),
        ("regression", 2, [1, 2], r"problem_type is \"regression\": wanted a number for each"),
        ("single_label_classification", 3, [1.0, 2.0], r"wanted integers, got dtype float64; the"),
        ("multi_label_classification", 3, [1, 2], r"multi_label_.*\": wanted 0 or 1 for each clas"),
        ("regression", 1, [1j, 0], "wanted numbers, got dtype complex128"),
        (None, 3, ["a", "b"], "wanted numbers, got dtype <U1"),
        (None, 3, [[1], [1, 2]], "wanted an array or nested lists of equal lengths"),
        ("regression", 1, [[1], [1, 2]], "wanted an array or nested lists of equal lengths"),
    ],
)  # fmt: skip
def test_labels_of_another_problem_are_named(
    problem: str | None, classes: int, labels: Any, message: str
) -> None:
    with pytest.raises(InputError, match=f"^labels: .*{message}"):
        text_loss(labels, 2, classes, problem)


def test_a_class_is_one_of_those_there_are_or_none() -> None:
    class_loss(np.array([0, 2, -100]), 3)
    for odd in (-1, 3, -99, -101, 100):
        with pytest.raises(InputError, match=rf"^labels: wanted -100 \(.* 0 to 2, got {odd}$"):
            class_loss(np.array([0, odd, -100]), 3)


def test_the_shapes_of_one_number_a_row() -> None:
    for rows, given in ((2, [4, 5]), (2, [[4], [5]]), (1, 4), (1, [4]), (1, [[4]]), (0, [])):
        assert read_classes("x", given, rows).tolist() == np.reshape(given, -1).tolist()
        targets = read_targets(given, (rows, 1))
        assert targets.tolist() == np.reshape(given, (-1, 1)).tolist()
    for rows, odd in ((2, 4), (1, [4, 5]), (2, [[4, 5]]), (1, [[[4]]]), (2, [[4, 5], [6, 7]])):
        shape = r"\[" + ", ".join(map(str, np.shape(odd))) + r"\]"
        with pytest.raises(InputError, match=rf"^x: wanted shape \[{rows}\], got {shape}; so$"):
            read_classes("x", odd, rows, "so")
        with pytest.raises(InputError, match=rf"^labels: .* \[{rows}, 1\], got {shape}; so$"):
            read_targets(odd, (rows, 1), "so")
    with pytest.raises(InputError, match=r"shape \[1, 2\], got \[\]"):
        read_targets(4, (1, 2))


def test_targets_are_numbers_of_float32() -> None:
    assert read_targets([[MAX, -MAX]], (1, 2)).tolist() == [[MAX, -MAX]]
    for odd in (np.nan, np.inf, -np.inf, np.nextafter(MAX, np.inf)):
        with pytest.raises(InputError, match="labels: wanted finite values in float32"):
            read_targets([[0.0, odd]], (1, 2))


SPANS = YosoConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
    intermediate_size=16, max_position_embeddings=12, initializer_range=0.9,
)  # fmt: skip
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize("mask", [MASK, np.ones_like(MASK)])
@pytest.mark.parametrize(
    ("first", "last"),
    [
        ([0, 1, 3], [2, 0, 3]),
        ([-3, 0, 1], [0, -1, 2]),  # below 0 is 0, as in transformers
        ([0, 9, 2], [1, 0, 4]),  # past the end counts for nothing
        ([0, 1, 4], [9, 1, 9]),
    ],
)
def test_the_loss_of_a_span_is_that_of_its_ends_among_the_tokens_kept(
    mask: np.ndarray, first: list[int], last: list[int]
) -> None:
    model = yosort.YosoForQuestionAnswering(SPANS, device="cpu")
    ids = np.arange(3, 15).reshape(3, 4)
    output = model(ids, mask, start_positions=first, end_positions=last)
    ends = []
    for logits, places in ((output.start_logits, first), (output.end_logits, last)):
        rows = [
            (np.where(kept, row, -np.inf), max(place, 0))
            for row, kept, place in zip(logits, mask == 1, places, strict=True)
            if place < 4
        ]
        ends.append(cross_entropy(*(list(part) for part in zip(*rows, strict=True))))
    assert float(output.loss) == pytest.approx(sum(ends) / 2, rel=1e-5)


def test_a_span_ends_at_tokens_that_are_kept() -> None:
    batch = pack_mask(MASK == 1, attended=False)
    span_loss([0, 0, 0], [2, 1, 3], batch)
    for first, last, message in (
        ([0, 2, 0], [1, 1, 1], r"start_positions\[1\]: wanted a token .* got 2"),
        ([0, 0, 0], [3, 2, 1], r"end_positions\[0\]: wanted a token .* got 3"),
        ([0, 0], [0, 0, 0], r"start_positions: wanted shape \[3\], got \[2\]"),
        ([0, 0, 0], [0.0, 0.0, 0.0], "end_positions: wanted integers, got dtype float64"),
        ([0, 0, 0], None, "both start_positions and end_positions.* got start_positions alone$"),
        (None, [0, 0, 0], "or neither; got end_positions alone$"),
    ):
        with pytest.raises(InputError, match=message):
            span_loss(first, last, batch)
    assert span_loss(None, None, batch) is None


def test_labels_of_tokens_are_a_grid_s() -> None:
    for name in ("YosoForTokenClassification", "YosoForMaskedLM"):
        model = getattr(yosort, name)(SPANS, device="cpu")
        for odd in ([0, 1, 2], [[0, 1]], [[0, 1, 2, 3]] * 2):
            with pytest.raises(InputError, match=r"^labels: wanted shape \[1, 3\], got \["):
                model([[3, 4, 5]], labels=odd)
        with pytest.raises(InputError, match=r"^labels: wanted integers"):
            model([[3, 4, 5]], labels=[[0.0, 1.0, 2.0]])


def test_scored_tokens_have_a_label_each() -> None:
    model = yosort.YosoForMaskedLM(SPANS, device="cpu")
    places = [[1, 2], [0, 0], [1, 2], [0, 3]]
    ids = np.arange(3, 11).reshape(2, 4)
    output = model(ids, positions=places, labels=[4, 29, 0, -100])
    assert output.logits.shape == (4, 30)
    wanted = cross_entropy(output.logits[:3], [4, 29, 0])
    assert float(output.loss) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(InputError, match=r"^labels: wanted shape \[4\], got \[2, 4\]"):
        model(ids, positions=places, labels=ids)
