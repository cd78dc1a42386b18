"""Scores as probabilities; those of several draws: their mean, and how well it is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_count
from yosort.errors import ConfigError
from yosort.model.base import PretrainedModel

Floats = npt.NDArray[np.float64]


def softmax(scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the softmax over the last axis, in float64."""
    scores = np.asarray(scores, np.float64)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def describe(samples: Floats) -> dict[str, float]:
    """Return `score`, the mean of a score over draws [k], and its `standard_error` where k > 1.

    The standard error is s / sqrt(k), with s the standard deviation (k - 1 in the divisor). It
    measures what the choice of hash functions leaves open, and nothing else: neither the fast
    hash's bias, nor whether the model is right.
    """
    return describe_each(samples[:, None])[0]


def describe_each(samples: Floats) -> list[dict[str, float]]:
    """Return what `describe` says of each column of draws [k, n]; thousands at once cost little."""
    scores = [{"score": score} for score in samples.mean(axis=0).tolist()]
    if len(samples) > 1:
        errors = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
        errors[(samples == samples[0]).all(axis=0)] = 0.0  # whatever the mean rounds to
        for score, error in zip(scores, errors.tolist(), strict=True):
            score["standard_error"] = error
    return scores


def without_zero_errors(result: Any) -> Any:
    """Return the result of a sampled text without the standard errors that are 0.

    Draws agree to the bit where hardly a key shares a bucket with a query in any of them: then they
    all leave out the same, and know nothing of what that is. No collision among n hash functions
    leaves a chance of one of up to 3 / n a function (the rule of three, at 95%), which many keys
    together make much of. So the error is unknown, not 0.
    """
    if isinstance(result, list):
        return [without_zero_errors(part) for part in result]
    if isinstance(result, dict) and result.get("standard_error") == 0.0:
        return {name: value for name, value in result.items() if name != "standard_error"}
    return result


def draw_seeds(model: PretrainedModel, samples: Any, *, has_scores: bool) -> range | None:
    """Return the seeds of `samples` draws: the model's and those that follow; None for one draw.

    Raises:
        ConfigError: not a count, or several draws of what has no randomness or no scores.
    """
    samples = check_count("samples", samples, error=ConfigError)
    if samples == 1:
        return None
    if not has_scores:
        raise ConfigError(f"samples: wanted 1 for a task without scores, got {samples}")
    if model.attention == "expectation":
        raise ConfigError(
            f'samples: wanted 1 for attention="expectation", which draws nothing, got {samples}; '
            'load the model with attention="sampled" or attention="auto"'
        )
    return range(model.seed, model.seed + samples)
