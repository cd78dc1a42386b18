"""The classification head that is fitted: which scale and which ridge, by another solver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import yosort
from yosort.adoption.heads import fit_classifier
from yosort.adoption.sources import Classifier
from yosort.ops import get_ops

CONFIG = yosort.YosoConfig(hidden_size=6, num_attention_heads=2, hidden_act="gelu")
OPS = get_ops("reference")
SCALES = (0.25, 0.5, 1.0, 2.0)
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def head(rng: np.random.Generator) -> Any:
    dense, bias = rng.standard_normal((6, 6)), rng.standard_normal(6)
    return Classifier("tanh", (dense, bias), (rng.standard_normal((2, 6)), rng.standard_normal(2)))


def inner(theirs: Any, scale: float, x: np.ndarray) -> np.ndarray:
    dense, bias = theirs.dense
    return np.asarray(OPS.linear(x, OPS.linear_map([scale * dense], [scale * bias]), "gelu"))


@pytest.mark.parametrize("scale", SCALES)
def test_scores_of_a_scaled_first_map_are_found_again(
    scale: float, rng: np.random.Generator
) -> None:
    theirs = head(rng)
    x = rng.standard_normal((90, 6)), rng.standard_normal((40, 6))
    first, second = (inner(theirs, scale, rows) @ theirs.out[0].T + theirs.out[1] for rows in x)
    weights, error = fit_classifier(OPS, CONFIG, theirs, x, (first, second))
    np.testing.assert_allclose(weights["classifier.dense.weight"], scale * theirs.dense[0])
    np.testing.assert_allclose(weights["classifier.dense.bias"], scale * theirs.dense[1])
    np.testing.assert_allclose(weights["classifier.out_proj.weight"], theirs.out[0], atol=0.01)
    np.testing.assert_allclose(weights["classifier.out_proj.bias"], theirs.out[1], atol=0.01)
    assert error < 0.001 * second.std()


def test_each_strength_of_the_ridge_is_the_best_amid_some_noise(rng: np.random.Generator) -> None:
    theirs = head(rng)
    x = 0.3 * rng.standard_normal((12, 6)), 0.3 * rng.standard_normal((300, 6))
    noise = rng.standard_normal((12, 2))
    clean, wanted = (inner(theirs, 1.0, rows) @ theirs.out[0].T + theirs.out[1] for rows in x)
    best = set()
    for loud in np.geomspace(0.001, 30, 24):
        target = clean + loud * noise
        errors = {}
        for scale in SCALES:
            hidden, held = (inner(theirs, scale, rows) for rows in x)
            centred = hidden - hidden.mean(axis=0)
            square = centred.T @ centred
            for strength in STRENGTHS:
                floor = strength * np.trace(square) / 6 * np.eye(6)
                out = np.linalg.solve(square + floor, centred.T @ target).T
                found = (held - hidden.mean(axis=0)) @ out.T + target.mean(axis=0)
                errors[strength, scale] = np.sqrt(np.square(found - wanted).mean())
        error = fit_classifier(OPS, CONFIG, theirs, x, (target, wanted))[1]
        assert error == pytest.approx(min(errors.values()), rel=1e-5)
        best.add(min(errors, key=errors.__getitem__)[0])
    assert best == {*STRENGTHS}
