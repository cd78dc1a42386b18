"""The definition of every op, in plain NumPy: what each backend is compared with.

Written for reading, not for speed: loops over texts and heads, float64 wherever rounding could
blur the definition. The one exception is `fast_hash`, whose float32 additions and their order are
part of the definition, because every backend must give the same codes, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from yosort.activations import ACTIVATIONS
from yosort.ops.hashing import hash_dim

Floats = npt.NDArray[np.floating]
Codes = npt.NDArray[np.int32]

#: torch.nn.functional.normalize divides by max(norm, this).
NORM_EPS = 1e-12
#: Activations have a scale for each token and this much of the depth.
QUANTIZED_SPAN = 1024
#: Sums of bfloat16 products start anew with so much of the depth; on a matrix unit, with so much.
BFLOAT16_SPAN, TILED_SPAN = 384, 1024
#: A matrix unit sums so much of the depth at a time.
TILE_DEPTH = 32


def hadamard(x: Floats) -> Floats:
    """Return the unscaled Walsh-Hadamard transform over the last axis (a power of two wide).

    Stages of stride 1, 2, 4, ... turn each pair (a, b) into (a + b, a - b).
    """
    width, stride = x.shape[-1], 1
    while stride < width:
        pairs = x.reshape(*x.shape[:-1], width // (2 * stride), 2, stride)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        x = np.stack([a + b, a - b], axis=-2).reshape(x.shape)
        stride *= 2
    return x


def fast_hash(
    x: Floats,
    signs: npt.NDArray[np.int8],
    *,
    num_hash: int,
    hash_code_len: int,
    mask: npt.NDArray[np.generic] | None = None,
) -> Codes:
    """Hash rows by random rotations: each part computes H D3 H D2 H D1 x, bits are the signs.

    Args:
        x: float32 [batch, n, dim].
        signs: int8 [batch, 3, parts, hash_dim(dim)], see `hash_signs`.
        num_hash: how many functions; a part of width d yields d // hash_code_len of them.
        hash_code_len: bits per code.
        mask: [batch, n] of 0 and 1, or None; masked rows get code 0.

    Returns:
        int32 [batch, n, num_hash]. Bit b of function h of a part is x[h * hash_code_len + b] > 0.

    Source: paper, section 3.2; upstream's fast_hash kernels.
    """
    batch, n, dim = x.shape
    width = hash_dim(dim, hash_code_len)
    rotated = np.zeros((batch, signs.shape[2], n, width), np.float32)
    rotated[..., :dim] = x[:, None]
    for step in range(3):
        rotated = hadamard(rotated * signs[:, step, :, None, :].astype(np.float32))
    per_part = width // hash_code_len
    bits = rotated[..., : per_part * hash_code_len] > 0
    weights = 1 << np.arange(hash_code_len, dtype=np.int32)
    parts = signs.shape[2]
    codes = bits.reshape(batch, parts, n, per_part, hash_code_len) @ weights
    codes = codes.transpose(0, 2, 1, 3).reshape(batch, n, parts * per_part)[..., :num_hash]
    if mask is not None:
        codes = codes * (mask != 0)[..., None]
    return np.ascontiguousarray(codes, np.int32)


def gaussian_hash(
    x: Floats,
    projection: Floats,
    *,
    num_hash: int,
    hash_code_len: int,
    mask: npt.NDArray[np.generic] | None = None,
) -> Codes:
    """Hash rows by random hyperplanes: bit b of hash h is x . column (h * hash_code_len + b) > 0.

    Args:
        x: [batch, n, dim].
        projection: [batch, dim, num_hash * hash_code_len].
        num_hash: how many functions.
        hash_code_len: bits per code.
        mask: [batch, n] of 0 and 1, or None; masked rows get code 0.

    Returns:
        int32 [batch, n, num_hash]. Upstream's slow path returns the keys' codes for the queries
        too; this one hashes what it is given.
    """
    batch, n, _ = x.shape
    bits = (x.astype(np.float64) @ projection.astype(np.float64)) > 0
    weights = 1 << np.arange(hash_code_len, dtype=np.int32)
    codes = bits.reshape(batch, n, num_hash, hash_code_len) @ weights
    if mask is not None:
        codes = codes * (mask != 0)[..., None]
    return np.ascontiguousarray(codes, np.int32)


def lsh_cumulation(
    query_codes: Codes,
    key_codes: Codes,
    value: Floats,
    *,
    hash_code_len: int,
    query_mask: npt.NDArray[np.generic] | None = None,
    key_mask: npt.NDArray[np.generic] | None = None,
) -> npt.NDArray[np.float64]:
    """Sum the values whose key shares the query's bucket, averaged over the hash functions.

    out_i = 1/m * sum_h sum_{j: key_codes[j, h] == query_codes[i, h]} value_j.

    Args:
        query_codes: int [batch, n_query, num_hash].
        key_codes: int [batch, n_key, num_hash].
        value: [batch, n_key, dim].
        hash_code_len: bits per code.
        query_mask: [batch, n_query]; masked rows come back as zeros.
        key_mask: [batch, n_key]; masked rows are in no bucket.

    Returns:
        float64 [batch, n_query, dim]: exact enough to judge float32 by.

    Source: paper, equation 3; upstream's lsh_cumulation kernels.
    """
    batch, n_query, num_hash = query_codes.shape
    out = np.zeros((batch, n_query, value.shape[2]), np.float64)
    for row in range(batch):
        keys = slice(None) if key_mask is None else key_mask[row] != 0
        inserted = value[row, keys].astype(np.float64)
        for h in range(num_hash):
            table = np.zeros((1 << hash_code_len, value.shape[2]), np.float64)
            np.add.at(table, key_codes[row, keys, h], inserted)
            out[row] += table[query_codes[row, :, h]]
    if query_mask is not None:
        out *= (query_mask != 0)[..., None]
    return np.asarray(out / num_hash)


def collision_probability(cosine: Floats, hash_code_len: int) -> npt.NDArray[np.float64]:
    """Return (1 - acos(cosine) / pi) ** hash_code_len: how likely two codes agree in all bits.

    Rounding can push a cosine past 1, where acos is undefined (upstream returns NaN): it is
    clamped.
    """
    angle = np.arccos(np.clip(cosine.astype(np.float64), -1.0, 1.0))
    return np.asarray((1.0 - angle / math.pi) ** hash_code_len)


def expected_attention(
    query: Floats,
    key: Floats,
    value: Floats,
    *,
    hash_code_len: int,
    query_mask: npt.NDArray[np.generic] | None = None,
    key_mask: npt.NDArray[np.generic] | None = None,
) -> npt.NDArray[np.float64]:
    """Return what `lsh_cumulation` estimates: sum_j P(codes of i and j agree) * value_j (YOSO-E).

    Args:
        query: [batch, n_query, dim], rows already L2-normalised.
        key: [batch, n_key, dim], likewise.
        value: [batch, n_key, value_dim].
        hash_code_len: bits per code.
        query_mask: [batch, n_query]; masked rows come back as zeros.
        key_mask: [batch, n_key]; masked rows do not count.

    Returns:
        float64 [batch, n_query, value_dim].

    Source: paper, section 3.1; upstream's YosoCumulation.forward.
    """
    cosine = query.astype(np.float64) @ key.astype(np.float64).swapaxes(-1, -2)
    weights = collision_probability(cosine, hash_code_len)
    if key_mask is not None:
        weights = weights * (key_mask != 0)[:, None, :]
    if query_mask is not None:
        weights = weights * (query_mask != 0)[:, :, None]
    return np.asarray(weights @ value.astype(np.float64))


def l2_normalize(x: Floats) -> Floats:
    """Divide each row by its length, or by 1e-12 where that is larger (as torch's normalize)."""
    norm = np.sqrt((x.astype(np.float64) ** 2).sum(axis=-1, keepdims=True))
    return np.asarray(x / np.maximum(norm, NORM_EPS))


def layer_norm(x: Floats, scale: Floats, shift: Floats, eps: float) -> npt.NDArray[np.float64]:
    """Normalise rows to mean 0 and (population) variance 1, then scale and shift."""
    x = x.astype(np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + eps) * scale + shift)


