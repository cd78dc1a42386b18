"""The randomness of sampled attention: hash functions as data, drawn on the host.

A counter-based generator (Philox 4x64, Salmon et al. 2011) makes every draw a pure function of its
key, so that the CPU, the GPU and every later version hash alike, and so that asking for more hashes
keeps the ones that fewer would have had.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from yosort.errors import InputError

Seed = int | Sequence[int]


def hash_dim(dim: int, hash_code_len: int) -> int:
    """Width of the Hadamard transform: the power of two that holds `dim` and one whole code."""
    return int(1 << (max(dim, hash_code_len) - 1).bit_length())


def hash_parts(num_hash: int, hash_code_len: int, dim: int) -> int:
    """How many transforms yield `num_hash` functions: each gives hash_dim // hash_code_len."""
    return -(-num_hash // (hash_dim(dim, hash_code_len) // hash_code_len))


def hash_signs(
    num_hash: int, hash_code_len: int, dim: int, *, heads: int, seed: Seed
) -> npt.NDArray[np.int8]:
    """Draw the random signs D1, D2, D3 of the fast hash (paper, section 3.2; HD3HD2HD1 x).

    Returns:
        int8 [heads, 3, parts, hash_dim(dim)], every entry -1 or 1. The first parts of a draw do
        not depend on `num_hash`.

    Raises:
        InputError: a count below 1, a hash_code_len outside 1 to 16, or a negative seed.
    """
    check_hash_sizes(num_hash, hash_code_len, dim, heads)
    width = hash_dim(dim, hash_code_len)
    parts = hash_parts(num_hash, hash_code_len, dim)
    shape = (parts, heads, 3, width)
    words = _philox(seed, "signs").random_raw(-(-int(np.prod(shape)) // 64))
    bits = np.unpackbits(np.asarray(words, "<u8").view(np.uint8), bitorder="little")
    signs = (bits[: int(np.prod(shape))].astype(np.int8) * 2 - 1).reshape(shape)
    return np.ascontiguousarray(signs.transpose(1, 2, 0, 3))


def gaussian_projection(
    num_hash: int, hash_code_len: int, dim: int, *, heads: int, seed: Seed
) -> npt.NDArray[np.float32]:
    """Draw the matrix of the slow hash: independent standard normals, by Box and Muller.

    Returns:
        float32 [heads, dim, num_hash * hash_code_len]; column h * hash_code_len + b makes bit b of
        hash h. The first columns of a draw do not depend on `num_hash`.

    Raises:
        InputError: as `hash_signs`.
    """
    check_hash_sizes(num_hash, hash_code_len, dim, heads)
    shape = (num_hash * hash_code_len, heads, dim)
    count = int(np.prod(shape))
    words = np.asarray(_philox(seed, "gaussian").random_raw(count + count % 2), np.uint64)
    # 53 bits each; + 0.5 keeps the uniform inside (0, 1), where the logarithm is finite.
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)
    matrix = normal[:count].reshape(shape).transpose(1, 2, 0)
    return np.ascontiguousarray(matrix, np.float32)


def check_hash_sizes(num_hash: int, hash_code_len: int, dim: int, heads: int = 1) -> None:
    """Raise InputError for sizes that no hash function has."""
    sizes = (("num_hash", num_hash), ("dim", dim), ("heads", heads))
    for name, value in sizes:
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name}: wanted an integer of at least 1, got {value!r}")
    if not isinstance(hash_code_len, (int, np.integer)) or not 1 <= hash_code_len <= 16:
        raise InputError(f"hash_code_len: wanted an integer from 1 to 16, got {hash_code_len!r}")


def _philox(seed: Seed, purpose: str) -> np.random.Philox:
    """Return the generator of a seed: SeedSequence spreads (purpose, seed ...) over the key."""
    words = [seed] if isinstance(seed, (int, np.integer)) else list(seed)
    if not words or any(
        not isinstance(w, (int, np.integer)) or isinstance(w, bool) or w < 0 for w in words
    ):
        raise InputError(f"seed: wanted a non-negative integer or several, got {seed!r}")
    entropy = [int.from_bytes(purpose.encode(), "little"), *(int(w) for w in words)]
    return np.random.Philox(np.random.SeedSequence(entropy))
