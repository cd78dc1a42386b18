"""Heads: scores of rows, and the one head that YOSO has in another form, fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yosort.adoption.anchors import Doubles
from yosort.adoption.sources import Classifier
from yosort.adoption.texts import Floats
from yosort.config import YosoConfig
from yosort.model.architectures import ANSWER_ENDS, DECODER, TRANSFORM, TRANSFORM_NORM
from yosort.ops.interface import Array, LayerNorm, Ops

#: Scales of the first map that are tried, and strengths of the ridge over the mean square.
_SCALES = (0.25, 0.5, 1.0, 2.0)
_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def score(
    ops: Ops, architecture: str, config: YosoConfig, weights: Mapping[str, Floats], x: Array
) -> Array:
    """Return the scores [rows, outputs] of hidden states [rows, hidden]; of a class with a head.

    The original's and the new model's heads are the same function for all classes but
    YosoForSequenceClassification, whose original is `classify`.
    """

    def linear(name: str, x: Array, activation: str = "linear") -> Array:
        linear_map = ops.linear_map([weights[f"{name}.weight"]], [weights[f"{name}.bias"]])
        return ops.linear(x, linear_map, activation)

    if architecture == "YosoForMaskedLM":
        norm = LayerNorm(
            weights[f"{TRANSFORM_NORM}.weight"],
            weights[f"{TRANSFORM_NORM}.bias"],
            config.layer_norm_eps,
        )
        return linear(DECODER, ops.layer_norm(linear(TRANSFORM, x, config.hidden_act), norm))
    if architecture == "YosoForTokenClassification":
        return linear("classifier", x)
    if architecture == "YosoForQuestionAnswering":
        return linear(ANSWER_ENDS, x)
    return linear("classifier.out_proj", linear("classifier.dense", x, config.hidden_act))


def classify(ops: Ops, classifier: Classifier, x: Array) -> Array:
    """Return the original's scores [texts, labels] of the hidden states of each token 0."""
    (dense, dense_bias), (out, bias) = classifier.dense, classifier.out
    hidden = ops.linear(x, ops.linear_map([dense], [dense_bias]), classifier.activation)
    return ops.linear(hidden, ops.linear_map([out], [bias]))


def fit_classifier(
    ops: Ops,
    config: YosoConfig,
    classifier: Classifier,
    x: tuple[Array, Array],
    wanted: tuple[Array, Array],
) -> tuple[dict[str, Floats], float]:
    """Fit YOSO's head to the scores of the original's, of which only the activation differs.

    The first map is the original's, times one of a few scales; the second is ridge regression.
    Both are chosen on the held-out texts.

    Args:
        ops: the backend.
        config: of the new model.
        classifier: the original's head.
        x: the new model's token 0, [texts, hidden], of the fitted and of the held-out texts.
        wanted: the original's scores [texts, labels] of both.

    Returns:
        The head's weights; and the root mean square of the error of a score on held-out texts.
    """
    dense, dense_bias = classifier.dense
    found: list[tuple[float, float, Doubles, Doubles]] = []
    for scale in _SCALES:
        first = ops.linear_map([dense * np.float32(scale)], [dense_bias * np.float32(scale)])
        hidden, held = (
            np.asarray(ops.linear(rows, first, config.hidden_act), np.float64) for rows in x
        )
        mean, target = hidden.mean(axis=0), np.asarray(wanted[0], np.float64)
        values, vectors = np.linalg.eigh((hidden - mean).T @ (hidden - mean))
        turned = vectors.T @ ((hidden - mean).T @ (target - target.mean(axis=0)))
        for strength in _RIDGES:
            floor = strength * max(float(values.mean()), 1e-30)
            out = (vectors @ (turned / (np.maximum(values, 0) + floor)[:, None])).T
            bias = target.mean(axis=0) - out @ mean
            error = float(np.sqrt(np.square(held @ out.T + bias - wanted[1]).mean()))
            found.append((error, scale, out, bias))
    error, scale, out, bias = min(found, key=lambda one: one[:2])
    weights = {
        "classifier.dense.weight": dense * np.float32(scale),
        "classifier.dense.bias": dense_bias * np.float32(scale),
        "classifier.out_proj.weight": out.astype(np.float32),
        "classifier.out_proj.bias": bias.astype(np.float32),
    }
    return weights, error
