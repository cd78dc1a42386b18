"""Queries and keys that are matched: the gradient against differences, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from yosort.adoption import matching
from yosort.adoption.matching import Example, Maps, match
from yosort.adoption.texts import Tokens
from yosort.ops.definitions import collision_probability, l2_normalize

HEADS, WIDTH, BITS = 2, 6, 7
HIDDEN = HEADS * WIDTH


def maps(seed: int, dtype: Any = np.float32) -> Maps:
    rng = np.random.default_rng(seed)
    shapes = ((HIDDEN, HIDDEN), (HIDDEN,)) * 2
    return Maps(*(rng.standard_normal(shape).astype(dtype) * dtype(0.5) for shape in shapes))


def example(seed: int, texts: int, dtype: Any = np.float32) -> Example:
    rng = np.random.default_rng(seed)
    tokens = Tokens.of([np.zeros(n, np.int64) for n in rng.integers(2, 9, texts)])
    x = rng.standard_normal((len(tokens.ids), HIDDEN)).astype(dtype)
    theirs = maps(5, dtype)

    def wanted(rows: slice) -> tuple[Any, Any]:
        return (
            x[rows] @ theirs.query.T + theirs.query_bias,
            x[rows] @ theirs.key.T + theirs.key_bias,
        )

    return Example(tokens, x, wanted)


def divergence(own: Maps, case: Example) -> np.ndarray:
    """Return each head's mean divergence by the formulas, one text after the other."""
    found = np.zeros(HEADS)
    for begin, end in zip(case.tokens.offsets[:-1], case.tokens.offsets[1:], strict=True):
        x = case.x[begin:end]
        sides = case.wanted(slice(begin, end))
        mine = (x @ own.query.T + own.query_bias, x @ own.key.T + own.key_bias)
        for head in range(HEADS):
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            scores = np.exp(sides[0][:, part] @ sides[1][:, part].T / np.sqrt(WIDTH))
            softmax = scores / scores.sum(axis=1, keepdims=True)
            q, k = (l2_normalize(side[:, part]) for side in mine)
            ours = collision_probability(q @ k.T, BITS)
            ours /= ours.sum(axis=1, keepdims=True)
            found[head] += (softmax * np.log(softmax / ours)).sum()
    return found / len(case.x)


def test_the_gradient_is_that_of_the_formulas() -> None:
    own, case = maps(1, np.float64), example(2, 1, np.float64)
    rows, length = case.parts()[0]
    weights = matching._weigh(own, case, rows, length, HEADS, BITS)
    assert np.abs(weights.query @ weights.key.swapaxes(-1, -2)).max() < 0.99
    np.testing.assert_allclose(weights.divergence() / len(case.x), divergence(own, case), rtol=1e-4)
    gradients = matching._gradients(weights, case.x)
    rng = np.random.default_rng(3)
    for number, gradient in enumerate(gradients):
        assert np.abs(gradient).max() > 1e-3
        for _ in range(4):
            at = tuple(int(rng.integers(n)) for n in gradient.shape)
            values = []
            for step in (1e-5, -1e-5):
                arrays = [array.copy() for array in own.arrays()]
                arrays[number][at] += step
                values.append(divergence(Maps(*arrays), case).sum())
            wanted = (values[0] - values[1]) / 2e-5
            assert gradient[at] == pytest.approx(wanted, rel=1e-4, abs=1e-7)


def test_matching_brings_new_texts_nearer() -> None:
    # The original's own maps are where it begins.
    found = match(maps(5), example(2, 3000), example(3, 60), heads=HEADS, hash_code_len=BITS)
    new = example(4, 60)
    assert (divergence(found, new) < 0.75 * divergence(maps(5), new)).all()
    assert found.query.dtype == found.key_bias.dtype == np.float32


def test_a_head_that_gets_no_nearer_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the second head of the moved maps were worse.
    known = iter((np.array([1.0, 1.0]), np.array([0.5, 1.5])))
    monkeypatch.setattr(matching, "_divergence", lambda *_: next(known))
    own = maps(5)
    found = match(own, example(2, 30), example(3, 9), heads=HEADS, hash_code_len=BITS)
    for a, b in zip(found.arrays(), own.arrays(), strict=True):
        assert (a[:WIDTH] != b[:WIDTH]).any()
        np.testing.assert_array_equal(a[WIDTH:], b[WIDTH:])
