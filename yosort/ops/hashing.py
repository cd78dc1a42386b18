"""The randomness of sampled attention: hash functions as data, drawn on the host.

A counter-based generator (Philox 4x64, Salmon et al. 2011) makes every draw a pure function of its
key, so that the CPU, the GPU and every later version hash alike, and so that asking for more hashes
keeps the ones that fewer would have had.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_count, is_integer, is_row
from yosort.errors import DeviceError, InputError
from yosort.machine import WORTH_ASKING, check_memory, host_memory

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

    Args:
        num_hash: how many functions.
        hash_code_len: bits per code, 1 to 16.
        dim: width of the rows to hash; hash_dim is the power of two that holds it and one code.
        heads: how many draws.
        seed: a non-negative integer, or several.

    Returns:
        int8 [heads, 3, parts, hash_dim], every entry -1 or 1. The first parts of a draw do not
        depend on `num_hash`.

    Raises:
        InputError: a count below 1, a hash_code_len outside 1 to 16, or a negative seed.
        DeviceError: more functions than memory holds.
    """
    num_hash, hash_code_len, dim = check_hash_sizes(num_hash, hash_code_len, dim)
    heads = check_count("heads", heads)
    width = hash_dim(dim, hash_code_len)
    parts = hash_parts(num_hash, hash_code_len, dim)
    shape = (parts, heads, 3, width)
    count = math.prod(shape)
    generator = _philox(seed, "signs")
    with _memory_for(2 * count):  # a byte a sign, and the same in order
        words = generator.random_raw(-(-count // 64))
        signs = np.unpackbits(np.asarray(words, "<u8").view(np.uint8), bitorder="little")[:count]
        signs *= 2
        signs -= 1  # 0 becomes 255, which is -1 as int8
        return np.ascontiguousarray(signs.view(np.int8).reshape(shape).transpose(1, 2, 0, 3))


def gaussian_projection(
    num_hash: int, hash_code_len: int, dim: int, *, heads: int, seed: Seed
) -> npt.NDArray[np.float32]:
    """Draw the matrix of the slow hash: independent standard normals, by Box and Muller.

    Returns:
        float32 [heads, dim, num_hash * hash_code_len]; column h * hash_code_len + b makes bit b of
        hash h. The first columns of a draw do not depend on `num_hash`.

    Raises:
        InputError: as `hash_signs`, like DeviceError.
    """
    num_hash, hash_code_len, dim = check_hash_sizes(num_hash, hash_code_len, dim)
    heads = check_count("heads", heads)
    shape = (num_hash * hash_code_len, heads, dim)
    count = math.prod(shape)
    generator = _philox(seed, "gaussian")
    with _memory_for(24 * count):  # the words, the uniform numbers and the normal ones
        words = np.asarray(generator.random_raw(count + count % 2), np.uint64)
        # 53 bits each; + 0.5 keeps the uniform inside (0, 1), where the logarithm is finite.
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
        angle = 2.0 * np.pi * uniform[1::2]
        normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)
        matrix = normal[:count].reshape(shape).transpose(1, 2, 0)
        return np.ascontiguousarray(matrix, np.float32)


def check_hash_sizes(num_hash: int, hash_code_len: int, dim: int) -> tuple[int, int, int]:
    """Return the sizes as Python's integers; raise InputError if no hash function has them."""
    sizes = check_count("num_hash", num_hash), check_count("dim", dim)
    if not is_integer(hash_code_len) or not 1 <= hash_code_len <= 16:
        raise InputError.wanted("hash_code_len", "an integer from 1 to 16", hash_code_len)
    return sizes[0], int(hash_code_len), sizes[1]


@contextmanager
def _memory_for(needed: int) -> Iterator[None]:
    """Raise DeviceError where so many bytes cannot be had: before the draw, or on the way."""
    what = "a layer's hash functions need"
    if needed >= WORTH_ASKING:
        check_memory(needed, host_memory(), "cpu", what=what, hint="a smaller num_hash needs less")
    try:
        yield
    except MemoryError as error:
        raise DeviceError(f"cpu: out of memory: {what} at least {needed} bytes") from error


def _philox(seed: Seed, purpose: str) -> np.random.Philox:
    """Return the generator of a seed: SeedSequence spreads (purpose, seed ...) over the key."""
    words: Any = [seed] if is_integer(seed) else seed
    several = isinstance(words, (list, tuple, range)) or is_row(words)
    if not several or not len(words) or not all(is_integer(word) and word >= 0 for word in words):
        raise InputError.wanted("seed", "a non-negative integer or several", seed)
    entropy = [int.from_bytes(purpose.encode(), "little"), *(int(word) for word in words)]
    return np.random.Philox(np.random.SeedSequence(entropy))
