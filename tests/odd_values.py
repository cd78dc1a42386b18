"""What a call may be given by mistake or on purpose, for the tests of arguments.

`odd(good)` draws a value in the place of `good`: something near it (of another dtype, rank, size or
range), or anything at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

#: Numbers at the edges of types, and what is none.
NUMBERS: list[Any] = [
    0, 1, -1, 2, 3, 17, 2**31, -(2**31) - 1, 2**63, -(2**63) - 1, 2**70, 10**400, True, False,
    0.0, -0.0, 0.5, 1.0, 1.5, 1e300, -1e300, math.nan, math.inf, -math.inf, 1j,
    np.int8(-128), np.int64(2), np.uint64(2**63), np.float32(0.5), np.float64("nan"),
    np.bool_(True), np.datetime64("2020-01-01"), Decimal("NaN"), Fraction(1, 3),
]  # fmt: skip
TEXTS = [
    "", " ", "a", "a b", "<mask>", "<s></s>", "cpu", "auto", "int8", "sampled", "auto:3", "none",
    "\0", "a\0b", "\ud800", "a\udfff", "\udcff", "\u202e", "\U0001f600", "\n", "a" * 300,
    "a " * 300, "../x", "/dev/null", "1", "-1", "nan", "None",
]  # fmt: skip


class Stubborn:
    """Lends itself to nothing: not a number, not a truth value, not iterable."""

    def __bool__(self) -> bool:
        raise TypeError("no truth value")


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(3000):
        nested = [nested]
    return nested


def _endless() -> list[Any]:
    values: list[Any] = [1]
    values.append(values)
    return values


#: Made anew each time: some can be read only once.
OBJECTS: list[Callable[[], Any]] = [
    lambda: None, object, Stubborn, _deep, _endless, dict, list, tuple, set, lambda: ...,
    lambda: [[]], lambda: [[], []], lambda: [1, [2]], lambda: [[1, 2], [3]], lambda: [[1], None],
    lambda: [None], lambda: ["a", None], lambda: ["a", 1], lambda: [["a"]], lambda: [{}],
    lambda: ["a", "b c"], lambda: ["\ud800"], lambda: [""], lambda: {"a": 1},
    lambda: {1: 2, "x": 3}, lambda: {None: None}, lambda: {"text": None},
    lambda: iter([]), lambda: iter([1, "a"]),
    lambda: range(3), lambda: (x for x in ("a", object())), lambda: b"bytes", lambda: bytearray(3),
    lambda: memoryview(b"abc"), lambda: len, lambda: int, lambda: ValueError("x"),
    lambda: Path("nowhere"), lambda: slice(3), lambda: np.dtype("f4"), lambda: np.float32,
    lambda: np.ma.masked_array([[1, 2], [3, 4]], [[0, 1], [0, 0]]),
]  # fmt: skip
DTYPES = [
    "i1", "i2", "i8", "u8", "f2", "f4", "f8", "?", "c16", "O", "U1", "S1", "M8[s]", ">i8", ">f4",
    [("a", "i4")],
]  # fmt: skip
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)


def anything() -> st.SearchStrategy[Any]:
    """Draw a value of any kind."""
    return st.one_of(
        st.sampled_from(NUMBERS),
        st.sampled_from(TEXTS),
        st.sampled_from(OBJECTS).map(lambda make: make()),
        st.builds(lambda d, s: np.ones(s, np.dtype(d)), st.sampled_from(DTYPES[:-1]), SHAPES),
        st.sampled_from([np.array(np.nan), np.zeros(2, np.dtype(DTYPES[-1])), np.array([[2**63]])]),
    )


#: Copies of an array that differ in one way. Some fail on some arrays: those are not drawn.
_DAMAGE: list[Callable[[Any], Any]] = [
    *(lambda a, d=dtype: a.astype(d) for dtype in DTYPES[:-1]),
    lambda a: -a,
    lambda a: a + 1,
    lambda a: a * 1000,
    lambda a: a.astype(float) * 1e300,
    lambda a: a.astype(np.float32) * np.float32(1e30),
    lambda a: a * np.nan,
    lambda a: a / 0.0,
    lambda a: np.where(np.arange(a.size).reshape(a.shape) == a.size - 1, np.nan, a),
    lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, -(2**40), a),
    lambda a: np.zeros_like(a),
    lambda a: a[None],
    lambda a: a[..., None],
    lambda a: a[0],
    lambda a: a[:0],
    lambda a: a[:1],
    lambda a: a[..., :0],
    lambda a: a[..., :1],
    lambda a: a[..., ::-1],
    lambda a: a.T,
    lambda a: np.concatenate([a, a]),
    lambda a: np.repeat(a, 7, axis=-1),
    lambda a: np.asfortranarray(a),
    lambda a: np.broadcast_to(a[:1], a.shape),
    lambda a: np.ma.masked_array(a, np.ones(a.shape, bool)),
    lambda a: a.tolist(),
    lambda a: [*a.tolist()[:-1], a.tolist()[-1][:-1]],
    lambda a: [a.tolist(), None],
    lambda a: {"a": a},
    lambda a: memoryview(np.ascontiguousarray(a)),
]


def near(good: Any) -> st.SearchStrategy[Any]:
    """Draw a value that resembles `good`."""
    if isinstance(good, np.ndarray):
        return st.sampled_from(range(len(_DAMAGE))).map(lambda i: _damaged(_DAMAGE[i], good))
    if isinstance(good, bool) or good is None:
        return st.sampled_from([None, True, False, 0, 1, 2, "true", "False", np.bool_(False)])
    if isinstance(good, int):
        changed = [good + 1, good - 1, -good, float(good), str(good), [good], np.int32(good)]
        return st.sampled_from([*changed, [good, good + 1], [], np.array([good]), (good, -1)])
    if isinstance(good, str):
        texts = [good.upper(), good + " ", good + "\0", good + "\ud800", good * 50, [good], (good,)]
        return st.sampled_from([*texts, [good, good], [[good]], {good}, {good: good}, iter([good])])
    if isinstance(good, dict) and good:
        return st.sampled_from(sorted(good)).flatmap(
            lambda key: st.one_of(
                st.just({k: v for k, v in good.items() if k != key}),
                st.just({**good, "more": 1}),
                st.just({**good, 3: 1}),
                odd(good[key]).map(lambda value: {**good, key: value}),
                odd(good[key]).map(lambda value: [good, {**good, key: value}]),
            )
        )
    if isinstance(good, list) and good:
        return st.one_of(
            st.sampled_from(
                [good * 2, tuple(good), [good], iter(good), good[:1], set(map(str, good))]
            ),
            odd(good[0]).map(lambda value: [*good, value]),
        )
    return st.just(good)


def _damaged(damage: Callable[[Any], Any], array: Any) -> Any:
    with np.errstate(all="ignore"):
        try:
            return damage(array)
        except (TypeError, ValueError, IndexError, OverflowError):
            return array


def odd(good: Any) -> st.SearchStrategy[Any]:
    """Draw a value in the place of `good`."""
    return near(good) | anything()
