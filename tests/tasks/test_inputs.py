"""What counts as several inputs, and texts of which a tokenizer keeps nothing."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import ENTITIES, make, make_word_piece
from yosort.model.architectures import TASKS
from yosort.tasks.stream import Failure

TEXTS = ["the quick brown fox", "the lazy dog", "jumps"]
NOTHING = "\u200b"  # a zero-width space, which BERT's normalizer drops


class Series:
    """A column as pandas has it: a length, an order, no sequence of Python's."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Any:
        return iter(self._values)

    def __getitem__(self, label: Any) -> Any:
        raise KeyError(label)  # by label, not by place


class Frame(Series):
    """A table as pandas has it, which iterates over its columns' names."""

    columns = ("text",)


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A text-classification pipeline."""
    folder = make_word_piece(tmp_path_factory.mktemp("c"), "YosoForSequenceClassification")
    return yosort.pipeline("text-classification", folder)


@pytest.mark.parametrize(
    "make_inputs", [Series, deque, tuple, np.array, lambda texts: np.array(texts, object),
                    lambda texts: dict.fromkeys(texts).keys()],
)  # fmt: skip
def test_what_has_a_length_gives_a_list(classify: Any, make_inputs: Any) -> None:
    got = classify(make_inputs(TEXTS))
    assert isinstance(got, list)
    assert got == classify(TEXTS)


def test_a_text_of_numpy_is_a_text(classify: Any) -> None:
    assert classify(np.array(TEXTS)[0]) == classify(TEXTS[0])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (set(TEXTS), r"got set, which has no order"),
        (b"the dog", r"got bytes; decode it"),
        (Frame(["text"]), r"got Frame; name the column"),
        (3.5, r"an iterable of them, got float"),
        (np.array("a"), r"an iterable of them, got ndarray"),
    ],
)
def test_what_has_no_inputs_to_give(classify: Any, inputs: Any, words: str) -> None:
    with pytest.raises(yosort.InputError, match=words):
        classify(inputs)


def test_questions_and_contexts_may_be_columns(tmp_path: Path) -> None:
    answer = yosort.pipeline(
        "question-answering", make_word_piece(tmp_path, "YosoForQuestionAnswering")
    )
    questions, contexts = ["who jumps", "the dog"], ["the quick fox", "the lazy dog jumps"]
    wanted = [answer(question=q, context=c) for q, c in zip(questions, contexts, strict=True)]
    for several in (Series, np.array):
        got = answer(question=several(questions), context=several(contexts))
        assert [a["answer"] for a in got] == [a["answer"] for a in wanted]
    # One of either serves all of the other.
    got = answer(question=questions[0], context=contexts)
    assert got[1]["answer"] == answer(question=questions[0], context=contexts[1])["answer"]
    got = answer(question=questions, context=contexts[1])
    assert got[0]["answer"] == answer(question=questions[0], context=contexts[1])["answer"]


BAD = {
    "feature-extraction": NOTHING,
    "text-classification": {"text": NOTHING, "text_pair": NOTHING},
    "token-classification": NOTHING,
    "fill-mask": NOTHING,
    "question-answering": {"question": "the fox", "context": NOTHING},
    "multiple-choice": {"prompt": NOTHING, "choices": ["fox", NOTHING]},
    "text-ranking": {"query": NOTHING, "documents": ["fox", NOTHING]},
}
GOOD: dict[str, Any] = dict.fromkeys(BAD, "the quick [MASK]") | {
    "question-answering": {"question": "the fox", "context": "the dog"},
    "multiple-choice": {"prompt": "the", "choices": ["fox", "dog"]},
    "text-ranking": {"query": "the", "documents": ["fox", "dog"]},
}


@pytest.mark.parametrize("specials", [True, False], ids=["special tokens", "none"])
@pytest.mark.parametrize("task", BAD)
def test_nothing_to_read_is_an_error(task: str, specials: bool, tmp_path: Path) -> None:
    labels: dict[str, Any] = {
        "token-classification": {"num_labels": 5, "id2label": ENTITIES},
        "text-ranking": {"num_labels": 1},
    }.get(task, {})
    pipe = yosort.pipeline(task, make_word_piece(tmp_path, TASKS[task].model, **labels))
    if not specials:
        pipe.tokenizer.backend.post_processor = None  # as byte-level tokenizers may have none
    good, bad = GOOD[task], BAD[task]
    first, failure, last = pipe([good, bad, good], on_error="collect")
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, yosort.InputError)
    assert "keeps nothing of" in str(failure.error)
    assert [first, last] == list(pipe(iter([good, good])))
    with pytest.raises(yosort.InputError, match="keeps nothing of"):
        pipe(bad)


@pytest.mark.parametrize("task", ["feature-extraction", "text-classification"])
def test_an_empty_text_needs_special_tokens(task: str, tmp_path: Path) -> None:
    pipe = yosort.pipeline(task, make_word_piece(tmp_path, TASKS[task].model))
    assert pipe("")
    with pytest.raises(yosort.InputError, match="keeps nothing of"):
        pipe("​")
    pipe.tokenizer.backend.post_processor = None
    (failure,) = pipe([""], on_error="collect")
    assert "keeps nothing of ''" in str(failure.error)


@pytest.mark.parametrize(
    ("pad", "used", "side"), [(7, 7, "right"), (None, 0, "right"), (7, 7, "left")]
)
def test_attended_padding_is_the_models_own_token(
    pad: int | None, used: int, side: str, tmp_path: Path
) -> None:
    """padding="attended" reads what stands beside a shorter text: behind it, on any side."""
    folder = make(tmp_path, "YosoForSequenceClassification", num_labels=3, pad_token_id=pad)
    tokenizer = yosort.Tokenizer.from_pretrained(folder, padding_side=side)
    classify = yosort.pipeline(
        "text-classification", folder, tokenizer=tokenizer, padding="attended", top_k=None,
        batch_size=2,
    )  # fmt: skip
    ids = [classify.tokenizer.encoding(text).ids for text in ("A dog barks loudly.", "A cat.")]
    short = len(ids[1])
    padded = np.array([ids[0], [*ids[1], *[used] * (len(ids[0]) - short)]])
    mask = np.array([[1] * len(ids[0]), [1] * short + [0] * (len(ids[0]) - short)])
    logits = classify.model(padded, mask).logits[1].astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum()
    got = classify(["A dog barks loudly.", "A cat."])[1]
    assert {g["label"]: g["score"] for g in got} == pytest.approx(
        {f"LABEL_{i}": score for i, score in enumerate(wanted)}, rel=1e-5
    )
    alone = classify.model([ids[1]]).logits[0]
    assert abs(alone - logits).max() > 0.01  # padding does count here


def test_a_pair_of_other_keys_is_refused(tmp_path: Path) -> None:
    found = yosort.pipeline("text-classification", make(tmp_path, "YosoForSequenceClassification"))
    for value in ({"text": "a", "pair": "b"}, {"text_pair": "b"}, {}):
        with pytest.raises(yosort.InputError, match="wanted the keys text and text_pair, got"):
            found(value)
