"""The parts of the fit, each against its formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from adoption import folders
from yosort.adoption import fitting, original
from yosort.adoption.anchors import anchor
from yosort.adoption.fitting import Moments, fit, ridge
from yosort.adoption.original import softmax_attention, softmax_weights
from yosort.adoption.sources import Source, read_source
from yosort.adoption.texts import Tokens
from yosort.model.encoder import Encoder, prepare_encoder
from yosort.ops import get_ops

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


def test_an_anchor_is_twice_what_it_stands_beside_and_its_length_is_undone(
    rng: np.random.Generator,
) -> None:
    # Far below 1, so that whatever is added to the length shows.
    context = rng.standard_normal((300, HIDDEN)) * np.geomspace(0.02, 0.2, HIDDEN) + 1
    weight, value_bias = rng.standard_normal((HIDDEN, HIDDEN)), rng.standard_normal(HIDDEN)
    mean, covariance = context.mean(axis=0), np.cov(context.T, bias=True)
    found = anchor(value_bias, weight, np.zeros(HIDDEN), mean, covariance, HEADS)
    for head, direction in enumerate(found.directions):
        part = slice(head * WIDTH, (head + 1) * WIDTH)
        beside = np.sqrt(np.square(context - mean)[:, part].sum(axis=1).mean())
        moved = context[:, part] + (found.value_bias - value_bias)[part]
        np.testing.assert_allclose(moved.mean(axis=0), 2 * beside * direction)
        length = np.sqrt(np.square(moved).sum(axis=1).mean())
        rest = np.eye(WIDTH) - np.outer(direction, direction)
        np.testing.assert_allclose(found.weight[:, part], length * weight[:, part] @ rest)


def test_an_anchor_lies_where_the_projection_makes_least_of_what_is_there() -> None:
    # Of the first direction the projection takes little, and there is much of it.
    weight, covariance = np.diag([0.1, 1.0]), np.diag([100.0, 0.01])
    found = anchor(np.zeros(2), weight, np.zeros(2), np.zeros(2), covariance, 1)
    np.testing.assert_allclose(np.abs(found.directions), [[0, 1]], atol=1e-12)


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


def test_each_strength_of_the_ridge_is_the_best_amid_some_noise(rng: np.random.Generator) -> None:
    begin = start(rng.standard_normal((HIDDEN, HIDDEN)))
    truth = begin.weight + begin.without(rng.standard_normal((HIDDEN, HIDDEN)))
    x, held = rng.standard_normal((60, HIDDEN)) / 50, rng.standard_normal((500, HIDDEN)) / 50
    noise, wanted = rng.standard_normal((60, HIDDEN)) / 50, held @ truth.T
    kept, centred, strengths = moments(held, wanted), begin.without(x - x.mean(axis=0)), set()
    square = centred.T @ centred
    for loud in np.geomspace(0.1, 100, 20):
        y = x @ truth.T + loud * noise
        rest = y - y.mean(axis=0) - centred @ begin.weight.T
        errors = {}
        for strength in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
            floor = strength * np.trace(square) / HIDDEN * np.eye(HIDDEN)
            change = np.linalg.solve(square + floor, centred.T @ rest)
            weight = begin.weight + begin.without(change.T)
            bias = y.mean(axis=0) - weight @ x.mean(axis=0)
            errors[strength] = np.square(wanted - held @ weight.T - bias).sum()
        strengths.add(min(errors, key=errors.__getitem__))
        found = ridge(moments(x, y), kept, begin)[2]
        assert found == pytest.approx(min(errors.values()), rel=1e-4)
    assert strengths == {1e-4, 1e-3, 1e-2, 1e-1, 1.0}


def prepared(folder: Path) -> tuple[Source, Encoder]:
    source = read_source(folders.write(folder))
    return source, prepare_encoder(source.config, source.weights, get_ops("cpu"))


def drawn(seed: int) -> Tokens:
    rng = np.random.default_rng(seed)
    return Tokens.of([rng.integers(5, len(folders.VOCABULARY), n) for n in rng.integers(3, 12, 20)])


def test_held_out_texts_teach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, theirs = prepared(tmp_path)
    config = replace(source.config, hash_code_len=9)
    # What they choose: which heads are matched, and the ridge.
    monkeypatch.setattr(fitting, "match", lambda maps, *_, **__: maps)
    monkeypatch.setattr(fitting, "RIDGES", (1e-2,))
    one, two = (fit(theirs, source.weights, config, drawn(0), drawn(seed)) for seed in (1, 2))
    assert one[1] != two[1]
    for name, weight in one[0].items():
        np.testing.assert_array_equal(two[0][name], weight, err_msg=name)


def test_all_but_attention_is_copied(tmp_path: Path) -> None:
    source, theirs = prepared(tmp_path)
    before = {name: weight.copy() for name, weight in source.weights.items()}
    config = replace(source.config, hash_code_len=9)
    weights, _ = fit(theirs, source.weights, config, drawn(0), drawn(1))
    fitted = ("self.query.weight", "self.query.bias", "self.key.weight", "self.key.bias",
              "self.value.bias", "output.dense.weight", "output.dense.bias")  # fmt: skip
    changed = {name for name, weight in weights.items() if (weight != before[name]).any()}
    assert changed == {
        f"yoso.encoder.layer.{i}.attention.{name}" for i in (0, 1) for name in fitted
    }
    for name, weight in before.items():
        np.testing.assert_array_equal(source.weights[name], weight)


def test_a_layer_s_anchors_stand_beside_the_original_s_context(tmp_path: Path) -> None:
    source, theirs = prepared(tmp_path)
    config, texts = replace(source.config, hash_code_len=9), drawn(0)
    weights, _ = fit(theirs, source.weights, config, texts, drawn(1))
    x = original.embed(theirs, texts)
    context = original.context_of(theirs.ops, theirs.layers[0], x, texts, 4)
    name = "yoso.encoder.layer.0.attention.self.value.bias"
    away = weights[name] - source.weights[name] + context.mean(axis=0)
    beside = np.square(context - context.mean(axis=0)).mean(axis=0).reshape(4, 8).sum(axis=1)
    lengths = np.linalg.norm(away.reshape(4, 8), axis=1)
    np.testing.assert_allclose(lengths, 2 * np.sqrt(beside), rtol=1e-4)


def test_the_error_of_a_layer_is_that_of_its_output_on_held_out_texts(tmp_path: Path) -> None:
    texts = folders.texts(40)
    source = folders.write(tmp_path / "bert")
    found = yosort.adopt(source, tmp_path / "yoso", texts, hash_code_len=9, positions=40)
    read, model = read_source(source), yosort.load(tmp_path / "yoso")
    encoder = prepare_encoder(read.config, read.weights, get_ops("reference"))
    assert model.tokenizer is not None
    off, length = np.zeros(2), np.zeros(2)
    for text in texts[::5]:
        ids = np.array(model.tokenizer(text)["input_ids"])
        tokens = Tokens.of([ids])
        x = original.embed(encoder, tokens)
        hidden = model(ids[None], output_hidden_states=True).hidden_states
        for i, layer in enumerate(encoder.layers):
            context = original.context_of(encoder.ops, layer, x, tokens, 4)
            x = layer.finish(encoder.ops, context, x)
            off[i] += np.square(hidden[i + 1][0] - x).sum()
            length[i] += np.square(x).sum()
    assert found.layers == pytest.approx(np.sqrt(off / length), rel=1e-3)
