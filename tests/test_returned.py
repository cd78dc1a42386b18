"""What calls return is of a class that yosort names, as transformers names its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tasks.models import TEXTS, make_each

import yosort

#: By task: the class of its model, of what that returns, and of the pipeline.
CLASSES = {
    "fill-mask": ("YosoForMaskedLM", "MaskedLMOutput", "FillMaskPipeline"),
    "text-classification": (
        "YosoForSequenceClassification", "SequenceClassifierOutput", "TextClassificationPipeline",
    ),
    "text-ranking": (
        "YosoForSequenceClassification", "SequenceClassifierOutput", "TextRankingPipeline",
    ),
    "token-classification": (
        "YosoForTokenClassification", "TokenClassifierOutput", "TokenClassificationPipeline",
    ),
    "question-answering": (
        "YosoForQuestionAnswering", "QuestionAnsweringModelOutput", "QuestionAnsweringPipeline",
    ),
    "feature-extraction": ("YosoModel", "BaseModelOutput", "FeatureExtractionPipeline"),
    "multiple-choice": (
        "YosoForMultipleChoice", "MultipleChoiceModelOutput", "MultipleChoicePipeline",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each task."""
    return make_each(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("task", CLASSES)
def test_of_a_task(task: str, folders: dict[str, Path]) -> None:
    model, output, pipeline = CLASSES[task]
    made = yosort.pipeline(task, folders[task], device="cpu")
    assert type(made) is getattr(yosort, pipeline)
    assert isinstance(made, yosort.Pipeline)
    assert type(made.model) is getattr(yosort, model)
    auto = model.replace("Yoso", "AutoModel").removesuffix("Model")
    assert getattr(yosort, auto) is type(made.model)
    ids: Any = [[[0, 5, 2]]] if task == "multiple-choice" else [[0, 5, 2]]
    found = made.model(ids)
    assert type(found) is getattr(yosort, output)
    assert isinstance(found, yosort.ModelOutput)


def test_of_a_tokenizer(folders: dict[str, Path]) -> None:
    tokenizer = yosort.AutoTokenizer.from_pretrained(folders["fill-mask"])
    assert type(tokenizer) is yosort.Tokenizer
    row = tokenizer(TEXTS[0])
    assert type(row) is yosort.BatchEncoding
    assert type(row.token_to_chars(1)) is yosort.CharSpan
    assert type(row.word_to_tokens(0)) is yosort.TokenSpan
    assert type(yosort.AutoConfig.from_pretrained(folders["fill-mask"])) is yosort.YosoConfig


def test_of_the_package() -> None:
    """Its names, and those of two modules, which are imported as they are asked for."""
    assert dir(yosort) == sorted([*yosort.__all__, "ops", "tasks"])
    for name in ("ops", "tasks"):
        assert yosort.__getattr__(name).__name__ == f"yosort.{name}"
