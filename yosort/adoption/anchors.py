"""Anchors: what keeps the length of a head's answer through YOSO's normalisation.

Softmax's weights sum to 1, so a head answers u, a weighted mean of values. YOSO's weights sum to
some number s, and each head's row is divided by its length: of s u only the direction is left,
and how strongly a head speaks is lost.

The value map has a bias, free to be chosen: with v' = v - m + a e (m the mean of u, e a unit
vector, a a length) the sum is s (u - m + a e), and its direction tells u - m in full, but for what
lies along e: for a well above |u - m|, the row is about e + (u - m) / a. The factor a goes into the
output projection. So one of a head's dimensions is spent; e is the one that the output projection
makes least of. The projection reads nothing along e: where no hash code agrees, and the row is
zero, the head says m, not nonsense.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

#: The anchor's length over the root mean square of |u - m|.
LENGTH = 2.0


@dataclass(frozen=True)
class Anchored:
    """One layer's value bias and output projection, before the fit.

    Attributes:
        value_bias: [hidden].
        weight: [hidden, hidden], of the output projection.
        bias: [hidden].
        directions: [heads, head_dim], each head's e.
    """

    value_bias: Doubles
    weight: Doubles
    bias: Doubles
    directions: Doubles

    def without(self, matrix: Doubles) -> Doubles:
        """Return a matrix [rows, hidden] less its part along each head's anchor."""
        heads, width = self.directions.shape
        parts = matrix.reshape(len(matrix), heads, width)
        along = np.einsum("rhd,hd->rh", parts, self.directions)
        rest: Doubles = parts - along[:, :, None] * self.directions
        return rest.reshape(matrix.shape)


def anchor(
    value_bias: Doubles,
    weight: Doubles,
    bias: Doubles,
    mean: Doubles,
    covariance: Doubles,
    heads: int,
    length: float = LENGTH,
) -> Anchored:
    """Choose each head's anchor, and the projection that undoes it.

    Args:
        value_bias: [hidden], of the value map.
        weight: [hidden, hidden], of the output projection.
        bias: [hidden], likewise.
        mean: [hidden], of the context of softmax attention.
        covariance: [hidden, hidden], likewise.
        heads: how many.
        length: of the anchors, over the root mean square of what they stand beside.
    """
    width = len(mean) // heads
    value_bias, weight, bias = value_bias.copy(), weight.copy(), bias + weight @ mean
    directions = np.empty((heads, width))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        eigenvalues, vectors = np.linalg.eigh(covariance[part, part])
        floor = 1e-9 * max(float(eigenvalues[-1]), 1e-30)
        root = (vectors * np.sqrt(np.maximum(eigenvalues, floor))) @ vectors.T
        # u - m is root z with z white: of the projection's singular directions over z, the last.
        least = np.linalg.svd(weight[:, part] @ root)[2][-1]
        e = root @ least
        e /= max(float(np.linalg.norm(e)), 1e-30)
        spread = float(np.sqrt(np.maximum(eigenvalues, 0).sum()))
        a = length * max(spread, 1e-6)
        directions[head] = e
        value_bias[part] += a * e - mean[part]
        weight[:, part] *= np.sqrt(a * a + spread * spread)
    anchored = Anchored(value_bias, weight, bias, directions)
    return Anchored(value_bias, anchored.without(weight), bias, directions)
