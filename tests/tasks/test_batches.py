"""What a stream is made of: cuts of rows into batches, windows, marks of what was cut, notes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import make
from yosort.tasks import stream
from yosort.tasks.batch import Batch, Row, cut
from yosort.tasks.stream import Failure, is_finite, mark_truncated


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make(tmp_path_factory.mktemp("c"), "YosoForSequenceClassification", num_labels=3)
    return yosort.pipeline("text-classification", folder)


@pytest.mark.parametrize(
    ("lengths", "most", "rows", "in_order", "wanted"),
    [
        ([], 9, None, False, []),
        ([3], 1, None, False, [[0]]),
        ([1, 5, 2, 5], 100, None, False, [[1, 3, 2, 0]]),
        ([1, 5, 2, 5], 100, None, True, [[0, 1, 2, 3]]),
        ([4, 4, 4], 8, None, False, [[0, 1], [2]]),
        ([4, 4, 4], 7, None, False, [[0], [1], [2]]),
        ([4, 9, 4], 8, None, True, [[0], [1], [2]]),
        ([9, 4, 4], 8, None, False, [[0], [1, 2]]),
        ([1, 1, 1, 1, 1], 100, 2, False, [[0, 1], [2, 3], [4]]),
        ([1, 1, 1], 100, 1, True, [[0], [1], [2]]),
        ([3, 3, 1, 1], 6, 3, False, [[0, 1], [2, 3]]),
    ],
)
def test_rows_are_cut_into_batches(
    lengths: list[int], most: int, rows: int | None, in_order: bool, wanted: list[list[int]]
) -> None:
    assert list(cut(lengths, most, rows, in_order=in_order)) == wanted


def test_a_batch_knows_its_rows_by_their_places(classify: Any) -> None:
    rows = [Row([5, 9, 6], [0] * 3, (2, 0)), Row([7], [0]), Row([9, 8], [0, 0], (1,))]
    batch = Batch(rows, classify.model)
    assert batch.lengths == [3, 1, 2]
    assert batch.ids.tolist() == [5, 9, 6, 7, 9, 8]
    assert batch.offsets.tolist() == [0, 3, 4]
    assert batch.scored().tolist() == [2, 0, 3, 5]
    assert batch.find(9).tolist() == [1, 4]
    assert batch.find(4).tolist() == []
    scores = np.arange(24).reshape(2, 6, 2)
    parts = batch.split(scores)
    assert [part.shape for part in parts] == [(2, 3, 2), (2, 1, 2), (2, 2, 2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), scores)


def test_filling_is_not_found(tmp_path: Path) -> None:
    model = yosort.load(make(tmp_path / "m", "YosoForMaskedLM"), padding="attended")
    pad = model.config.pad_token_id
    batch = Batch([Row([pad, 5, 6], [0] * 3), Row([5], [0])], model)
    assert batch.find(5).tolist() == [1, 3]
    assert batch.find(pad).tolist() == [0]


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        (np.ones(3), True), (np.array([1, np.nan]), False), (np.array([-np.inf]), False),
        ([1.0, 2.0], True), ([1.0, float("nan")], False), ((1.0, [2.0, float("inf")]), False),
        ({"a": 1.0, "b": "x", "c": None}, True), ({"a": {"b": float("inf")}}, False),
        (3, True), ("nan", True), (None, True), (float("-inf"), False), ([], True),
        ([np.array([np.nan])], False),
    ],
)  # fmt: skip
def test_no_number_is_not_finite_however_deep(output: Any, wanted: bool) -> None:
    assert is_finite(output) is wanted


def test_each_dictionary_of_a_cut_text_s_result_says_so() -> None:
    a, b = {"a": 1}, {"b": 2}
    marked = {"a": 1, "truncated": True}, {"b": 2, "truncated": True}
    assert mark_truncated(a) == marked[0]
    assert a == {"a": 1}
    assert mark_truncated([a, b]) == [*marked]
    assert mark_truncated([[a], [b]]) == [[marked[0]], [marked[1]]]
    for vector in ([0.5, 1.0], [], 3.0, "a"):
        assert mark_truncated(vector) == vector


def test_a_window_is_full_of_tokens_or_of_inputs(
    classify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "one"

    n = len(classify.tokenizer.encoding("one").ids)
    for batch_tokens in (5 * n, 5 * n - 1, 5 * n + 1):
        read = 0
        assert len(list(islice(classify(texts(), batch_tokens=batch_tokens), 1))) == 1
        assert read == -(-4 * batch_tokens // n)  # four batches' tokens
    read = 0
    next(classify(texts(), batch_tokens=10**6))
    assert read == stream.WINDOW_INPUTS == 1024
    # The second window begins when the first one's answers are out.
    monkeypatch.setattr(stream, "WINDOW_INPUTS", 3)
    read, seen = 0, []
    for _ in islice(classify(texts()), 7):
        seen.append(read)
    assert seen == [3, 3, 3, 6, 6, 6, 9]


def test_a_window_that_has_an_error_ends_there_where_it_is_raised(classify: Any) -> None:
    read: list[Any] = []

    def values() -> Iterator[Any]:
        for value in ("a", 3, "b", "c"):
            read.append(value)
            yield value

    with pytest.raises(yosort.InputError, match=r"inputs\[1\]"):
        list(classify(values()))
    assert read == ["a", 3]
    assert len(list(classify(values(), on_error="collect"))) == 4


def test_the_first_cut_text_is_named_and_all_are_counted(
    classify: Any, caplog: pytest.LogCaptureFixture
) -> None:
    long, options = "word " * 100, {"overflow": "truncate"}

    def messages(*texts: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "yosort"):
            assert len(classify(list(texts), **options)) == len(texts)
        return caplog.messages

    assert messages("a", "b") == []
    assert messages("a", long) == ["inputs[1]: cut to 64 tokens"]
    assert messages(long, "a", long, long) == ["inputs[0]: cut to 64 tokens", "3 inputs were cut"]
    caplog.clear()
    classify(long, **options)
    assert caplog.messages == ["cut to 64 tokens"]


def test_an_error_of_the_device_ends_a_run_that_raises_and_is_its_text_s_else(
    classify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sizes = type(classify).run, []

    def run(self: Any, batch: Any, options: Any) -> Any:
        sizes.append(len(batch.lengths))
        if 4 in batch.lengths:
            raise yosort.DeviceError("no memory left")
        return original(self, batch, options)

    texts = ["one", "one two", "one"]
    assert [len(classify.tokenizer.encoding(text).ids) for text in texts] == [3, 4, 3]
    wanted = classify(texts)
    monkeypatch.setattr(type(classify), "run", run)
    with pytest.raises(yosort.DeviceError, match=r"^no memory left$"):
        classify(texts)
    assert sizes == [3]  # it is not tried again with less
    first, failed, last = classify(texts, on_error="collect")
    assert [first, last] == [wanted[0], wanted[2]]
    assert isinstance(failed, Failure)
    assert failed.to_dict() == {"index": 1, "error": "no memory left"}
    assert sizes == [3, 3, 1, 1, 1]
