"""The table of classes, heads, weights, tasks and commands, and what it is a table of."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

import yosort
from yosort.checkpoint import State, write_state
from yosort.cli import build_parser
from yosort.conversion import convert
from yosort.model import heads
from yosort.model.architectures import ALIASES, ARCHITECTURES, TASKS, architecture_of, tasks_of
from yosort.model.base import PretrainedModel
from yosort.model.parameters import head_shapes
from yosort.tasks import pipeline_class

CONFIG = yosort.YosoConfig(
    vocab_size=20,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=8,
    num_labels=3,
)


def test_classes_are_those_of_the_table() -> None:
    classes = {
        name
        for name, cls in vars(heads).items()
        if isinstance(cls, type) and issubclass(cls, PretrainedModel) and name.startswith("Yoso")
    }
    assert classes == set(ARCHITECTURES)
    for name, row in ARCHITECTURES.items():
        assert getattr(yosort, name).head == row.head
        assert name in yosort.__all__
        assert getattr(yosort, name.replace("Yoso", "AutoModel").replace("ModelModel", "Model"))
    assert yosort.AutoModelForMaskedLM is yosort.YosoForMaskedLM
    assert yosort.AutoModel is yosort.YosoModel


def test_pipelines_and_commands_are_those_of_the_table() -> None:
    for name, row in TASKS.items():
        cls = pipeline_class(name)
        assert (cls.task, cls.model_class.__name__) == (name, row.model)
    parsers = next(
        action.choices
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    commands = {row.command for row in TASKS.values() if row.command}
    of_tasks = {
        name for name, parser in parsers.items() if "--batch-tokens" in parser.format_help()
    }
    assert of_tasks == commands
    assert ALIASES == {
        "ner": "token-classification", "rerank": "text-ranking",
        "sentiment-analysis": "text-classification",
    }  # fmt: skip


def test_a_class_answers_its_own_task_and_the_encoders() -> None:
    asked = [task.name for task in tasks_of("YosoForQuestionAnswering")]
    assert asked == ["question-answering", "feature-extraction"]
    assert [task.name for task in tasks_of("YosoModel")] == ["feature-extraction"]
    assert tasks_of("BertModel") == []
    labelled = [
        [task.command for task in tasks_of("YosoForSequenceClassification", n)]
        for n in (None, 1, 2)
    ]
    assert labelled == [
        ["classify", "embed"],
        ["classify", "rerank", "embed"],
        ["classify", "embed"],
    ]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_tell_the_class(name: str) -> None:
    assert architecture_of(head_shapes(CONFIG, ARCHITECTURES[name].head)) == name


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        (["classifier.weight"], "YosoForTokenClassification"),
        (["pre_classifier.weight"], "YosoForMultipleChoice"),
        (["classifier.dense.weight"], "YosoForSequenceClassification"),
        (["cls.predictions.bias"], "YosoForMaskedLM"),
        (["cls.seq_relationship.weight"], "YosoForMaskedLM"),
        (["yoso.embeddings.word_embeddings.weight", "pooler.weight"], "YosoModel"),
    ],
)
def test_a_part_of_a_head_tells_the_class_too(weights: list[str], name: str) -> None:
    assert architecture_of(weights) == name


def test_half_a_head_is_reported_not_dropped(tmp_path: Path) -> None:
    model = yosort.YosoForSequenceClassification(CONFIG)
    state = {k: np.asarray(v) for k, v in model._parameters.items() if "out_proj" not in k}
    folder = tmp_path / "half"
    folder.mkdir()
    write_state(folder, State.of(state))
    CONFIG.save(folder)
    with pytest.raises(yosort.CheckpointError, match=r"missing: classifier\.out_proj\.weight"):
        convert(folder, tmp_path / "out")
