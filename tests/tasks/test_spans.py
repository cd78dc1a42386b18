"""text[start:end] is what was found, whether or not a tokenizer trims the space before a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import yosort
from tasks.models import ENTITIES, TEXTS, make, save_unigram
from yosort.tasks.spans import trimmed
from yosort.tasks.token_classification import _span


@pytest.fixture(params=[True, False, None], ids=["trims", "does not", "template"])
def trims(request: Any) -> bool | None:
    """Whether tokenizer.json's post-processor trims offsets; None for one that knows none."""
    found: bool | None = request.param
    return found


def change(folder: Path, trims: bool | None) -> Path:
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    if trims is None:
        pieces = [{"SpecialToken": {"id": t, "type_id": 0}} for t in ("<s>", "</s>")]
        texts = [{"Sequence": {"id": side, "type_id": 0}} for side in "AB"]
        begin, end = pieces
        stored["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [begin, texts[0], end],
            "pair": [begin, texts[0], end, end, texts[1], end],
            "special_tokens": {
                "<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]},
            },
        }
    else:
        stored["post_processor"]["trim_offsets"] = trims
    path.write_text(json.dumps(stored), encoding="utf-8")
    return folder


@pytest.mark.parametrize("strategy", ["none", "simple", "first"])
def test_entities(tmp_path: Path, trims: bool | None, strategy: str) -> None:
    folder = make(tmp_path, "YosoForTokenClassification", id2label=ENTITIES)
    wanted: Any = yosort.pipeline("ner", folder, aggregation_strategy=strategy)
    wanted = [wanted(text, ignore_labels=[]) for text in TEXTS]
    tag: Any = yosort.pipeline("ner", change(folder, trims), aggregation_strategy=strategy)
    found = [tag(text, ignore_labels=[]) for text in TEXTS]
    assert found == wanted
    for text, entities in zip(TEXTS, found, strict=True):
        spans = [text[e["start"] : e["end"]] for e in entities]
        assert all(span == span.strip(" ") for span in spans)
        if strategy == "first" and text is TEXTS[0]:
            assert spans[0].startswith("Paris")


def test_answers(tmp_path: Path, trims: bool | None) -> None:
    folder = make(tmp_path, "YosoForQuestionAnswering")
    answer: Any = yosort.pipeline("question-answering", folder)
    question = {"question": "Who barks?", "context": TEXTS[0]}
    wanted = answer(question, top_k=5)
    answer = yosort.pipeline("question-answering", change(folder, trims))
    for align in (True, False):
        found = answer(question, top_k=5, align_to_words=align)
        for one in found:
            assert TEXTS[0][one["start"] : one["end"]] == one["answer"] == one["answer"].strip(" ")
    assert answer(question, top_k=5) == wanted


def test_of_spaces_alone_nothing_remains() -> None:
    assert trimmed("a   b", 1, 4) == (4, 4)
    assert trimmed(" ab ", 0, 4) == (1, 3)
    assert trimmed("ab", 0, 2) == (0, 2)


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_a_token_of_a_space_alone_is_in_no_entity(tmp_path: Path, strategy: str) -> None:
    names = ("B-X", "B-Y")  # each token an entity of its own
    folder = make(
        tmp_path, "YosoForTokenClassification", id2label=dict(enumerate(names)), vocab_size=100
    )
    save_unigram(folder)
    tag: Any = yosort.pipeline("ner", folder, ignore_labels=[])
    # No vocabulary has these signs: before them stands "▁" alone.
    text = "Paris 京 東 dog 京"
    alone = [token for token in tag(text) if token["word"] == "▁"]
    # The first was put before the text, and has its first letter.
    assert [(token["start"], token["end"]) for token in alone] == [
        (0, 1), (6, 6), (8, 8), (10, 10), (14, 14),
    ]  # fmt: skip
    spans = [text[e["start"] : e["end"]] for e in tag(text, aggregation_strategy=strategy)]
    if strategy == "simple":
        assert spans == ["P", "P", "ar", "i", "s", "京", "東", "d", "o", "g", "京"]
    else:
        assert spans == ["Paris", "京", "東", "dog", "京"]


def test_spaces_at_the_ends_of_a_group_do_not_widen_it() -> None:
    spans = [(3, 3), (4, 7), (8, 8), (9, 10), (11, 11)]
    parts = [{"start": start, "end": end} for start, end in spans]
    assert _span(parts) == {"start": 4, "end": 10}
    assert _span(parts[:1]) == {"start": 3, "end": 3}
