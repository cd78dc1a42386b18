"""Any number of inputs: order, laziness, windows, failures, texts that are too long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import yosort
from tasks.models import ENTITIES, TEXTS, make
from yosort.tasks import stream
from yosort.tasks.stream import Failure


@pytest.fixture(scope="module")
def embed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A feature-extraction pipeline."""
    return yosort.pipeline("feature-extraction", make(tmp_path_factory.mktemp("e"), "YosoModel"))


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A text-classification pipeline."""
    folder = make(tmp_path_factory.mktemp("c"), "YosoForSequenceClassification", num_labels=3)
    return yosort.pipeline("text-classification", folder)


@given(
    words=st.lists(st.integers(1, 30), max_size=25),
    batch_tokens=st.integers(1, 80),
    window=st.integers(1, 9),
)
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_results_are_in_order_and_those_of_each_text_alone(
    embed: Any, words: list[int], batch_tokens: int, window: int
) -> None:
    texts = [" ".join(f"word{i}" for i in range(1 + count % 12)) for count in words]
    before = stream.WINDOW_INPUTS
    stream.WINDOW_INPUTS = window
    try:
        options = {"pooling": "mean", "return_tensors": True, "batch_tokens": batch_tokens}
        got = list(embed(iter(texts), **options))
    finally:
        stream.WINDOW_INPUTS = before
    assert len(got) == len(texts)
    for text, vector in zip(texts, got, strict=True):
        alone = embed(text, pooling="mean", return_tensors=True)
        np.testing.assert_array_equal(vector, alone)


def test_an_endless_iterable_is_read_a_window_at_a_time(embed: Any) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "A dog barks."

    results = embed(endless(), pooling="cls", batch_tokens=50)
    assert read == 0
    assert len(list(islice(results, 3))) == 3
    assert read <= 3 * stream.WINDOW_BATCHES * 50


def test_forms_of_input_and_of_answer(embed: Any) -> None:
    assert np.array(embed("A dog.")).ndim == 3
    assert isinstance(embed(["A dog.", "A cat."]), list)
    assert isinstance(embed(("A dog.",)), list)
    assert not isinstance(embed(x for x in ["A dog."]), list)
    assert embed([]) == []
    vector = embed("A dog.", pooling="mean", normalize=True, return_tensors=True)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, rel=1e-5)
    states = embed("A dog.", return_tensors=True)[0]
    np.testing.assert_array_equal(embed("A dog.", pooling="cls", return_tensors=True), states[0])


def test_a_failing_text_raises_with_its_number_after_what_came_before(classify: Any) -> None:
    results = classify(iter(["one", "two", 3, "four"]))
    assert len(list(islice(results, 2))) == 2
    with pytest.raises(yosort.InputError, match=r"inputs\[2\]: wanted a text"):
        next(results)


def test_failures_can_be_collected(classify: Any) -> None:
    texts = ["one", None, "word " * 500, "four"]
    got = classify(texts, on_error="collect")
    assert [isinstance(result, Failure) for result in got] == [False, True, True, False]
    assert [failure.index for failure in got[1:3]] == [1, 2]
    assert "at most 64 tokens" in str(got[2].error)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_in_an_item_s_place_is_that_item_s(classify: Any, bad: int) -> None:
    texts: list[Any] = ["one", "two", "three"]
    wanted = classify(texts)
    texts[bad] = yosort.InputError("row 7: no such column")
    got = classify(iter(texts), on_error="collect")
    for index, result in enumerate(got):
        if index == bad:
            assert json.dumps(result.to_dict()) == (
                f'{{"index": {bad}, "error": "row 7: no such column"}}'
            )
        else:
            assert result == wanted[index]
    results = classify(iter(texts))
    assert list(islice(results, bad)) == wanted[:bad]
    with pytest.raises(yosort.InputError, match=rf"^inputs\[{bad}\]: row 7: no such column"):
        next(results)


@pytest.mark.parametrize("on_error", ["raise", "collect"])
@pytest.mark.parametrize("error", [KeyError("id"), yosort.InputError("x"), KeyboardInterrupt()])
def test_what_an_iterable_raises_leaves_unchanged_after_what_came_before(
    classify: Any, on_error: str, error: BaseException
) -> None:
    results = classify(map_raising(["one", "two", error, "four"]), on_error=on_error)
    assert list(islice(results, 2)) == classify(["one", "two"])
    with pytest.raises(type(error)) as caught:
        next(results)
    assert caught.value is error


def map_raising(values: list[Any]) -> Iterator[str]:
    """Yield texts and raise exceptions."""
    for value in values:
        if isinstance(value, BaseException):
            raise value
        yield value


def test_an_interrupted_window_gives_what_it_has_answered(
    classify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["one two three four", "one two three", "one"]
    wanted = classify(texts)
    original, calls = type(classify).run, 0

    def run(self: Any, batch: Any, options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return original(self, batch, options)

    monkeypatch.setattr(type(classify), "run", run)
    results = classify(iter(texts), batch_tokens=1)
    got = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(results)
    assert got == wanted[:2]
    assert calls == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_an_error_of_its_text(
    classify: Any, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    original = type(classify).run

    def run(self: Any, batch: Any, options: Any) -> Any:
        answers = original(self, batch, options)
        answers[batch.lengths.index(max(batch.lengths))][0, 1] = value
        return answers

    texts = ["one", "two three four", "five"]
    wanted = classify(texts)
    monkeypatch.setattr(type(classify), "run", run)
    first, bad, last = classify(texts, on_error="collect")
    assert [first, last] == [wanted[0], wanted[2]]
    assert "not a finite number" in str(bad.error)
    with pytest.raises(yosort.InputError, match=r"inputs\[1\]: the model's answer is not a finite"):
        classify(texts)


def test_what_fails_at_the_end_takes_no_other_along(
    classify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = type(classify).finish

    def finish(self: Any, prepared: Any, outputs: Any, options: Any) -> Any:
        if "two" in self.tokenizer.decode(prepared.rows[0].ids):
            raise yosort.InputError("nothing to answer from")
        return original(self, prepared, outputs, options)

    monkeypatch.setattr(type(classify), "finish", finish)
    got = classify(["one", "two", "three"], on_error="collect")
    assert [isinstance(result, Failure) for result in got] == [False, True, False]
    results = classify(iter(["one", "two", "three"]))
    assert next(results) == got[0]
    with pytest.raises(yosort.InputError, match=r"inputs\[1\]: nothing"):
        next(results)
    with pytest.raises(yosort.InputError, match=r"^text: wanted a text, got 3$"):
        classify({"text": 3})


def test_a_failing_batch_is_taken_apart(classify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original = type(classify).run

    def run(self: Any, batch: Any, options: Any) -> Any:
        if 5 in batch.lengths:
            raise yosort.InputError("no fives")
        return original(self, batch, options)

    monkeypatch.setattr(type(classify), "run", run)
    texts = ["one two", "one two three", "one"]
    lengths = [len(classify.tokenizer.encoding(text).ids) for text in texts]
    got = classify(texts, on_error="collect")
    assert [isinstance(r, Failure) for r in got] == [n == 5 for n in lengths]
    assert any(n == 5 for n in lengths)
    with pytest.raises(yosort.InputError, match="no fives"):
        classify(texts)


def test_long_texts_are_never_cut_in_silence(classify: Any) -> None:
    long = "word " * 500
    with pytest.raises(yosort.InputError, match=r"wanted at most 64 tokens, got 50\d"):
        classify(long)
    (cut,) = classify(long, overflow="truncate")
    assert cut["truncated"] is True
    assert "truncated" not in classify("short", overflow="truncate")[0]
    ranked = classify(long, overflow="truncate", top_k=2)
    assert [answer["truncated"] for answer in ranked] == [True, True]
    with pytest.raises(yosort.InputError, match="answers once a text"):
        classify(long, overflow="stride")


def test_a_cut_text_keeps_its_end_token(classify: Any) -> None:
    cut = classify.tokenizer.encoding("word " * 50, max_tokens=10)
    assert len(cut.ids) == 10
    assert cut.ids[-1] == classify.tokenizer.id_of("eos_token")
    # The pipeline's own tokenizer is not changed by it.
    assert len(classify.tokenizer.encoding("word " * 50).ids) > 50


@pytest.mark.parametrize(
    "options", [{"batch_tokens": 0}, {"overflow": "cut"}, {"on_error": "ignore"}, {"top_k": 0},
                {"function_to_apply": "tanh"}], ids=str,
)  # fmt: skip
def test_bad_options_are_named(classify: Any, options: dict[str, Any]) -> None:
    with pytest.raises(yosort.InputError, match=next(iter(options))):
        classify("text", **options)


def test_a_bar_counts_inputs(classify: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(classify(["one", "two"], progress=True)) == 2
    assert "2/2" in capsys.readouterr().err
    assert len(classify(["one", "two"])) == 2
    assert capsys.readouterr().err == ""


def test_multiple_choice(tmp_path: Path) -> None:
    choose = yosort.pipeline("multiple-choice", make(tmp_path, "YosoForMultipleChoice"))
    question = {"prompt": "A dog", "choices": ["barks", "meows at the moon", "sings"]}
    ranked = choose(question)
    assert sorted(answer["index"] for answer in ranked) == [0, 1, 2]
    assert sum(answer["score"] for answer in ranked) == pytest.approx(1.0)
    assert [a["score"] for a in ranked] == sorted((a["score"] for a in ranked), reverse=True)
    # The head's own scores, one question with three choices.
    ids = [choose.tokenizer.encoding("A dog", choice).ids for choice in question["choices"]]
    width = max(map(len, ids))
    padded = np.array([[*row, *[1] * (width - len(row))] for row in ids])[None]
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids])[None]
    logits = choose.model(padded, mask).logits[0].astype(np.float64)
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    for answer in ranked:
        assert answer["choice"] == question["choices"][answer["index"]]
        assert answer["score"] == pytest.approx(wanted[answer["index"]], rel=1e-4)
    two = {"prompt": "A cat", "choices": ["barks", "meows"]}
    assert [len(answers) for answers in choose([question, two])] == [3, 2]
    assert len(choose(question, top_k=1)) == 1
    for bad in ("text", {"prompt": "x"}, {"prompt": "x", "choices": ["one"]}):
        with pytest.raises(yosort.InputError, match="wanted"):
            choose(bad)


def test_windows_of_long_texts_cover_every_entity(tmp_path: Path) -> None:
    labels = {"id2label": ENTITIES, "label2id": {v: k for k, v in ENTITIES.items()}}
    folder = make(tmp_path, "YosoForTokenClassification", num_labels=5, **labels)
    tag = yosort.pipeline("token-classification", folder)
    text = " ".join(TEXTS[:3] * 6)
    found = tag(text, aggregation_strategy="simple", ignore_labels=[], stride=16)
    # Where windows overlap the longer group stays, as in transformers; all of them were read.
    assert min(entity["start"] for entity in found) == 0
    assert max(entity["end"] for entity in found) == len(text)
    assert all(a["end"] <= b["start"] for a, b in pairwise(found))
    with pytest.raises(yosort.InputError, match="windows overlap"):
        tag(text, overflow="stride")


def test_tasks_say_what_model_they_want(classify: Any) -> None:
    with pytest.raises(yosort.ConfigError, match="wanted a YosoForMaskedLM, got YosoForSequence"):
        yosort.pipeline("fill-mask", classify.model, classify.tokenizer)
    with pytest.raises(yosort.ConfigError, match="wanted one for question-answering"):
        yosort.pipeline("question-answering")
    with pytest.raises(yosort.ConfigError, match="task: wanted one of fill-mask"):
        yosort.pipeline("translation")


def test_batches_hold_as_many_tokens_as_they_may(
    classify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`batch_tokens` is the most of a batch, not one too many; a longer text has its own."""
    sizes = []
    original = type(classify).run

    def run(self: Any, batch: Any, options: Any) -> Any:
        sizes.append(sum(batch.lengths))
        return original(self, batch, options)

    monkeypatch.setattr(type(classify), "run", run)
    n = len(classify.tokenizer.encoding("one").ids)
    for batch_tokens, wanted in (
        (2 * n, [2 * n, 2 * n]), (2 * n - 1, [n] * 4), (4 * n - 1, [3 * n, n]), (1, [n] * 4),
    ):  # fmt: skip
        sizes.clear()
        classify(["one"] * 4, batch_tokens=batch_tokens)
        assert sizes == wanted


def test_a_run_that_goes_on_counts_from_where_it_was(classify: Any) -> None:
    later = classify.numbered_from(7)
    (failure,) = later([3], on_error="collect")
    assert failure.index == 7
    with pytest.raises(yosort.InputError, match=r"inputs\[8\]: wanted a text"):
        later(["a", 3])
    assert later("a b") == classify("a b")
    (failure,) = classify([3], on_error="collect")  # which is as it was
    assert failure.index == 0
    for bad in (-1, 1.0, True, None):
        with pytest.raises(yosort.InputError, match="first: wanted an integer of at least 0"):
            classify.numbered_from(bad)
