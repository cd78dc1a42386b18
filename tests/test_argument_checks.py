"""What arguments must be, check by check: the last value that passes, the first that does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from yosort import CheckpointError, ConfigError, InputError
from yosort import arguments as checks


class Pooling(str, Enum):
    """An enumeration as transformers has them."""

    MEAN = "Mean"


def is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Whether a call raises just this error, with just this message."""
    with pytest.raises(error) as caught:
        call()
    assert (type(caught.value), str(caught.value)) == (error, message)


@pytest.mark.parametrize("least", [-1, 0, 1, 7])
def test_a_count(least: int) -> None:
    for good in (least, least + 1, np.int64(least)):
        found = checks.check_count("k", good, least=least)
        assert (found, type(found)) == (good, int)
    for bad in (least - 1, float(least), True, None, str(least)):
        message = f"k: wanted an integer of at least {least}, got {bad!r}"
        for error in (InputError, ConfigError):
            is_refused(
                partial(checks.check_count, "k", bad, least=least, error=error), error, message
            )


def test_a_count_is_at_least_one() -> None:
    assert checks.check_count("k", 1) == 1
    is_refused(lambda: checks.check_count("k", 0), InputError, "k: wanted an integer of at least "
               "1, got 0")  # fmt: skip


def test_a_flag() -> None:
    for good in (True, False, np.True_, np.False_):
        assert checks.check_flag("f", good) is bool(good)
        assert checks.check_flag("f", good, unset=not good) is bool(good)
    for unset in (True, False):
        assert checks.check_flag("f", None, unset=unset) is unset
    for bad in (None, 0, 1, "no", []):
        message = f"f: wanted True or False, got {bad!r}"
        is_refused(lambda v=bad: checks.check_flag("f", v, ConfigError), ConfigError, message)


@pytest.mark.parametrize(
    ("value", "wanted"), [("mean", "mean"), ("MEAN", "mean"), (Pooling.MEAN, "mean")]
)
def test_a_choice(value: Any, wanted: str) -> None:
    found = checks.check_choice("c", value, ("mean", "cls"))
    assert (found, type(found)) == (wanted, str)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("men", "'men'; did you mean mean?"), ("MEAM", "'MEAM'; did you mean mean?"),
        ("cla", "'cla'"), ("", "''"), (None, "None"), (3, "3"), (["mean"], "['mean']"),
    ],
)  # fmt: skip
def test_a_choice_that_is_none(value: Any, got: str) -> None:
    message = f"c: wanted one of mean, cls, got {got}"
    is_refused(lambda: checks.check_choice("c", value, ("mean", "cls")), InputError, message)


@pytest.mark.parametrize(
    ("name", "known", "hint", "said"),
    [
        ("topk", ("top_k", "seed"), None, "did you mean top_k?"),
        ("zzz", ("top_k", "seed", "seed"), None, "there are seed, top_k"),
        ("zzz", (), None, "there are none"), ("topk", ("top_k",), "leave it out", "leave it out"),
    ],
)  # fmt: skip
def test_an_option_that_is_none(
    name: str, known: tuple[str, ...], hint: str | None, said: str
) -> None:
    error = checks.no_such_option(name, known, ConfigError, hint)
    assert (type(error), str(error)) == (ConfigError, f"{name}: no such option; {said}")


@checks.with_names(ConfigError, {"old": "write new", "use_fast": "there is one"}, theirs="ours")
def call(ours: Any, other: Any = 2, *, last: Any = 3) -> Any:
    """Take what there is, by two names."""
    return ours, other, last


@checks.checks_calls(ConfigError)
class Calls:
    """Calls of every shape."""

    def __call__(self, one: Any, two: Any) -> Any:
        return one, two

    def one(self, only: Any) -> Any:
        return only

    def none(self) -> Any:
        return self

    def named(self, *, only: Any) -> Any:
        return only

    def rest(self, first: Any, *others: Any, **options: Any) -> Any:
        return first, others, options


def test_keywords_by_either_name() -> None:
    wanted = (1, 2, 3)
    for options in ({"ours": 1}, {"theirs": 1}, {"ours": 1, "theirs": None}):
        assert call(**options) == wanted
    for unset in ({"old": None}, {"old": False}, {"old": ""}, {"use_fast": True}):
        assert call(1, **unset) == wanted
    assert call(1, 5, last=6) == (1, 5, 6)
    assert Calls().rest(1, 2, 3, four=5) == (1, (2, 3), {"four": 5})


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {"ours": 1, "theirs": 2}, "theirs: wanted ours or theirs, got both"),
        ((1,), {"old": True}, "old: no such option; write new"),
        ((1,), {"use_fast": False}, "use_fast: no such option; there is one"),
        ((1,), {"lst": 4}, "lst: no such option; did you mean last?"),
        ((), {}, "call: wanted ours, got nothing"), ((1,), {"ours": 1}, "call: ours: wanted once, "
                                                     "got twice"),
        ((1,), {"theirs": 1}, "call: ours: wanted once, got twice"),
        ((1, 2, 3), {}, "call: wanted at most 2 arguments without a name (ours, other), got 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_call(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    is_refused(lambda: call(*arguments, **options), ConfigError, message)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("__call__", (), "wanted one and two, got nothing"),
        ("__call__", (1,), "wanted two, got nothing"),
        ("__call__", (1, 2, 3), "wanted at most 2 arguments without a name (one, two), got 3"),
        ("one", (1, 2), "one: wanted at most 1 argument without a name (only), got 2"),
        ("none", (1,), "none: wanted at most 0 arguments without a name, got 1"),
        ("named", (), "named: wanted only, got nothing"),
        ("rest", (), "rest: wanted first, got nothing"),
    ],
)
def test_what_does_not_fit_a_method(name: str, arguments: tuple[Any, ...], message: str) -> None:
    is_refused(lambda: getattr(Calls(), name)(*arguments), ConfigError, message)


