"""padding="attended" in pipelines: transformers' answers, whose models attend to what fills up."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import TEXTS, make
from tasks.test_pipelines_parity import assert_same

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


def pair(task: str, folder: Path, cls: str, **fields: Any) -> tuple[Any, Any]:
    """Return our pipeline, which attends to padding, and transformers' over the same folder."""
    make(folder, cls, **fields)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "model_max_length": 64}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.pipeline(task, str(folder), device="cpu")
    return yosort.pipeline(task, folder, padding="attended", attention="expectation"), theirs


def draw(rng: np.random.Generator, most: int) -> str:
    words = " ".join(TEXTS[:3]).split()
    return " ".join(rng.choice(words, rng.integers(4, most)))


def test_windows_of_drawn_contexts(tmp_path: Path) -> None:
    """Of a context in windows the last is shorter: it is filled up in neither, or the same way."""
    ours, theirs = pair("question-answering", tmp_path, "YosoForQuestionAnswering")
    rng = np.random.default_rng(3)
    asked = [{"question": draw(rng, 7), "context": draw(rng, 150)} for _ in range(40)]
    for one in asked:
        assert_same(ours(one), theirs(**one))
    for size in (1, 3):
        given = {name: [one[name] for one in asked[:20]] for name in ("question", "context")}
        options = {"batch_size": size, "max_seq_len": 40, "doc_stride": 8}
        assert_same(ours(**given, **options), theirs(**given, **options))


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 3}])
def test_batches_of_texts(tmp_path: Path, options: dict[str, Any]) -> None:
    ours, theirs = pair("text-classification", tmp_path, "YosoForSequenceClassification")
    rng = np.random.default_rng(4)
    texts = [draw(rng, 30) for _ in range(14)]
    assert_same(ours(texts, top_k=None, **options), theirs(texts, top_k=None, **options))
