"""Small models and inputs that the golden files and the parity suite share."""

from __future__ import annotations

from typing import Any

import numpy as np

from yosort.model.architectures import ARCHITECTURES

CLASSES = tuple(ARCHITECTURES)


def inputs_for(
    class_name: str, config: Any, batch: int, n: int, seed: int, *, padded: bool = False
) -> dict[str, np.ndarray]:
    """Draw the arguments of a call, labels included.

    Padding, where wanted, is on the right, at least one token stays, and no label points at it.
    """
    rng = np.random.default_rng(seed)
    choices = (3,) if class_name == "YosoForMultipleChoice" else ()
    shape = (batch, *choices, n)
    inputs = {
        "input_ids": rng.integers(0, config.vocab_size, shape),
        "token_type_ids": rng.integers(0, config.type_vocab_size, shape),
        "attention_mask": np.ones(shape, np.int64),
    }
    lengths = rng.integers(1, n + 1, (*shape[:-1], 1)) if padded else np.full((*shape[:-1], 1), n)
    inputs["attention_mask"] = (np.arange(n) < lengths).astype(np.int64)
    if class_name == "YosoForMaskedLM":
        drawn = rng.random(shape) < 0.3
        drawn[..., 0] = True
        inputs["labels"] = np.where(
            drawn & (inputs["attention_mask"] == 1), inputs["input_ids"], -100
        )
    elif class_name == "YosoForSequenceClassification":
        inputs["labels"] = _text_labels(config, batch, rng)
    elif class_name == "YosoForMultipleChoice":
        inputs["labels"] = rng.integers(0, 3, batch)
    elif class_name == "YosoForTokenClassification":
        inputs["labels"] = rng.integers(0, config.num_labels, shape)
    elif class_name == "YosoForQuestionAnswering":
        last = lengths[:, 0] - 1
        inputs["start_positions"] = np.minimum(rng.integers(0, n, batch), last)
        inputs["end_positions"] = np.minimum(rng.integers(0, n, batch), last)
        if batch > 1:
            inputs["end_positions"][1] = n + 5  # past the end: ignored
    return inputs


def _text_labels(config: Any, batch: int, rng: np.random.Generator) -> np.ndarray:
    problem = config.problem_type
    if problem == "regression" or (problem is None and config.num_labels == 1):
        shape = (batch,) if config.num_labels == 1 else (batch, config.num_labels)
        return rng.standard_normal(shape).astype(np.float32)
    if problem == "multi_label_classification":
        return rng.integers(0, 2, (batch, config.num_labels)).astype(np.float32)
    return rng.integers(0, config.num_labels, batch)
