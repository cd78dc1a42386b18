"""Whole models on the emulated GPU against the CPU: every class, every output, and the errors."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from tolerances import HALF_MODEL, PARITY

import yosort

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "hash_code_len": 4,
    "num_hash": 6,
    "num_labels": 3,
}
IDS = np.random.default_rng(0).integers(3, 50, (2, 9))
MASK = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 0], [1] * 9])

#: class -> what it is called with besides ids, mask and states
CLASSES: dict[str, dict[str, Any]] = {
    "YosoModel": {},
    "YosoForMaskedLM": {"labels": IDS},
    "YosoForSequenceClassification": {"labels": [0, 2]},
    "YosoForTokenClassification": {"labels": IDS % 3},
    "YosoForQuestionAnswering": {"start_positions": [1, 2], "end_positions": [2, 5]},
    "YosoForMultipleChoice": {"labels": [1]},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each class, with a convolution."""
    made = {}
    for name in CLASSES:
        made[name] = tmp_path_factory.mktemp(name)
        config = yosort.YosoConfig(**SIZES, conv_window=3)
        getattr(yosort, name)(config, seed=1).save_pretrained(made[name])
    return made


def flatten(output: Any) -> list[Any]:
    """Return all arrays of an output, tuples of states opened."""
    arrays: list[Any] = []
    for field in output.to_tuple():
        arrays.extend(field if isinstance(field, tuple) else (field,))
    return arrays


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("attention", ["expectation", "sampled", "auto:6"])
def test_classes_equal_the_cpu(
    cupy: ModuleType, folders: dict[str, Path], name: str, attention: str
) -> None:
    call: dict[str, Any] = {**CLASSES[name], "attention_mask": MASK, "head_mask": [1, 0.5, 2]}
    call |= {"output_hidden_states": True, "output_attentions": True, "token_type_ids": IDS % 2}
    call["input_ids"] = IDS
    if name == "YosoForMultipleChoice":
        for field in ("input_ids", "attention_mask", "token_type_ids"):
            call[field] = np.asarray(call[field])[None]
    answers = []
    for device in ("cuda", "cpu"):
        model = yosort.load(folders[name], device=device, attention=attention, seed=5)
        answers.append(flatten(model(**call)))
    assert model.device == "cpu"
    for got, wanted in zip(*answers, strict=True):
        assert type(got) is cupy.ndarray
        assert got.dtype == wanted.dtype
        assert relative_error(got.get(), wanted) <= PARITY


def test_arrays_of_the_device_are_taken_as_input(cupy: Any, folders: dict[str, Path]) -> None:
    model = yosort.load(folders["YosoForMaskedLM"], device="cuda:0")
    assert model.device == "cuda:0"
    got = model(cupy.asarray(IDS), attention_mask=cupy.asarray(MASK)).logits
    np.testing.assert_array_equal(got.get(), model(IDS, MASK).logits.get())
    embeds = np.random.default_rng(1).standard_normal((2, 9, 24)).astype(np.float32)
    wanted = yosort.load(folders["YosoForMaskedLM"], device="cpu")(inputs_embeds=embeds).logits
    assert relative_error(model(inputs_embeds=cupy.asarray(embeds)).logits.get(), wanted) <= PARITY


def test_half_precision_is_near(cupy: ModuleType, folders: dict[str, Path]) -> None:
    folder = folders["YosoForSequenceClassification"]
    half = yosort.load(folder, device="cuda", dtype="float16", attention="expectation")
    assert half.dtype == np.float16
    got = half(IDS, MASK).logits
    assert got.dtype == np.float16
    wanted = yosort.load(folder, device="cpu", attention="expectation")(IDS, MASK).logits
    assert relative_error(got.get(), wanted) <= HALF_MODEL
