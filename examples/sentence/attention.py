"""YOSO's attention for training: exact, or sampled as yosort samples it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

#: From so many tokens on, heads are computed one by one, and again on the way back: n x n numbers
#: of all heads and layers would not fit.
ONE_BY_ONE = 600
#: Keeps the slope of acos finite where query and key are the same.
SLOPE_EPS = 1e-3
#: A query that meets few keys has sums near 0, where the slope of normalising is 1 over their
#: length: it is taken of sums of at least this, in lengths of a value.
LEAST_SUM = 0.1


class CollisionProbability(torch.autograd.Function):
    """(1 - acos(cosine) / pi) ** bits: how likely the codes of a query and a key are the same."""

    @staticmethod
    def forward(ctx: Any, cosine: Tensor, bits: int) -> Tensor:
        """Compute it of cosines [..., queries, keys]."""
        cosine = cosine.clamp(-1, 1)
        chance = torch.acos(cosine).mul_(-1 / math.pi).add_(1)
        power = torch.ones_like(chance)  # products: torch's pow is several times slower
        for _ in range(bits - 1):
            power *= chance
        # Its slope, bits * chance ** (bits - 1) / (pi * sine), the sine kept from 0.
        slope = cosine.square_().neg_().add_(1 + SLOPE_EPS).rsqrt_().mul_(bits / math.pi)
        ctx.save_for_backward(slope.mul_(power))
        return power.mul_(chance)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Multiply by the slope."""
        return grads[0] * ctx.saved_tensors[0], None


def hadamard(width: int) -> Tensor:
    """Return the Walsh-Hadamard matrix of a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < width:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


@torch.no_grad()
def collisions(query: Tensor, key: Tensor, bits: int, num_hash: int) -> Tensor:
    """Return the share of hash functions in which codes are the same, [texts, heads, n, n].

    The functions are the paper's fast ones (section 3.2), H D3 H D2 H D1 x, drawn anew for every
    head: a rotation of `width` gives width // bits codes of neighbouring signs.

    Args:
        query: [texts, heads, n, width], width a power of two.
        key: likewise.
        bits: of a code, at most 15.
        num_hash: how many functions, at most 255.
    """
    heads, width = query.shape[1], query.shape[-1]
    each = width // bits
    parts = -(-num_hash // each)
    rotation = torch.eye(width).expand(heads, parts, width, width)
    for _ in range(3):
        signs = torch.randint(0, 2, (heads, parts, 1, width)) * 2.0 - 1
        rotation = (rotation * signs) @ hadamard(width)
    rotation = rotation.permute(0, 2, 1, 3)[..., : each * bits].reshape(heads, width, -1)
    powers = 2.0 ** torch.arange(bits)
    dtype = torch.uint8 if bits <= 8 else torch.int16

    def codes(x: Tensor) -> Tensor:
        positive = (x @ rotation > 0).unflatten(-1, (parts * each, bits)).float()
        return (positive @ powers)[..., :num_hash].to(dtype).movedim(-1, 0).contiguous()

    count = torch.zeros(*query.shape[:-1], key.shape[-2], dtype=torch.uint8)
    for q, k in zip(codes(query), codes(key), strict=True):
        count += q[..., :, None] == k[..., None, :]
    return count.float() / num_hash


def expected(query: Tensor, key: Tensor, value: Tensor, bits: int) -> Tensor:
    """Return the sums of values by their chance of a common code (the paper's YOSO-E)."""
    return CollisionProbability.apply(query @ key.transpose(-1, -2), bits) @ value


def attend(query: Tensor, key: Tensor, value: Tensor, bits: int, num_hash: int | None) -> Tensor:
    """Return each head's normalised sums, [texts, heads, n, width].

    Where it is sampled, values see the weights drawn, queries and keys the slope of the expected
    ones (straight through).

    Args:
        query: [texts, heads, n, width], normalised rows.
        key: likewise.
        value: [texts, heads, n, width].
        bits: hash_code_len.
        num_hash: functions to sample with; None for exact attention.
    """
    if num_hash is not None:
        weights = CollisionProbability.apply(query @ key.transpose(-1, -2), bits)
        weights = weights + (collisions(query, key, bits, num_hash) - weights).detach()
        sums = weights @ value
    elif query.shape[-2] < ONE_BY_ONE:
        sums = expected(query, key, value, bits)
    else:
        heads = zip(query.unbind(1), key.unbind(1), value.unbind(1), strict=True)
        alone = [checkpoint(expected, *head, bits, use_reentrant=False) for head in heads]
        sums = torch.stack(alone, 1)
    exact = normalize(sums, dim=-1)
    floor = LEAST_SUM * value.detach().norm(dim=-1).mean()
    bounded = sums / sums.detach().norm(dim=-1, keepdim=True).clamp_min(floor)
    return bounded + (exact - bounded).detach()


class SelfAttention(nn.Module):
    """Stands in for transformers' YosoSelfAttention, with its weights under their names.

    Attributes:
        num_hash: functions to sample with; None for exact attention.
    """

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.query, self.key, self.value = original.query, original.key, original.value
        self.heads, self.bits = original.num_attention_heads, original.hash_code_len
        self.num_hash: int | None = None

    def forward(self, hidden: Tensor, *_: Any) -> tuple[Tensor]:
        """Attend within each text; hidden is [texts, n, width], masks are ignored."""
        maps = (self.query, self.key, self.value)
        q, k, v = (f(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2).float() for f in maps)
        # Codes and angles need float32: near 1, bfloat16 knows an angle to 0.1.
        with torch.autocast("cpu", enabled=False):
            q, k = normalize(q, dim=-1), normalize(k, dim=-1)
            context = attend(q, k, v, self.bits, self.num_hash)
        return (context.transpose(1, 2).flatten(2),)
