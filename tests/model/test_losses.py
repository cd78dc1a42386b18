"""The losses of classes, against their definitions in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import yosort
from yosort.model import losses

LOGITS = np.array([[0.5, -2.0, 3.0], [-0.1, 40.0, -60.0]], np.float32)
SHARES = np.array([[0.0, 1.0, 0.25], [1.0, 0.9, 0.1]])


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -x.astype(np.float64))


def binary(logits: np.ndarray, labels: Any) -> float:
    """Return the mean of -t log sigmoid(x) - (1 - t) log sigmoid(-x)."""
    t = np.asarray(labels)
    return float(-(t * log_sigmoid(logits) + (1 - t) * log_sigmoid(-logits)).mean())


def test_each_loss_is_its_definition() -> None:
    assert losses.binary_cross_entropy(np, LOGITS, SHARES) == pytest.approx(binary(LOGITS, SHARES))
    square = ((LOGITS - SHARES) ** 2).mean()
    assert losses.mean_squared_error(np, LOGITS, SHARES) == pytest.approx(square)
    chosen = [
        np.log(np.exp(x - x[i]).sum()) for x, i in zip(LOGITS.astype("f8"), (2, 0), strict=True)
    ]
    assert losses.cross_entropy(np, LOGITS, np.array([2, 0])) == pytest.approx(np.mean(chosen))
    # Where exp would overflow, it is a line.
    far = np.array([[1e4, -1e4]], np.float32)
    assert losses.binary_cross_entropy(np, far, np.array([[0.0, 1.0]])) == 1e4
    assert losses.cross_entropy(np, far, np.array([1])) == 2e4


def test_the_number_of_the_one_text_there_is() -> None:
    config = yosort.YosoConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=1,
        intermediate_size=16, max_position_embeddings=12,
    )  # fmt: skip
    model = yosort.YosoForSequenceClassification(config, device="cpu")
    alone = model([[3, 4, 5]], labels=np.array(2.5))
    assert alone.loss == model([[3, 4, 5]], labels=[2.5]).loss
    with pytest.raises(yosort.InputError, match=r"labels: wanted shape \[2, 1\], got \[\]"):
        model([[3, 4, 5], [6, 7, 8]], labels=np.array(2.5))


@pytest.mark.parametrize(
    ("problem", "labels", "wanted"),
    [
        ("multi_label_classification", [[1, 0, 1], [0, 0, 1]], binary),
        (None, [[1.0, 0.0, 0.5], [0.0, 0.0, 1.0]], binary),  # numbers of several classes imply it
        ("regression", [[1.5, 0.0, 2.0], [0, 1, 2]], lambda x, t: ((x - np.array(t)) ** 2).mean()),
    ],
)
def test_the_problem_says_which_loss(problem: str | None, labels: Any, wanted: Any) -> None:
    config = yosort.YosoConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
        intermediate_size=16, max_position_embeddings=12, problem_type=problem,
        initializer_range=0.5,
    )  # fmt: skip
    model = yosort.YosoForSequenceClassification(config, device="cpu")
    output = model([[3, 4, 5], [6, 7, 8]], labels=labels)
    assert float(output.loss) == pytest.approx(wanted(output.logits, labels), rel=1e-5)


@pytest.mark.parametrize("padding", ["masked", "attended"])
@pytest.mark.parametrize("mask", [[[1, 1, 1], [1, 1, 1]], [[1, 1, 0], [1, 0, 0]]])
def test_of_masked_tokens_no_label_counts(padding: str, mask: list[list[int]]) -> None:
    config = yosort.YosoConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
        intermediate_size=16, max_position_embeddings=12, initializer_range=0.5,
    )  # fmt: skip
    model = yosort.YosoForTokenClassification(config, device="cpu", padding=padding)
    labels = np.array([[0, -100, 1], [2, 0, 1]])
    output = model([[3, 4, 5], [6, 7, 8]], attention_mask=mask, labels=labels)
    counted = (np.array(mask) != 0) & (labels != -100)
    wanted = losses.cross_entropy(np, output.logits[counted], labels[counted])
    assert float(output.loss) == pytest.approx(float(wanted), rel=1e-5)
