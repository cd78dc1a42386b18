"""The functional ops of yosort.ops over cupy arrays; arguments are checked above.

Each batch row is a text of its own and, where the op has parameters a row, a head of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yosort.ops.cuda.backend import CudaOps
from yosort.ops.interface import Array, HashFunctions, Heads


class CudaFunctional:
    """Runs on the device that is current."""

    def __init__(self, cupy: Any) -> None:
        self.xp = cupy
        self.kernels = CudaOps(cupy, cupy.cuda.Device().id).kernels

    def fast_hash(self, x: Array, signs: Array, num_hash: int, hash_code_len: int) -> Array:
        """Return int32 [batch, n, num_hash]."""
        host_signs = np.asarray(self.xp.asnumpy(signs), np.int8)
        rows = self._heads_side_by_side(x)
        if not rows.size:
            return self.xp.zeros((*x.shape[:2], num_hash), np.int32)
        codes, _ = self.kernels.hadamard_hash(rows, rows[:0], host_signs, num_hash, hash_code_len)
        return codes.transpose(0, 2, 1).astype(np.int32)

    def gaussian_hash(
        self, x: Array, projection: Array, num_hash: int, hash_code_len: int
    ) -> Array:
        """Return int32 [batch, n, num_hash]."""
        matrix = np.asarray(self.xp.asnumpy(projection), np.float32)
        rows = self._heads_side_by_side(x)
        if not rows.size:
            return self.xp.zeros((*x.shape[:2], num_hash), np.int32)
        functions = HashFunctions(num_hash, projection=matrix)
        codes = self.kernels.gaussian_codes(rows, functions, hash_code_len)
        return codes.transpose(0, 2, 1).astype(np.int32)

    def lsh_cumulation(
        self,
        query_codes: Array,
        key_codes: Array,
        value: Array,
        hash_code_len: int,
        query_mask: Array | None,
        key_mask: Array | None,
    ) -> Array:
        """Return float32 [batch, n_query, dim]."""
        queries, query_offsets = self._live(query_mask, *query_codes.shape[:2])
        keys, offsets = self._live(key_mask, *key_codes.shape[:2])
        heads = Heads(1, hash_code_len, query_offsets, offsets)
        num_hash = query_codes.shape[2]
        partial = self.kernels.cumulate(
            self._pack_codes(query_codes, queries),
            self._pack_codes(key_codes, keys),
            self._pack(value, keys),
            heads,
        )
        sums = self.kernels.finish(partial, 1, 1.0 / num_hash, normalize=False)
        return self._spread(sums, queries, query_codes.shape[:2])

    def expected_attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        hash_code_len: int,
        query_mask: Array | None,
        key_mask: Array | None,
    ) -> Array:
        """Return float32 [batch, n_query, value_dim]."""
        queries, query_offsets = self._live(query_mask, *query.shape[:2])
        keys, offsets = self._live(key_mask, *key.shape[:2])
        q, k = self._pack(query, queries), self._pack(key, keys)
        ones = [self.xp.ones((len(rows), 1), np.float32) for rows in (q, k)]
        heads = Heads(1, hash_code_len, query_offsets, offsets)
        sums = self.kernels.expectation(q, ones[0], k, ones[1], self._pack(value, keys), heads)
        return self._spread(sums[0], queries, query.shape[:2])

    def _heads_side_by_side(self, x: Array) -> Array:
        """Return [batch, n, dim] as rows [n, batch * dim]."""
        batch, n, dim = x.shape
        rows = self.xp.ascontiguousarray(x.transpose(1, 0, 2).astype(np.float32))
        return rows.reshape(n, batch * dim)

    def _live(self, mask: Array | None, batch: int, n: int) -> tuple[Array, Any]:
        """Return which flat rows count, and the offsets int64 [batch + 1] once packed."""
        live = np.ones((batch, n), bool) if mask is None else self.xp.asnumpy(mask) != 0
        offsets = np.zeros(batch + 1, np.int64)
        np.cumsum(live.sum(axis=1), out=offsets[1:])
        return self.xp.asarray(np.flatnonzero(live)), offsets

    def _pack(self, x: Array, rows: Array) -> Array:
        """Return [batch, n, width] as float32 rows, the live ones."""
        return self.xp.take(x.reshape(-1, x.shape[2]).astype(np.float32), rows, axis=0)

    def _pack_codes(self, codes: Array, rows: Array) -> Array:
        """Return codes [batch, n, num_hash] as uint16 [1, num_hash, live rows]."""
        flat = codes.reshape(-1, codes.shape[2]).astype(np.uint16)
        packed = self.xp.take(flat, rows, axis=0)
        return self.xp.ascontiguousarray(packed.T)[None]

    def _spread(self, packed: Array, rows: Array, shape: tuple[int, ...]) -> Array:
        """Return packed rows in their places, zeros elsewhere."""
        out = self.xp.zeros((shape[0] * shape[1], packed.shape[1]), np.float32)
        out[rows] = packed
        return out.reshape(*shape, packed.shape[1])
