"""Queries and keys whose hash codes agree as often as softmax's weights say.

Softmax weighs a key by exp(q . k / sqrt(head_dim)), YOSO by (1 - acos(cos(q, k)) / pi) ** L: the
lengths of q and k are lost, and the curve is another. With anchored values only the weights'
proportions count. So each head's maps are moved downhill from the original's, along the gradient of
the Kullback-Leibler divergence of YOSO's proportions p from softmax's s. With w = p up to a factor,

    d KL / d log w = p - s,    d log w / d cos = L / ((pi - angle) sin(angle)),

and the rest is the chain rule through cos, the division by lengths, and the two maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yosort.adoption.original import by_head, rows_of, softmax_weights
from yosort.adoption.texts import Floats, Tokens

#: Tokens of a step, and how many a layer's maps are moved by in all.
STEP = 1024
SEEN = 49_152
#: How often it sees a text, at most.
ROUNDS = 4
#: The first step's length, over the root mean square of what moves; later ones get shorter.
RATE = 0.03
#: Cosines beyond are taken for it: the slope there has no end.
_LARGEST = 0.995
#: Decay of the means of the gradient and of its square (Adam, Kingma and Ba 2014).
_MEAN, _SQUARE = 0.9, 0.99


@dataclass(frozen=True)
class Maps:
    """The maps to queries and keys of one layer: weights [hidden, hidden], biases [hidden]."""

    query: Floats
    query_bias: Floats
    key: Floats
    key_bias: Floats

    def arrays(self) -> list[Floats]:
        """Return all four."""
        return [self.query, self.query_bias, self.key, self.key_bias]


@dataclass(frozen=True)
class Example:
    """What the maps are to achieve on some texts.

    Attributes:
        tokens: the texts.
        x: [total, hidden], the new model's input of the layer.
        wanted: of some rows, the original's queries and keys, [rows, hidden] each.
    """

    tokens: Tokens
    x: Floats
    wanted: Callable[[slice], tuple[Floats, Floats]]

    def parts(self) -> list[tuple[slice, int]]:
        """Return rows of texts of one length, `STEP` tokens or one text at once."""
        found = []
        for rows, length in self.tokens.runs():
            size = max(1, STEP // length) * length
            for first in range(rows.start, rows.stop, size):
                found.append((slice(first, min(first + size, rows.stop)), length))
        return found


@dataclass(frozen=True)
class _Weights:
    """What the maps make of some texts: all that the gradient needs.

    Attributes:
        softmax: [texts, heads, n, n], the original's.
        ours: likewise, normalised to sums of 1.
        slope: likewise, of log w over the cosine.
        query: [texts, heads, n, head_dim], divided by its lengths.
        key: likewise.
        query_length: [texts, heads, n, 1].
        key_length: likewise.
    """

    softmax: Floats
    ours: Floats
    slope: Floats
    query: Floats
    key: Floats
    query_length: Floats
    key_length: Floats

    def divergence(self) -> npt.NDArray[np.float64]:
        """Return each head's, summed over the texts and their tokens: [heads]."""
        tiny = np.float32(1e-9)
        logs = np.log(self.softmax + tiny) - np.log(self.ours + tiny)
        return np.asarray((self.softmax * logs).sum(axis=(0, 2, 3), dtype=np.float64))


def match(maps: Maps, fitted: Example, held: Example, *, heads: int, hash_code_len: int) -> Maps:
    """Move the maps; a head for which held-out texts get no nearer keeps its own.

    Args:
        maps: the original's.
        fitted: the texts to learn from.
        held: the texts that judge.
        heads: how many.
        hash_code_len: bits of a hash code, L.
    """
    moved = [array.copy() for array in maps.arrays()]
    scale = [max(float(np.sqrt(np.square(array).mean())), 1e-6) for array in moved]
    scale[1] = scale[3] = max(scale[1], scale[3])  # a bias may be all zeros
    means = [np.zeros_like(array) for array in moved]
    squares = [np.zeros_like(array) for array in moved]
    steps = list(_steps(fitted))
    for number, (rows, length) in enumerate(steps, 1):
        weights = _weigh(Maps(*moved), fitted, rows, length, heads, hash_code_len)
        gradients = _gradients(weights, fitted.x[rows])
        rate = RATE * 0.5 * (1 + math.cos(math.pi * number / len(steps)))
        for i, gradient in enumerate(gradients):
            means[i] += np.float32(1 - _MEAN) * (gradient - means[i])
            squares[i] += np.float32(1 - _SQUARE) * (np.square(gradient) - squares[i])
            spread = np.sqrt(squares[i] / np.float32(1 - _SQUARE**number)) + np.float32(1e-12)
            moved[i] -= np.float32(rate * scale[i] / (1 - _MEAN**number)) * means[i] / spread
    found = Maps(*moved)
    before, after = (_divergence(m, held, heads, hash_code_len) for m in (maps, found))
    better = np.repeat(after < before, len(maps.query) // heads)
    pairs = zip(found.arrays(), maps.arrays(), strict=True)
    return Maps(*(np.where(better if a.ndim == 1 else better[:, None], a, b) for a, b in pairs))


def _steps(example: Example) -> Iterator[tuple[slice, int]]:
    """Yield parts in random order, all of them as often, until `SEEN` tokens were seen."""
    parts, rng, seen = example.parts(), np.random.default_rng(0), 0
    for _ in range(ROUNDS):
        for number in rng.permutation(len(parts)):
            yield parts[number]
            seen += parts[number][0].stop - parts[number][0].start
            if seen >= SEEN:
                return


def _divergence(
    maps: Maps, example: Example, heads: int, hash_code_len: int
) -> npt.NDArray[np.float64]:
    total = np.zeros(heads)
    for rows, length in example.parts():
        total += _weigh(maps, example, rows, length, heads, hash_code_len).divergence()
    return total


def _weigh(
    maps: Maps, example: Example, rows: slice, length: int, heads: int, hash_code_len: int
) -> _Weights:
    x = example.x[rows]
    softmax = softmax_weights(*example.wanted(rows), length, heads)
    query = by_head(x @ maps.query.T + maps.query_bias, length, heads)
    key = by_head(x @ maps.key.T + maps.key_bias, length, heads)
    query_length, key_length = (
        np.linalg.norm(side, axis=-1, keepdims=True) + np.float32(1e-9) for side in (query, key)
    )
    query, key = query / query_length, key / key_length
    cosine = np.clip(query @ key.swapaxes(-1, -2), -_LARGEST, _LARGEST)
    rest = np.float32(math.pi) - np.arccos(cosine)
    slope = np.float32(hash_code_len) / (rest * np.sqrt(1 - cosine * cosine))
    ours = (rest / np.float32(math.pi)) ** hash_code_len
    ours /= ours.sum(axis=-1, keepdims=True)
    return _Weights(softmax, ours, slope, query, key, query_length, key_length)


def _gradients(weights: _Weights, x: Floats) -> list[Floats]:
    """Return the divergence's gradients, a token's mean, in the order of `Maps`."""
    by_cosine = (weights.ours - weights.softmax) * weights.slope / np.float32(len(x))
    found = []
    for unit, length, by_unit in (
        (weights.query, weights.query_length, by_cosine @ weights.key),
        (weights.key, weights.key_length, by_cosine.swapaxes(-1, -2) @ weights.query),
    ):
        # What points along a vector changes its length alone, which does not count.
        along = (unit * by_unit).sum(axis=-1, keepdims=True)
        rows = rows_of((by_unit - unit * along) / length)
        found += [rows.T @ x, rows.sum(axis=0)]
    return found
