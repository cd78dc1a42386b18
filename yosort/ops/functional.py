"""The ops of YOSO attention as functions over padded arrays, numpy's or cupy's.

Each batch row is a text of its own and, where an op has parameters a row, a head of its own.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from yosort.machine import resolve_num_threads
from yosort.ops import checks
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.interface import Array, HashFunctions, Layout, Offsets, Ops


class Primitives(Ops, Protocol):
    """What these functions need of a backend beside the model's operations."""

    def codes(self, x: Array, functions: Any, hash_code_len: int) -> Array:
        """Return the codes of rows float32 [rows, heads * dim]: uint16 [heads, num_hash, rows]."""
        ...

    def cumulate(self, query_codes: Array, key_codes: Array, value: Array, layout: Any) -> Array:
        """Return the mean over hashes of the sums of each query's bucket, [queries, width]."""
        ...

    def expectation(self, query: Array, key: Array, value: Array, layout: Any) -> Array:
        """Return what `cumulate` gives on average, for rows that are normalised already."""
        ...


def fast_hash(x: Any, signs: Any, *, num_hash: int, hash_code_len: int, mask: Any = None) -> Any:
    """Hash rows by random rotations; `definitions.fast_hash` is the definition.

    Args:
        x: float32 [batch, n, dim].
        signs: int8 [batch, 3, parts, hash_dim], from `hash_signs`.
        num_hash: how many functions.
        hash_code_len: bits per code, 1 to 16.
        mask: [batch, n] of 0 and 1; masked rows get code 0.

    Returns:
        int32 [batch, n, num_hash], the same bits on every backend.

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_fast_hash(x, signs, num_hash, hash_code_len, mask)
    ops = _backend(x)
    functions = HashFunctions(int(num_hash), signs=np.asarray(ops.to_host(signs), np.int8))
    return _hash(ops, x, functions, int(hash_code_len), mask)


def gaussian_hash(
    x: Any, projection: Any, *, num_hash: int, hash_code_len: int, mask: Any = None
) -> Any:
    """Hash rows by random hyperplanes; `definitions.gaussian_hash` is the definition.

    Args:
        x: float32 [batch, n, dim].
        projection: float32 [batch, dim, num_hash * hash_code_len].
        num_hash: how many functions.
        hash_code_len: bits per code, 1 to 16.
        mask: [batch, n] of 0 and 1; masked rows get code 0.

    Returns:
        int32 [batch, n, num_hash]. A projection within rounding of 0 may fall either way.

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_gaussian_hash(x, projection, num_hash, hash_code_len, mask)
    ops = _backend(x)
    matrix = np.asarray(ops.to_host(projection), np.float32)
    functions = HashFunctions(int(num_hash), projection=matrix)
    return _hash(ops, x, functions, int(hash_code_len), mask)


