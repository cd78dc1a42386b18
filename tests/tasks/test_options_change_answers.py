"""Options of pipelines against values worked out here, and windows that leave nothing out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import ENTITIES, make
from yosort.tasks.batch import Batch


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)) in float64."""
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


@pytest.mark.parametrize(
    ("fields", "options", "function"),
    [
        ({"problem_type": "multi_label_classification"}, {}, sigmoid),
        ({"num_labels": 1}, {}, sigmoid),
        ({}, {"function_to_apply": "sigmoid"}, sigmoid),
        ({"problem_type": "regression"}, {}, np.asarray),
        ({}, {"function_to_apply": "none"}, np.asarray),
        ({}, {}, lambda x: np.exp(x) / np.exp(x).sum()),
        ({"problem_type": "multi_label_classification"}, {"function_to_apply": "softmax"},
         lambda x: np.exp(x) / np.exp(x).sum()),
    ],
)  # fmt: skip
def test_scores_are_the_functions_of_the_logits(
    fields: dict[str, Any], options: dict[str, Any], function: Any, tmp_path: Path
) -> None:
    folder = make(tmp_path, "YosoForSequenceClassification", **{"num_labels": 3, **fields})
    classify = yosort.pipeline("text-classification", folder, device="cpu")
    logits = classify.model([classify.tokenizer.encoding("A dog barks").ids]).logits[0]
    wanted = function(logits.astype(np.float64))
    got = {r["label"]: r["score"] for r in classify("A dog barks", top_k=None, **options)}
    assert got == pytest.approx({f"LABEL_{i}": x for i, x in enumerate(wanted)}, rel=1e-5)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], Any]]:
    """The ids and the scored tokens of every row that goes to a model."""
    seen: list[tuple[list[int], Any]] = []
    original = Batch.__init__

    def note(self: Any, rows: Any, *arguments: Any) -> None:
        seen.extend((row.ids, row.scored) for row in rows)
        original(self, rows, *arguments)

    monkeypatch.setattr(Batch, "__init__", note)
    return seen


def check_windows(windows: list[list[int]], whole: list[int], stride: int) -> None:
    """Check that windows, in any order, cover the whole and overlap by `stride` tokens."""
    left, end = list(windows), 0
    while left:
        begin = max(end - stride, 0)
        fitting = [window for window in left if window == whole[begin : begin + len(window)]]
        assert fitting, f"no window begins at token {begin}"
        left.remove(max(fitting, key=len))
        end = begin + max(map(len, fitting))
    assert end == len(whole)


@pytest.mark.parametrize("stride", [0, 5])
@pytest.mark.parametrize("question", ["Who?", " ".join("what" for _ in range(40))])
def test_windows_of_a_context(
    question: str, stride: int, tmp_path: Path, rows: list[tuple[list[int], Any]]
) -> None:
    """Every token of the context is read, and the whole of a question, even a long one."""
    answer = yosort.pipeline("question-answering", make(tmp_path, "YosoForQuestionAnswering"))
    context = " ".join(f"word{i}" for i in range(60))
    answer(question=question, context=context, doc_stride=stride)
    asked = answer.tokenizer.encoding(question, add_special_tokens=False).ids
    whole = answer.tokenizer.encoding(context, add_special_tokens=False).ids
    windows = []
    for ids, scored in rows:
        assert len(ids) <= 64
        assert asked == ids[1 : 1 + len(asked)]
        windows.append([ids[i] for i in scored[1:]])
    assert len(windows) > 2
    check_windows(windows, whole, stride)


def test_windows_of_a_tagged_text(tmp_path: Path, rows: list[tuple[list[int], Any]]) -> None:
    tag = yosort.pipeline(
        "token-classification",
        make(tmp_path, "YosoForTokenClassification", num_labels=5, id2label=ENTITIES),
    )
    text = " ".join(f"word{i}" for i in range(80))
    tag(text, aggregation_strategy="simple", stride=7)
    whole = tag.tokenizer.encoding(text, add_special_tokens=False).ids
    windows = [ids[1:-1] for ids, _ in rows]
    assert len(windows) > 2
    check_windows(windows, whole, 7)


def test_a_question_of_just_so_many_tokens(tmp_path: Path) -> None:
    answer = yosort.pipeline("question-answering", make(tmp_path, "YosoForQuestionAnswering"))
    question = "who went up"
    count = len(answer.tokenizer.encoding(question, add_special_tokens=False).ids)
    given = {"question": question, "context": "Moses went up."}
    assert answer(**given, max_question_len=count) == answer(**given)
    with pytest.raises(yosort.InputError, match=f"at most {count - 1} tokens, got {count}"):
        answer(**given, max_question_len=count - 1)
