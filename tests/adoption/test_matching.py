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


@pytest.mark.parametrize("after", [1.5, 1.0])
def test_a_head_that_gets_no_nearer_keeps_its_own(
    after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the second head of the moved maps were worse, or no better.
    known = iter((np.array([1.0, 1.0]), np.array([0.5, after])))
    monkeypatch.setattr(matching, "_divergence", lambda *_: next(known))
    own = maps(5)
    found = match(own, example(2, 30), example(3, 9), heads=HEADS, hash_code_len=BITS)
    for a, b in zip(found.arrays(), own.arrays(), strict=True):
        assert (a[:WIDTH] != b[:WIDTH]).any()
        np.testing.assert_array_equal(a[WIDTH:], b[WIDTH:])


def test_the_maps_move_by_adam_with_steps_along_half_a_cosine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "STEP", 20)
    known = iter((np.ones(HEADS), np.zeros(HEADS)))  # all heads get nearer
    monkeypatch.setattr(matching, "_divergence", lambda *_: next(known))
    drawn, case = maps(1), example(2, 12)
    # A map that is larger than the other, a bias that is small, and one of zeros.
    zeros = np.zeros_like(drawn.query_bias)
    own = Maps(drawn.query, zeros, 2 * drawn.key, np.float32(0.1) * drawn.key_bias)
    found = match(own, case, case, heads=HEADS, hash_code_len=BITS)
    steps = list(matching._steps(case))
    assert len(steps) > 20
    moved = [array.copy() for array in own.arrays()]
    lengths = [float(np.sqrt(np.square(array).mean())) for array in moved]
    lengths[1] = lengths[3]  # in which a bias of zeros moves as well
    first, second = ([np.zeros_like(array) for array in moved] for _ in range(2))
    for t, (rows, length) in enumerate(steps, 1):
        weights = matching._weigh(Maps(*moved), case, rows, length, HEADS, BITS)
        rate = 0.03 * (1 + np.cos(np.pi * t / len(steps))) / 2
        for i, gradient in enumerate(matching._gradients(weights, case.x[rows])):
            # As Kingma and Ba write it.
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.99 * second[i] + 0.01 * gradient**2
            mean, square = first[i] / (1 - 0.9**t), second[i] / (1 - 0.99**t)
            moved[i] = moved[i] - rate * lengths[i] * mean / np.sqrt(square)
    for a, b, before in zip(found.arrays(), moved, own.arrays(), strict=True):
        np.testing.assert_allclose(a - before, b - before, atol=0.01 * np.abs(b - before).max())


def test_of_rows_that_point_the_same_way_or_opposite_all_numbers_are_finite() -> None:
    """Softmax gives the opposite no weight at all, and hash codes next to none."""
    x = np.random.default_rng(0).standard_normal((1, HIDDEN)).astype(np.float32)
    x = np.concatenate([100 * x, -100 * x])
    eye, zeros = np.eye(HIDDEN, dtype=np.float32), np.zeros(HIDDEN, np.float32)
    case = Example(Tokens.of([np.zeros(2, np.int64)]), x, lambda rows: (x[rows], x[rows]))
    weights = matching._weigh(Maps(eye, zeros, eye, zeros), case, slice(0, 2), 2, HEADS, BITS)
    np.testing.assert_array_equal(weights.softmax, np.broadcast_to(np.eye(2), (1, HEADS, 2, 2)))
    np.testing.assert_allclose(weights.divergence(), 0, atol=1e-5)
    assert all(np.isfinite(gradient).all() for gradient in matching._gradients(weights, x))