def lsh_cumulation(
    query_codes: Any,
    key_codes: Any,
    value: Any,
    *,
    hash_code_len: int,
    query_mask: Any = None,
    key_mask: Any = None,
) -> Any:
    """Average over hashes the sum of the values that share a query's bucket.

    `definitions.lsh_cumulation` is the definition.

    Args:
        query_codes: integers [batch, n_query, num_hash] in [0, 2 ** hash_code_len).
        key_codes: integers [batch, n_key, num_hash], likewise.
        value: float32 [batch, n_key, dim].
        hash_code_len: bits per code, 1 to 16.
        query_mask: [batch, n_query] of 0 and 1; masked rows come back as zeros.
        key_mask: [batch, n_key] of 0 and 1; masked rows are in no bucket.

    Returns:
        float32 [batch, n_query, dim], the same bits for any number of threads.

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_lsh_cumulation(query_codes, key_codes, value, hash_code_len, query_mask, key_mask)
    ops = _backend(value)
    with ops.running():
        queries, query_offsets = _live(ops, query_mask, *query_codes.shape[:2])
        keys, offsets = _live(ops, key_mask, *key_codes.shape[:2])
        sampled = np.ones(len(offsets) - 1, bool)
        layout = ops.layout(Layout(1, int(hash_code_len), query_offsets, offsets, sampled))
        sums = ops.cumulate(
            _pack_codes(ops, query_codes, queries),
            _pack_codes(ops, key_codes, keys),
            _pack(ops, value, keys),
            layout,
        )
        return _spread(ops, sums, queries, query_codes.shape[:2])


def expected_attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    hash_code_len: int,
    query_mask: Any = None,
    key_mask: Any = None,
) -> Any:
    """Weigh the values by the probability that their key's code is the query's (YOSO-E).

    `definitions.expected_attention` is the definition; no n x n array is made.

    Args:
        query: float32 [batch, n_query, dim], rows L2-normalised already.
        key: float32 [batch, n_key, dim], likewise.
        value: float32 [batch, n_key, value_dim].
        hash_code_len: bits per code, 1 to 16.
        query_mask: [batch, n_query] of 0 and 1; masked rows come back as zeros.
        key_mask: [batch, n_key] of 0 and 1; masked rows do not count.

    Returns:
        float32 [batch, n_query, value_dim].

    Raises:
        InputError: shapes, sizes or values that do not fit.
    """
    checks.check_expected_attention(query, key, value, hash_code_len, query_mask, key_mask)
    ops = _backend(query)
    with ops.running():
        queries, query_offsets = _live(ops, query_mask, *query.shape[:2])
        keys, offsets = _live(ops, key_mask, *key.shape[:2])
        exact = np.zeros(len(offsets) - 1, bool)
        layout = ops.layout(Layout(1, int(hash_code_len), query_offsets, offsets, exact))
        q, k, v = _pack(ops, query, queries), _pack(ops, key, keys), _pack(ops, value, keys)
        return _spread(ops, ops.expectation(q, k, v, layout), queries, query.shape[:2])


def _backend(array: Any) -> Primitives:
    """Return the backend of the kind of array that was given."""
    if type(array).__module__.partition(".")[0] == "cupy":
        cupy = sys.modules["cupy"]
        return _cuda(cupy, int(cupy.cuda.Device().id))
    return _cpu(resolve_num_threads(None))


@lru_cache(maxsize=8)
def _cpu(num_threads: int) -> CpuOps:
    return CpuOps(num_threads)


@lru_cache(maxsize=16)
def _cuda(cupy: Any, index: int) -> CudaOps:
    return CudaOps(cupy, index)


def _hash(
    ops: Primitives, x: Array, functions: HashFunctions, hash_code_len: int, mask: Array | None
) -> Array:
    """Return codes int32 [batch, n, num_hash]; 0 in rows that are masked."""
    xp, (batch, n, dim) = ops.xp, x.shape
    if not x.size:
        return xp.zeros((batch, n, functions.num_hash), np.int32)
    with ops.running(), np.errstate(over="ignore"):  # what a mask leaves out may be beyond float32
        rows = xp.ascontiguousarray(x.transpose(1, 0, 2), np.float32).reshape(n, batch * dim)
        codes = ops.codes(rows, ops.hash_functions(functions), hash_code_len)
        codes = xp.ascontiguousarray(codes.transpose(0, 2, 1), np.int32)
        return codes if mask is None else codes * (mask != 0)[..., None]


def _live(
    ops: Primitives, mask: Array | None, batch: int, n: int
) -> tuple[npt.NDArray[np.int64], Offsets]:
    """Return which flat rows count, and the offsets int64 [batch + 1] once packed."""
    live = np.ones((batch, n), bool) if mask is None else ops.to_host(mask) != 0
    offsets = np.zeros(batch + 1, np.int64)
    np.cumsum(live.sum(axis=1), out=offsets[1:])
    return np.flatnonzero(live), offsets


def _pack(ops: Primitives, x: Array, rows: npt.NDArray[np.int64]) -> Array:
    """Return [batch, n, width] as float32 rows, those that count."""
    return ops.take(x.reshape(-1, x.shape[2]), rows).astype(np.float32, copy=False)


def _pack_codes(ops: Primitives, codes: Array, rows: npt.NDArray[np.int64]) -> Array:
    """Return codes [batch, n, num_hash] as uint16 [1, num_hash, rows that count]."""
    packed = ops.take(codes.reshape(-1, codes.shape[2]), rows).astype(np.uint16)
    return ops.xp.ascontiguousarray(packed.T)[None]


def _spread(
    ops: Primitives, packed: Array, rows: npt.NDArray[np.int64], shape: tuple[int, ...]
) -> Array:
    """Return packed rows in their places, zeros elsewhere."""
    return ops.put(packed, rows, shape[0] * shape[1]).reshape(*shape, packed.shape[1])
