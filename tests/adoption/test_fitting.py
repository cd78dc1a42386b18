"""The parts of the fit, each against its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from yosort.adoption import fitting
from yosort.adoption.anchors import anchor
from yosort.adoption.fitting import Moments, ridge
from yosort.adoption.original import softmax_attention, softmax_weights
from yosort.adoption.texts import Tokens

HEADS, WIDTH = 2, 5
HIDDEN = HEADS * WIDTH


def normalised(rows: np.ndarray) -> np.ndarray:
    parts = rows.reshape(len(rows), HEADS, WIDTH)
    return (parts / np.linalg.norm(parts, axis=2, keepdims=True)).reshape(rows.shape)


def test_softmax_attention_is_its_formula_within_each_text(rng: np.random.Generator) -> None:
    tokens = Tokens.of([np.arange(n) for n in (3, 1, 4, 3)])
    assert tokens.lengths.tolist() == [1, 3, 3, 4]
    query, key, value = rng.standard_normal((3, 11, HIDDEN))
    wanted = np.zeros((11, HIDDEN))
    for begin, end in ((0, 1), (1, 4), (4, 7), (7, 11)):
        for part in (slice(0, 5), slice(5, 10)):
            for i in range(begin, end):
                weights = np.exp(key[begin:end, part] @ query[i, part] / np.sqrt(5))
                wanted[i, part] = weights @ value[begin:end, part] / weights.sum()
    found = softmax_attention(query, key, value, tokens, HEADS)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_scores_beyond_what_exp_takes_still_weigh() -> None:
    query = np.eye(5)[[0, 1, 2]].repeat(HEADS, 0).reshape(3, HIDDEN).astype(np.float32)
    found = softmax_weights(3000 * query, query, 3, HEADS)
    np.testing.assert_array_equal(found, np.broadcast_to(np.eye(3), (1, HEADS, 3, 3)))
    even = softmax_weights(np.full_like(query, 1e4), np.ones_like(query), 3, HEADS)
    np.testing.assert_allclose(even, np.full((1, HEADS, 3, 3), 1 / 3), rtol=1e-6)


def test_positions_count_from_two_in_each_text() -> None:
    assert Tokens.of([np.arange(3), np.arange(2)]).positions.tolist() == [2, 3, 2, 3, 4]


def test_batches_hold_whole_texts() -> None:
    tokens = Tokens.of([np.full(n, n) for n in (4000, 90, 5000, 7)])
    batches = list(tokens.batches())
    assert [batch.lengths.tolist() for _, batch in batches] == [[7, 90], [4000], [5000]]
    for rows, batch in batches:
        np.testing.assert_array_equal(tokens.ids[rows], batch.ids)


def test_anchored_rows_keep_their_length_but_for_one_direction(rng: np.random.Generator) -> None:
    context = rng.standard_normal((400, HIDDEN)) @ rng.standard_normal((HIDDEN, HIDDEN)) + 3
    weight, bias = rng.standard_normal((HIDDEN, HIDDEN)), rng.standard_normal(HIDDEN)
    # One direction of each head says nothing: it is the one to spend.
    for part in (slice(0, 5), slice(5, 10)):
        idle = rng.standard_normal(WIDTH)
        weight[:, part] -= np.outer(weight[:, part] @ idle, idle) / (idle @ idle)
    mean, covariance = context.mean(axis=0), np.cov(context.T, bias=True)
    found = anchor(np.zeros(HIDDEN), weight, bias, mean, covariance, HEADS, length=300.0)
    wanted = context @ weight.T + bias
    # Any positive weights: their sum is lost by the normalisation, and nothing else.
    sums = rng.uniform(0.1, 9, (400, 1)) * (context + found.value_bias)
    answer = normalised(sums) @ found.weight.T + found.bias
    spread = wanted.std()
    assert np.abs(answer - wanted).max() < 0.05 * spread
    # Without an anchor it is lost.
    plain = normalised(context) @ weight.T
    assert np.abs((plain - plain.mean(axis=0)) - (wanted - wanted.mean(axis=0))).max() > spread
    # Where no code agrees a head says its mean.
    np.testing.assert_allclose(found.bias, mean @ weight.T + bias)


def start(weight: np.ndarray) -> Any:
    eye = np.eye(HIDDEN)
    return anchor(np.zeros(HIDDEN), weight, np.zeros(HIDDEN), np.zeros(HIDDEN), eye, HEADS)


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    found = Moments.zero(x.shape[1], y.shape[1])
    found.add(x[:70], y[:70])
    found.add(x[70:], y[70:])
    return found


def test_the_error_of_moments_is_that_of_the_rows(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((100, HIDDEN)), rng.standard_normal((100, 3))
    weight, bias = rng.standard_normal((3, HIDDEN)), rng.standard_normal(3)
    wanted = np.square(y - x @ weight.T - bias).sum()
    assert moments(x, y).error(weight, bias) == pytest.approx(wanted, rel=1e-10)


def test_ridge_finds_a_map_and_reads_nothing_along_the_anchors(rng: np.random.Generator) -> None:
    begin = start(rng.standard_normal((HIDDEN, HIDDEN)))
    truth = begin.without(rng.standard_normal((HIDDEN, HIDDEN)))
    x = rng.standard_normal((600, HIDDEN))
    y = x @ truth.T + np.arange(HIDDEN)
    weight, bias, error = ridge(moments(x[:500], y[:500]), moments(x[500:], y[500:]), begin)
    np.testing.assert_allclose(weight, truth, atol=2e-3)
    np.testing.assert_allclose(bias, np.arange(HIDDEN), atol=2e-3)
    assert error == pytest.approx(np.square(y[500:] - x[500:] @ weight.T - bias).sum(), rel=1e-6)
    for head, direction in enumerate(begin.directions):
        part = slice(head * WIDTH, (head + 1) * WIDTH)
        np.testing.assert_allclose(weight[:, part] @ direction, 0, atol=1e-12)


def test_the_ridge_is_the_best_on_held_out_rows(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    begin = start(rng.standard_normal((HIDDEN, HIDDEN)))
    x, noise = rng.standard_normal((12, HIDDEN)), rng.standard_normal((12, HIDDEN))
    held = rng.standard_normal((2000, HIDDEN))
    fitted = moments(x, x @ begin.weight.T + 3 * noise)
    kept = moments(held, held @ begin.weight.T)
    chosen = ridge(fitted, kept, begin)[2]
    alone = []
    for strength in fitting.RIDGES:
        monkeypatch.setattr(fitting, "RIDGES", (strength,))
        alone.append(ridge(fitted, kept, begin)[2])
    assert chosen == min(alone) < alone[0] / 2
