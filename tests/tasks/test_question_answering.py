"""What the question-answering pipeline refuses, and what it says of texts too long for a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import make, make_word_piece


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A question-answering pipeline."""
    folder = make(tmp_path_factory.mktemp("q"), "YosoForQuestionAnswering")
    return yosort.pipeline("question-answering", folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": "Who?"}, "wanted question and context, or inputs"),
        ({"question": 3, "context": "a"}, "question: wanted a text or a list of them, got int"),
        ({"question": "Who?", "context": {"a": "b"}}, "context: wanted a text or a list"),
        ({"question": ["a", "b"], "context": ["c"]}, "as many contexts as questions, got 1 for 2"),
        ({"question": "", "context": "a"}, "question: wanted a text that is not empty"),
        ({"question": "a", "context": " "}, "context: wanted a text that is not empty"),
        ({"inputs": "Who?"}, "wanted a dictionary of question and context, got str"),
        ({"inputs": {"question": "a"}}, r"got \['question'\]"),
        ({"inputs": {}, "question": "a"}, "got both"),
        ({"question": "a", "context": "b", "top_k": 0}, "top_k: wanted"),
        ({"question": "a", "context": "b", "max_answer_len": 0}, "max_answer_len: wanted"),
        ({"question": "a", "context": "b", "max_question_len": "x"}, "max_question_len: wanted"),
        ({"question": "a b c", "context": "b", "max_question_len": 2}, "at most 2 tokens, got 3"),
        ({"question": "a", "context": "b", "align_to_words": "no"}, "align_to_words: wanted True"),
        ({"inputs": {3: "a", "context": "b"}}, r"got \[3, 'context'\]"),
        ({"question": "a", "context": "b", "doc_stride": -1}, "doc_stride: wanted"),
        ({"question": "a b c", "context": "d", "max_seq_len": 7}, "no room in a window of 7"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(answer: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(yosort.InputError, match=message):
        answer(**arguments)


def test_a_window_may_hold_one_token_of_the_context(answer: Any) -> None:
    """Beside three of the question and four special ones, each in a window of its own."""
    arguments = {"question": "a b c", "context": "d e", "max_answer_len": 1, "top_k": 9}
    assert {found["answer"] for found in answer(**arguments, max_seq_len=8)} == {"d", "e"}


def test_an_answer_is_at_most_the_text_however_long_it_may_be(answer: Any) -> None:
    asked = {"question": "Who?", "context": "a dog barks at the moon", "top_k": 50}
    assert answer(**asked, max_answer_len=10**15) == answer(**asked, max_answer_len=64)


def test_a_long_context_is_read_whole_refused_or_cut_and_said_so(answer: Any) -> None:
    # Numbered, for equal answers become one.
    context = " ".join(f"word{i}" for i in range(200))
    arguments = {"question": "Who?", "context": context}
    whole = answer(**arguments, top_k=200, max_answer_len=3)
    assert max(found["end"] for found in whole) > len(context) - 100
    assert "truncated" not in whole[0]
    cut = answer(**arguments, top_k=200, max_answer_len=3, overflow="truncate")
    assert max(found["end"] for found in cut) < 300
    assert all(found["truncated"] for found in cut)
    with pytest.raises(yosort.InputError, match="wanted at most 64 tokens"):
        answer(**arguments, overflow="error")


def test_only_the_context_is_scored(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = type(answer).ask

    def ask(self: Any, batch: Any, rows: Any) -> Any:
        seen.append(rows.tolist())
        return original(self, batch, rows)

    monkeypatch.setattr(type(answer), "ask", ask)
    answer(question="Who is it?", context="A dog barks.")
    ids = answer.tokenizer.encoding("Who is it?", "A dog barks.")
    context = [i for i, part in enumerate(ids.sequence_ids) if part == 1]
    assert seen == [[0, *context]]


def test_none_is_the_default_of_an_option(answer: Any) -> None:
    given = {"question": "Who went?", "context": "Moses went up into Sinai."}
    unset = {"handle_impossible_answer": None, "align_to_words": None}
    assert answer(**given, **unset) == answer(**given)
    with pytest.raises(yosort.InputError, match="align_to_words: wanted True or False"):
        answer(**given, align_to_words="no")


def test_a_question_of_which_nothing_is_kept_is_said_so(tmp_path: Path) -> None:
    folder = make_word_piece(tmp_path / "m", "YosoForQuestionAnswering")
    found = yosort.pipeline("question-answering", folder)
    with pytest.raises(yosort.InputError, match=r"question: .*u200b"):
        found(question="\u200b", context="the dog")


def test_a_window_is_no_larger_than_what_the_model_takes(answer: Any) -> None:
    asked = {"question": "Who?", "context": " ".join(f"word{i}" for i in range(80))}
    assert answer(**asked, max_seq_len=384) == answer(**asked, max_seq_len=64) == answer(**asked)
    assert answer(**asked, max_seq_len=384) != answer(**asked, max_seq_len=30)


def test_no_answer_is_as_likely_as_the_first_token_says(answer: Any) -> None:
    question, context = "Who barks?", "a dog barks at the moon"
    encoding = answer.tokenizer.encoding(question, context)
    output = answer.model([encoding.ids])
    readable = [0, *(i for i, s in enumerate(encoding.sequence_ids) if s == 1)]
    likely = 1.0
    for logits in (output.start_logits[0], output.end_logits[0]):
        powers = np.exp(logits[readable].astype(np.float64))
        likely *= powers[0] / powers.sum()
    asked = {"question": question, "context": context, "top_k": 500}
    found = answer(**asked, handle_impossible_answer=True)
    (nothing,) = (a for a in found if a["answer"] == "")
    assert (nothing["start"], nothing["end"]) == (0, 0)
    assert nothing["score"] == pytest.approx(likely, rel=1e-4)
    scores = [a["score"] for a in found]
    assert scores == sorted(scores, reverse=True)
    assert answer(**asked) == [a for a in found if a["answer"]]


def test_a_context_is_cut_to_a_window(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer("a", "word " * 40, overflow="truncate", max_seq_len=10)
    assert "cut to 10 tokens" in caplog.text
