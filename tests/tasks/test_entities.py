"""How tokens become words, entities and groups: by hand-made scores, one rule at a time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import ENTITIES, make
from yosort.tasks.token_classification import _span, _tag, _without_overlaps, _words

LABELS = {"num_labels": 5, "id2label": ENTITIES, "label2id": {v: k for k, v in ENTITIES.items()}}
WORDS = ["Moses", "and", "Aaron,", "unfathomably", "up"]


@pytest.fixture(scope="module")
def tag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make(tmp_path_factory.mktemp("t"), "YosoForTokenClassification", **LABELS)
    return yosort.pipeline("token-classification", folder)


def answer(tag: Any, monkeypatch: pytest.MonkeyPatch, scores: list[list[float]]) -> None:
    """Let the model score the tokens of a text so, the two special ones aside."""
    logits = np.log(np.array([[1.0] * 5, *scores, [1.0] * 5]))[None]
    monkeypatch.setattr(type(tag), "ask", lambda self, batch: logits)


@pytest.mark.parametrize("delimiter", [" ", "", " / ", "\n"])
@pytest.mark.parametrize("strategy", ["none", "first"])
def test_split_words_have_the_places_of_their_joined_text(
    tag: Any, delimiter: str, strategy: str
) -> None:
    options: dict[str, Any] = {"is_split_into_words": True, "delimiter": delimiter,
                               "aggregation_strategy": strategy, "ignore_labels": []}  # fmt: skip
    found, text = tag(WORDS, **options), delimiter.join(WORDS)
    starts = [len(delimiter.join([*WORDS[:i], ""])) if i else 0 for i in range(len(WORDS))]
    ends = [start + len(word) for start, word in zip(starts, WORDS, strict=True)]
    assert (found[0]["start"], found[-1]["end"]) == (0, len(text))
    if strategy == "none":
        assert {entity["start"] for entity in found} >= {*starts}
        assert {entity["end"] for entity in found} >= {*ends}
        for entity in found:
            piece = tag.tokenizer.join([entity["word"]]).strip()
            assert text[entity["start"] : entity["end"]] == piece
    else:  # a group ends where a word does
        assert {entity["start"] for entity in found} <= {*starts}
        assert {entity["end"] for entity in found} <= {*ends}
    assert tag({"words": WORDS}, **options) == found


def test_words_of_one_tokenizer_s_word() -> None:
    tokens = [{"word_id": w} for w in (0, 0, 1, None, None, 1, 1, 2)]
    assert [[t["word_id"] for t in word] for word in _words(tokens)] == [
        [0, 0], [1], [None], [None], [1, 1], [2],
    ]  # fmt: skip


def test_labels_without_what_begins_them() -> None:
    assert [_tag(name) for name in ("B-PER", "I-PER", "O", "B-", "X-PER", "BPER", "I-B-X")] == [
        "PER", "PER", "O", "", "X-PER", "BPER", "B-X",
    ]  # fmt: skip


def test_a_span_leaves_out_tokens_of_nothing() -> None:
    places = [(0, 0), (3, 5), (6, 6), (7, 9), (9, 9)]
    parts = [{"start": a, "end": b} for a, b in places]
    assert _span(parts) == {"start": 3, "end": 9}
    assert _span(parts[2:3]) == {"start": 6, "end": 6}


@pytest.mark.parametrize(
    ("spans", "wanted"),
    [
        ([(0, 3, 0.5), (3, 5, 0.5)], [0, 1]), ([(0, 3, 0.5), (2, 5, 0.4)], [0]),
        ([(0, 3, 0.5), (2, 5, 0.6)], [1]), ([(0, 3, 0.9), (2, 6, 0.1)], [1]),
        ([(0, 4, 0.1), (2, 5, 0.9)], [0]), ([(2, 5, 0.5), (0, 3, 0.5)], [1]),
        ([(0, 3, 0.5), (0, 3, 0.5), (0, 3, 0.6)], [2]),
        ([(0, 9, 0.5), (1, 2, 0.9), (3, 4, 0.9), (9, 10, 0.1)], [0, 3]),
        ([(4, 6, 0.5), (0, 2, 0.5)], [1, 0]), ([], []),
    ],
)  # fmt: skip
def test_of_what_two_windows_found_the_longer_or_surer_stays(
    spans: list[tuple[int, int, float]], wanted: list[int]
) -> None:
    entities = [{"start": a, "end": b, "score": s, "n": i} for i, (a, b, s) in enumerate(spans)]
    assert [entity["n"] for entity in _without_overlaps(entities)] == wanted


TEXT = "a dog came"
ONE = [0.2, 0.5, 0.1, 0.1, 0.1]  # B-PER
IN = [0.1, 0.1, 0.6, 0.1, 0.1]  # I-PER
PLACE = [0.1, 0.1, 0.1, 0.1, 0.6]  # I-LOC
OUT = [0.6, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("windows", "wanted"),
    [
        ([[ONE, IN], [PLACE, OUT]], [("PER", 0, 5)]),
        ([[OUT, PLACE], [ONE, IN]], [("PER", 2, 10)]),
        ([[ONE, OUT], [OUT, PLACE]], [("PER", 0, 1), ("LOC", 6, 10)]),
        ([[OUT, ONE], [PLACE, OUT]], [("LOC", 2, 5)]),
    ],
)
def test_two_windows_answer_nothing_twice(
    windows: list[list[list[float]]],
    wanted: list[tuple[str, int, int]],
    tag: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second of three words is in both."""
    rows = [row for window in windows for row in (OUT, *window, OUT)]
    monkeypatch.setattr(type(tag), "ask", lambda self, batch: np.log(np.array(rows))[None])
    found = tag(TEXT, aggregation_strategy="simple", max_length=4, stride=1)
    assert [(e["entity_group"], e["start"], e["end"]) for e in found] == wanted