def test_options_that_are_not_set_and_those_that_change_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = {"a": None, "use_fast": True, "attn_implementation": "eager", "b": 3}
    instead = {"a": "x", "use_fast": "x", "attn_implementation": "x", "c": "x"}
    assert checks.drop_unset(given, instead, ConfigError) == {"b": 3}
    for name, value in (("a", 0), ("a", "x"), ("use_fast", False), ("attn_implementation", "sdpa")):
        message = f"{name}: no such option; x"
        is_refused(
            lambda n=name, v=value: checks.drop_unset({n: v}, instead, ConfigError),
            ConfigError,
            message,
        )
    checks._say_idle.cache_clear()
    idle = {"a": "", "b": "it is so", "c": "it is so"}
    with caplog.at_level(logging.WARNING, "yosort"):
        for _ in range(2):
            assert checks.drop_idle({"a": 1, "b": None, "c": 2, "d": 3}, idle) == {"d": 3}
    assert [r.getMessage() for r in caplog.records] == ["c=2 changes nothing: it is so"]


PAIR, TEXT = ("question", "context"), ("text",)


@pytest.mark.parametrize(
    ("value", "needed", "optional", "found"),
    [
        ({"question": 1, "context": 2, "id": 3}, PAIR, (), {"question": 1, "context": 2}),
        ({"context": 2, "question": 1}, PAIR, (), {"question": 1, "context": 2}),
        ({"question": 1}, PAIR, (), None), ({}, PAIR, (), None),
        ({"questions": 1, "context": 2}, PAIR, (), None),
        ({"question": 1, "context": 2, "questions": 3}, PAIR, (), {"question": 1, "context": 2}),
        ({"text": 1}, TEXT, ("text_pair",), {"text": 1}),
        ({"text": 1, "text_pair": 2}, TEXT, ("text_pair",), {"text": 1, "text_pair": 2}),
        ({"text": 1, "textpair": 2}, TEXT, ("text_pair",), None),
        ({"text": 1, 3: 2}, TEXT, ("text_pair",), {"text": 1}),
        ({"text_pair": 1}, TEXT, ("text_pair",), None),
    ],
)  # fmt: skip
def test_fields_of_an_input(
    value: Any, needed: tuple[str, ...], optional: tuple[str, ...], found: Any
) -> None:
    assert checks.pick_fields(value, needed, optional) == found


def test_inputs_or_what_they_are_made_of() -> None:
    assert checks.inputs_or_fields(None, one=1, two=2) == {"one": 1, "two": 2}
    assert checks.inputs_or_fields("x", one=None, two=None) == "x"
    for fields in ({"one": None, "two": 2}, {"one": None, "two": None}):
        is_refused(
            lambda f=fields: checks.inputs_or_fields(None, **f),
            InputError,
            "wanted one and two, or inputs",
        )
    for fields in ({"one": None, "two": 2}, {"one": 1, "two": 2}):
        is_refused(
            lambda f=fields: checks.inputs_or_fields("x", **f),
            InputError,
            "wanted inputs, or one and two, got both",
        )


def test_several() -> None:
    for good in (["a", "b"], ("a", "b"), iter("ab"), {"a": 1, "b": 2}.keys()):
        assert checks.check_several("s", good) == ["a", "b"]
    for bad in ("ab", b"ab", {"a": 1}, 3, None):
        message = f"s: wanted several words, such as a list, got {bad!r}"
        is_refused(lambda v=bad: checks.check_several("s", v, "words"), InputError, message)
    is_refused(lambda: checks.check_several("s", 3), InputError, "s: wanted several values, such "
               "as a list, got 3")  # fmt: skip


class Items:
    """A data set as torch has them: by number, and without an end of its own."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> str:
        return "abc"[i]


def test_inputs() -> None:
    def generated() -> Iterator[str]:
        yield from "ab"

    for good in (["a", "b"], ("a", "b"), generated(), Items(), {"a": 1, "b": 2}):
        assert list(checks.check_inputs(good)) == ["a", "b"]
    table = SimpleNamespace(columns=["text"])
    for bad, hint in (
        (b"ab", "; decode it: text = data.decode()"), (bytearray(b"a"), "; decode it: text = da"),
        (memoryview(b"a"), "; decode it"), ({"a"}, ", which has no order to answer in; sorted(..."),
        (frozenset("a"), ", which has no order"), (table, "; name the column that holds the texts"),
        (3, ""), (None, ""),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            checks.check_inputs(bad)
        kind = type(bad).__name__
        wanted = f"inputs: wanted one input or an iterable of them, got {kind}{hint}"
        assert str(caught.value).startswith(wanted)
        assert hint or str(caught.value) == wanted


def test_rows_and_texts() -> None:
    assert [checks.is_row(v) for v in (np.zeros(3), np.zeros((1, 3)), np.zeros(()), [1])] == [
        True, False, False, False
    ]  # fmt: skip
    values: list[Any] = [["a", "b"], ("a",), [], "ab", ["a", 1], {"a": 1}, None]
    assert [checks.are_texts(value) for value in values] == [True] * 3 + [False] * 4


def test_a_path() -> None:
    for good in ("a/b", Path("a/b")):
        assert checks.check_path("p", good) == Path("a/b")
    for bad in ("", "a\0b", 3, None):
        message = f"p: wanted a path, got {bad!r}"
        is_refused(lambda v=bad: checks.check_path("p", v), CheckpointError, message)
        is_refused(lambda v=bad: checks.check_path("p", v, ConfigError), ConfigError, message)
