"""What is taken of an object or of a table's row: by the task's keys, by --field, by --keep."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from yosort import InputError
from yosort.cli.picking import kept_names, lacks, other_delimiter, pick

TEXTS, WORDS = ("text", "text_pair"), ("text", "words")
QUESTION = ("question", "context")


@pytest.mark.parametrize(
    ("row", "names", "keys", "wanted"),
    [
        ({"text": "a", "id": 1}, None, ("text",), "a"),
        ({"text": "a", "text_pair": "b"}, None, TEXTS, {"text": "a", "text_pair": "b"}),
        ({"text": "a", "text_pair": ""}, None, TEXTS, "a"),
        ({"text": "a", "text_pair": None}, None, TEXTS, "a"),
        ({"text_pair": "b", "text": "a"}, None, TEXTS, {"text": "a", "text_pair": "b"}),
        ({"text_pair": "b"}, None, TEXTS, {"text_pair": "b"}),
        ({"words": ["a", "b"]}, None, WORDS, {"words": ["a", "b"]}),
        ({"question": "q", "context": "c"}, None, QUESTION, {"question": "q", "context": "c"}),
        ({"q": "a", "c": "b"}, ["q", "c"], QUESTION, {"question": "a", "context": "b"}),
        ({"body": "a", "text": "b"}, "body", ("text",), "a"),
        ({"body": "a", "text": "b"}, ["body"], TEXTS, "a"),
        ({"body": None}, "body", ("text",), None),  # the task says what is wrong with it
        ({"body": "a", "more": ""}, ["body", "more"], TEXTS, "a"),
        ({"body": 5}, "body", ("text",), 5),
    ],
)
def test_texts_come_by_key_or_by_the_field_that_is_named(
    row: dict[str, Any], names: Any, keys: tuple[str, ...], wanted: Any
) -> None:
    assert pick(row, names, keys, "keys") == wanted


@pytest.mark.parametrize(
    ("row", "names", "keys", "message"),
    [
        ({"text": "  "}, None, TEXTS, "text: wanted a text, got an empty one"),
        ({"body": ""}, "body", TEXTS, "body: wanted a text, got an empty one"),
        ({"text": None}, None, TEXTS, "text: wanted a text, got null"),
        ({"text": None, "text_pair": None}, None, TEXTS, "text: wanted a text, got null"),
        ({"id": 1}, None, TEXTS, "wanted text (text_pair is optional), got the keys 'id'; --field "
                                 "names another"),
        ({"id": 1}, None, WORDS, "wanted text, or words with --is-split-into-words, got the keys"),
        ({"id": 1}, None, ("text", "spans"), "wanted text and spans, got the keys 'id'; --field n"),
        ({"id": 1}, None, QUESTION, "wanted question and context, got the keys 'id'; --field na"),
        ({"id": 1}, None, ("text",), "wanted text, got the keys 'id'; --field names another"),
        ({"a": 1}, ["a", "b"], QUESTION, "wanted a field 'b', got the keys 'a'"),
        ({"d": [{"x": 1}]}, None, QUESTION, "got the keys 'd'; d holds objects of its own: wanted"),
        ({"d": []}, None, QUESTION, "got the keys 'd'; --field names another"),
        ({"d": [1]}, None, QUESTION, "got the keys 'd'; --field names another"),
        ({"d": {"x": 1}}, None, QUESTION, "got the keys 'd'; --field names another"),
    ],
)  # fmt: skip
def test_what_has_no_text_says_what_it_has(
    row: dict[str, Any], names: Any, keys: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        pick(row, names, keys, "keys")
    assert message in str(caught.value)
    if names and "field" in message:
        assert str(caught.value) == message  # no hint to name another: one was named


def test_twelve_names_are_enough() -> None:
    names = [f"n{i}" for i in range(13)]
    twelve = ", ".join(f"'{name}'" for name in names[:12])
    assert str(lacks("x", dict.fromkeys(names[:12]), "keys")) == f"wanted x, got the keys {twelve}"
    found = str(lacks("x", dict.fromkeys(names), "keys", "do that"))
    assert found == f"wanted x, got the keys {twelve} ...; do that"
    first = "(the first row names them)"
    found = str(lacks("x", {"a": 1}, "columns", "do that"))
    assert found == f"wanted x, got the columns 'a' {first}; do that"
    found = str(lacks("x", {"a;b": 1}, "columns", "do that"))
    assert found == f"wanted x, got the columns 'a;b' {first}; --delimiter ';' parts that"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["a", "b"], None), (["a"], None), (["a;b"], ";"), (["a;b", "c"], ";"), (["a\tb"], "\t"),
        (["a_b"], None), (["a|b"], "|"), (["a,b"], ","), (["a,b", "c"], None), (["a|b;c"], ";"),
        ([], None),
    ],
)  # fmt: skip
def test_another_delimiter_is_named_where_one_is_seen(header: list[str], found: Any) -> None:
    wanted = None if found is None else f"--delimiter {found!r} parts that"
    assert other_delimiter(header) == wanted


def test_keep_renames_after_an_equals_sign() -> None:
    arguments = argparse.Namespace(keep=["id", "nr=number", "a=b=c", "x="])
    assert kept_names(arguments) == {"id": "id", "nr": "number", "a": "b=c", "x": "x"}