def test_a_call_that_truncates_reads_no_windows(tag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline's stride says what becomes of long texts; a call may say otherwise."""
    options: dict[str, Any] = {"aggregation_strategy": "simple", "max_length": 4}
    windows = yosort.pipeline(
        "token-classification", tag.model, tokenizer=tag.tokenizer, stride=1, **options
    )
    ask = type(tag).ask
    monkeypatch.setattr(type(tag), "ask", lambda self, batch: ask(self, batch) + 99 * np.array(ONE))
    for cut in ({"truncation": True}, {"overflow": "truncate"}):
        assert windows(TEXT, **cut) == tag(TEXT, **options, **cut) != windows(TEXT)
    with pytest.raises(yosort.InputError, match="text too long"):
        windows(TEXT, overflow="error")


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([ONE, IN, OUT], [("PER", "a dog", 0.55), ("O", "came", 0.6)]),
        ([IN, IN, IN], [("PER", "a dog came", 0.6)]),
        ([IN, ONE, IN], [("PER", "a", 0.6), ("PER", "dog came", 0.55)]),
        ([IN, PLACE, PLACE], [("PER", "a", 0.6), ("LOC", "dog came", 0.6)]),
        ([OUT, OUT, PLACE], [("O", "a dog", 0.6), ("LOC", "came", 0.6)]),
        ([ONE, ONE, OUT], [("PER", "a", 0.5), ("PER", "dog", 0.5), ("O", "came", 0.6)]),
    ],
)
def test_neighbours_of_one_label_are_a_group(
    scores: list[list[float]],
    wanted: list[tuple[str, str, float]],
    tag: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(tag.tokenizer.tokenize(TEXT)) == 3
    answer(tag, monkeypatch, scores)
    for strategy in ("simple", "first", "max", "average"):
        found = tag(TEXT, aggregation_strategy=strategy, ignore_labels=[])
        assert [
            (e["entity_group"], TEXT[e["start"] : e["end"]], pytest.approx(e["score"]))
            for e in found
        ] == wanted
        assert [e["word"].strip() for e in found] == [word for _, word, _ in wanted]
    kept = tag(TEXT, aggregation_strategy="simple")  # "O" is left out
    assert [e["entity_group"] for e in kept] == [name for name, *_ in wanted if name != "O"]
    kept = tag(TEXT, aggregation_strategy="simple", ignore_labels=["PER", "O"])
    assert [e["entity_group"] for e in kept] == [name for name, *_ in wanted if name == "LOC"]
    tokens = tag(TEXT, ignore_labels=[])
    assert [e["entity"] for e in tokens] == [ENTITIES[int(np.argmax(row))] for row in scores]
    assert [e["index"] for e in tokens] == [1, 2, 3]
    assert [e["score"] for e in tokens] == pytest.approx([max(row) for row in scores])


def test_a_word_s_scores_are_those_of_its_first_surest_or_all_tokens(
    tag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = "unfathomably"
    count = len(tag.tokenizer.tokenize(word))
    assert count >= 3
    first, surest = [0.3, 0.4, 0.1, 0.1, 0.1], [0.05, 0.05, 0.05, 0.8, 0.05]
    scores = [first, surest, *[OUT] * (count - 2)]
    answer(tag, monkeypatch, scores)
    mean = np.mean(scores, axis=0)
    for strategy, label, score in (
        ("first", "PER", 0.4), ("max", "LOC", 0.8),
        ("average", ENTITIES[int(mean.argmax())].split("-")[-1], mean.max()),
    ):  # fmt: skip
        (found,) = tag(word, aggregation_strategy=strategy, ignore_labels=[])
        assert (found["entity_group"], found["start"], found["end"]) == (label, 0, len(word))
        assert found["score"] == pytest.approx(score)
        assert found["word"].strip() == word


def test_labels_to_leave_out_are_named_as_the_strategy_calls_them(
    tag: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def said(labels: list[str], strategy: str) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "yosort"):
            tag(TEXT, ignore_labels=labels, aggregation_strategy=strategy)
        return caplog.text

    for labels, strategy in ((["O", "B-PER"], "none"), (["PER", "O"], "simple"), ([], "first")):
        assert said(labels, strategy) == ""
    assert "'PER' leaves nothing out, for aggregation_strategy='none' answers" in said(
        ["PER"], "none"
    )
    assert "'B-PER' leaves nothing out" in said(["B-PER"], "simple")
    with pytest.raises(yosort.InputError, match=r"ignore_labels: wanted labels of this model.*'X'"):
        tag(TEXT, ignore_labels=["X"])


def test_an_unknown_token_is_shown_as_its_text(tmp_path: Path) -> None:
    from tasks.models import save_word_piece

    folder = make(tmp_path / "m", "YosoForTokenClassification", **LABELS)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    save_word_piece(folder)
    found = yosort.pipeline("token-classification", folder)("the 日", ignore_labels=[])
    assert [(e["word"], e["start"], e["end"]) for e in found] == [("the", 0, 3), ("日", 4, 5)]
