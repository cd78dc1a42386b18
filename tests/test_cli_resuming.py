"""Which results of a file are this run's: the same but for the last bits of numbers."""

from __future__ import annotations

from typing import Any

import pytest

from yosort.cli.resuming import _begins, _same

NAN = float("nan")


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        ("a", "a"), (3, 3), (True, True), (None, None), ([], []), ({}, {}), (1.5, 1.5),
        ([1.0, 2.0], [1.0009, 2.0]), ([1000.0, 1e-9], [1000.0, 0.9]), ([0.0], [0.0]),
        ([1.0, NAN], [1.0, NAN]), ([NAN, NAN], [NAN, NAN]), ([-5.0, 1.0], [-5.004, 1.0]),
        ({"a": 0.5, "b": "x", "c": 7}, {"a": 0.5004, "b": "x", "c": 7}),
        ({"a": [{"b": 0.25, "c": [1, 2]}]}, {"a": [{"b": 0.25001, "c": [1, 2]}]}),
        ([5.0, "a", None, True], [5.0, "a", None, True]), ([[1, 2.0], "a"], [[1, 2.001], "a"]),
        ([1, 2.0], [1.0, 2]),  # JSON may have 1.0 as 1
    ],
)  # fmt: skip
def test_results_that_are_the_same(got: Any, wanted: Any) -> None:
    assert _same(got, wanted)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        ("a", "b"), (3, 4), (True, 1), (1, True), (None, ""), ([], {}), (1, 1.5), ([1], [1, 2]),
        ({"a": 1}, {"b": 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": 1, "b": 2}),
        ([1.0, 2.0], [1.0, 2.003]), ([1.0, 2.0], [1.0021, 2.0]), ([1.0], [1.0011]),
        ([1.0, NAN], [1.0, 2.0]), ([1.0, 2.0], [1.0, NAN]), ([0.0, 1.0], [0.0011, 1.0]),
        # The largest of this run's floats counts; what is whole is compared as it is.
        ({"a": 0.5, "n": 10_000}, {"a": 0.6, "n": 10_000}),
        ({"a": 0.5, "n": 10_000}, {"a": 0.5, "n": 10_001}),
        ([0.5, NAN], [0.6, NAN]), ([10_000.0, 0.5], [0.5, 0.5]),
        ([5.0, True], [5.0, 1]), ([5.0, "a"], [5.0, "b"]), ([5.0, [1]], [5.0, [2]]),
        ([5.0, None], [5.0, 0.0]),
        ({"a": [{"b": 0.25}]}, {"a": [{"b": 0.26}]}),
    ],
)  # fmt: skip
def test_results_that_are_not(got: Any, wanted: Any) -> None:
    assert not _same(got, wanted)


RECORD = b'{"label": "yes", "score": -0.25, "n": 7}\n'


@pytest.mark.parametrize("end", range(1, len(RECORD) + 1))
def test_any_beginning_of_a_record_begins_it_whatever_its_last_bits(end: int) -> None:
    assert _begins(RECORD, RECORD[:end])
    assert _begins(RECORD, RECORD[:end].replace(b"-0.25", b"-0.2500001"))


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"[",
        b'{"label": "no',
        b'{"label": "yes", "score": "',
        b'{"label": "yes", "n',
        2 * RECORD,
    ],
)
def test_what_begins_no_record_of_this_run(tail: bytes) -> None:
    assert not _begins(RECORD, tail)