def quantize(
    x: Floats,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return rows [rows, width] as int8 within -127 and 127, and a float32 scale for each.

    x is about q * scale; float32 throughout, since the rounding is part of the definition.
    """
    x = x.astype(np.float32)
    largest = np.abs(x).max(axis=1, initial=0.0).astype(np.float32)
    scaled = largest >= np.float32(1e-30)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=scaled)
    q = np.rint(x * inverse[:, None]).astype(np.int8)
    return q, np.where(scaled, largest / np.float32(127), np.float32(0))


def quantized_linear(
    x: Floats, weight: Floats, bias: Floats, span: int = QUANTIZED_SPAN
) -> npt.NDArray[np.float64]:
    """Return x [rows, in] times weight [out, in], both quantised, plus bias [out].

    A weight has a scale for each output, x one for each row and each `span` of its width. Sums of
    a span are exact integers.
    """
    qw, weight_scale = quantize(weight)
    total = np.zeros((len(x), len(weight)))
    for at in range(0, x.shape[1], span):
        qx, scale = quantize(x[:, at : at + span])
        sums = qx.astype(np.int64) @ qw[:, at : at + span].astype(np.int64).T
        total += sums * (scale.astype(np.float64)[:, None] * weight_scale.astype(np.float64))
    return total + bias


def bfloat16(x: Floats) -> npt.NDArray[np.float32]:
    """Round to bfloat16, the upper halves of float32 numbers: to the nearest, ties to even.

    Beyond float32's range is infinity; NaN stays NaN.
    """
    x = np.ascontiguousarray(x, np.float32)
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    rounded = np.where(np.isnan(x), bits >> 16 << 16 | 0x400000, rounded)
    return rounded.astype(np.uint32).view(np.float32)


def bfloat16_directions(x: Floats) -> npt.NDArray[np.float64]:
    """Round rows [..., width] to bfloat16 and divide them by the lengths that they then have.

    `expected_attention` of such queries and keys is what products of bfloat16 give, but for weights
    and values, which are rounded as well. Rounding turns a vector by 2^-8 radians at most, and
    moves angles by what both turn; a cosine that is off by 2^-8 would make an angle of 0 one of
    0.09.
    """
    return np.asarray(l2_normalize(bfloat16(x).astype(np.float64)))


def add_to_odd(a: Floats, b: Floats) -> npt.NDArray[np.float32]:
    """Return a + b rounded to odd: if no float32, the neighbour of the sum whose last bit is 1.

    Args:
        a: float32 [...].
        b: float32 [...]; sums of 0, or from 2^-126 on.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    total = np.asarray(a + b)
    part = total - a
    rest = (a - (total - part)) + (b - part)  # what float64 rounded away, exactly: Knuth's TwoSum
    bits = total.view(np.int64)
    bits = np.where(rest == 0, bits, (bits - ((rest > 0) != (total > 0))) | 1)
    narrow = bits & ~0x1FFFFFFF  # the bits that float32 has
    return np.where(narrow == bits, bits, narrow | 0x20000000).view(np.float64).astype(np.float32)


def bfloat16_linear(
    x: Floats, weight: Floats, bias: Floats, *, order: str = "words"
) -> npt.NDArray[np.float32]:
    """Return x [rows, in] times weight [out, in], both rounded to bfloat16, plus bias [out].

    Products of two bfloat16 numbers are exact in float32. So are no sums, and their order counts:
    the depth is taken in words of two, and each BFLOAT16_SPAN is summed apart. Numbers below
    2^-126 may count as 0.

    Args:
        x: [rows, in].
        weight: [out, in].
        bias: [out].
        order: "words": of each word the second first. "odd": the products of a word are added to
            each other, then to the sum, and each sum is rounded to odd. "tiles": of each
            TILE_DEPTH the even depths are summed, then the odd ones, then both sums, which is
            added to what TILED_SPAN has so far.

    Source: Intel's manual of VDPBF16PS, whose order is the first, and of TDPBF16PS, the last;
    Arm's of BFMMLA (without its extension EBF16, which a process would have to turn on).
    """
    x, weight = bfloat16(x), bfloat16(weight)
    depth, total = x.shape[1], np.zeros((len(x), len(weight)), np.float32)

    def product(k: int) -> npt.NDArray[np.float32]:
        return x[:, k, None] * weight[:, k] if k < depth else np.zeros_like(total)

    def sum_up(depths: Iterable[int], sums: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        for k in depths:
            sums += product(k)
        return sums

    span = TILED_SPAN if order == "tiles" else BFLOAT16_SPAN
    for at in range(0, depth, span):
        end, sums = min(at + span, depth), np.zeros_like(total)
        if order == "words":
            sum_up((k ^ 1 for k in range(at, at + span) if k ^ 1 < end), sums)
        for k in range(at, end, 2) if order == "odd" else ():
            sums = add_to_odd(sums, add_to_odd(product(k), product(k + 1)))
        for first in range(at, end, TILE_DEPTH) if order == "tiles" else ():
            last = min(first + TILE_DEPTH, end)
            even, odd = range(first, last, 2), range(first + 1, last, 2)
            sums += sum_up(even, np.zeros_like(sums)) + sum_up(odd, np.zeros_like(sums))
        total += sums
    return total + bias.astype(np.float32)


def depthwise_convolution(
    value: Floats, weight: Floats, slots: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Convolve each head over the token axis of one text.

    out[t] = sum_u weight[head, slots[u] - slots[t] + window // 2] * value[u], over the tokens u
    that lie inside the window; a slot that no token has counts as zero.

    Args:
        value: [n, heads, head_dim].
        weight: [heads, window], window odd.
        slots: int32 [n], ascending: where each token stands in its text (a mask leaves gaps).
    """
    reach = weight.shape[1] // 2
    out = np.zeros(value.shape, np.float64)
    for t, slot in enumerate(slots):
        for u in range(len(slots)):
            if abs(int(slots[u]) - int(slot)) <= reach:
                taps = weight[:, int(slots[u]) - int(slot) + reach]
                out[t] += taps[:, None].astype(np.float64) * value[u]
    return out


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


_erf = np.vectorize(math.erf, otypes=[np.float64])

_FORMULAS: dict[str, Callable[[Floats], Floats]] = {
    "gelu": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "gelu_10": lambda x: np.clip(0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))), -10.0, 10.0),
    "gelu_tanh": lambda x: (
        0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0.0),
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "linear": lambda x: x,
}


def activate(x: Floats, activation: str) -> Floats:
    """Apply the activation that config.json's `hidden_act` names."""
    if x.size == 0:
        return x.astype(np.float64)
    return np.asarray(_FORMULAS[ACTIVATIONS[activation]](x.astype(np.float64)))
