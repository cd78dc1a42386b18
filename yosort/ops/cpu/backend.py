"""The CPU backend: numpy arrays in and out, the compiled loops of _dense and _cpu between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort import _cpu, _dense
from yosort._kernels import Kernels
from yosort._threads import ThreadPool
from yosort.activations import ACTIVATIONS
from yosort.errors import DeviceError
from yosort.machine import host_memory, resolve_num_threads
from yosort.ops.interface import (
    Array,
    EmbeddingTables,
    HashFunctions,
    Heads,
    LayerNorm,
    LayerTail,
)
from yosort.quantized import Weight

Floats = npt.NDArray[np.float32]

#: Codes of this many heads are held at a time, so that a long text with many hashes stays small.
CODE_BYTES = 16 << 20


class CpuOps:
    """Ops over float32 numpy arrays, on a pool of threads of its own.

    Args:
        num_threads: threads a call may use; None for what environment and machine say.
        instruction_set: which compiled variant to run; None for the best this processor has.
    """

    name = "cpu"
    device = "cpu"
    dtype: np.dtype[Any] = np.dtype(np.float32)
    xp: Any = np

    def __init__(self, num_threads: int | None = None, instruction_set: str | None = None) -> None:
        self.pool = ThreadPool(resolve_num_threads(num_threads))
        self.workspace = self.pool.workspace
        self.kernels = Kernels(instruction_set)

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Ops.running`."""
        try:
            with self.workspace.lent():
                yield
        except MemoryError as error:
            raise DeviceError(
                f"cpu: out of memory: {error}; smaller batches or shorter texts need less"
            ) from error

    def available_memory(self) -> int | None:
        """See `Ops.available_memory`."""
        return host_memory()

    def from_host(self, array: npt.NDArray[Any]) -> Array:
        """See `Ops.from_host`."""
        return array

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """See `Ops.to_host`."""
        return np.asarray(array)

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> _dense.PackedLinear:
        """See `Ops.linear_map`."""
        return _dense.PackedLinear(self.kernels, weights, biases)

    def parameter(self, array: Weight) -> Floats:
        """See `Ops.parameter`."""
        return np.ascontiguousarray(array, np.float32)

    def table(self, array: Weight) -> Array:
        """See `Ops.table`: it stays where it is, a memory-mapped file for instance."""
        return array

    def embed(
        self,
        tables: EmbeddingTables,
        words: Array,
        positions: npt.NDArray[np.int64],
        token_types: npt.NDArray[np.int64],
    ) -> Floats:
        """See `Ops.embed`."""
        rows = tables.word.take(words, axis=0) if words.ndim == 1 else words
        total = rows.astype(np.float32)  # a copy, which the additions may change
        if tables.token_type.shape[0] == 1:
            total += tables.token_type[0].astype(np.float32)
        else:
            total += tables.token_type.take(token_types, axis=0)
        total += tables.position.take(positions, axis=0)
        return self.layer_norm(total, tables.norm)

    def linear(
        self, x: Floats, linear_map: _dense.PackedLinear, activation: str = "linear"
    ) -> Floats:
        """See `Ops.linear`."""
        out = self.workspace.empty((len(x), linear_map.out_features))
        _dense.linear(self.kernels, self.pool, x, linear_map, _code(activation), out)
        return out

    def layer_norm(self, x: Floats, norm: LayerNorm) -> Floats:
        """See `Ops.layer_norm`."""
        return self._layer_norm(x, None, norm)

    def _layer_norm(self, x: Floats, residual: Floats | None, norm: LayerNorm) -> Floats:
        out = self.workspace.empty(x.shape)
        _dense.layer_norm(
            self.kernels, self.pool, x, residual, norm.scale, norm.shift, norm.eps, out
        )
        return out

    def add_norm(
        self, x: Floats, linear_map: _dense.PackedLinear, residual: Floats, norm: LayerNorm
    ) -> Floats:
        """See `Ops.add_norm`."""
        return self._layer_norm(self.linear(x, linear_map), residual, norm)

    def fuse(self, tail: LayerTail, following: _dense.PackedLinear | None) -> CpuFusedTail:
        """See `Ops.fuse`."""
        return CpuFusedTail(self, tail, following)

    def expected_attention(self, query: Floats, key: Floats, value: Floats, heads: Heads) -> Floats:
        """See `Ops.expected_attention`."""
        context = self.workspace.empty((len(query), value.shape[1]))
        _cpu.expected_attention(
            self.kernels,
            self.pool,
            query,
            key,
            value,
            heads.query_offsets,
            heads.offsets,
            heads.count,
            heads.hash_code_len,
            True,
            context,
        )
        return context

    def sampled_attention(
        self, query: Floats, key: Floats, value: Floats, heads: Heads, functions: HashFunctions
    ) -> Floats:
        """See `Ops.sampled_attention`."""
        context = self.workspace.empty((len(query), value.shape[1]))
        width = query.shape[1] // heads.count
        per_head = 2 * functions.num_hash * (len(query) + len(key))
        group = max(1, min(heads.count, CODE_BYTES // max(per_head, 1)))
        for first in range(0, heads.count, group):
            chosen = slice(first, min(first + group, heads.count))
            columns = slice(chosen.start * width, chosen.stop * width)
            _cpu.cumulate(
                self.kernels,
                self.pool,
                self._codes(query[:, columns], functions, chosen, heads.hash_code_len),
                self._codes(key[:, columns], functions, chosen, heads.hash_code_len),
                value[:, columns],
                heads.query_offsets,
                heads.offsets,
                heads.hash_code_len,
                context[:, columns],
            )
        _cpu.normalize_heads(self.kernels, self.pool, context, heads.count)
        return context

    def _codes(
        self, rows: Floats, functions: HashFunctions, heads: slice, hash_code_len: int
    ) -> npt.NDArray[np.uint16]:
        """Return the codes of some heads' rows [rows, heads * dim]: [heads, num_hash, rows]."""
        count = heads.stop - heads.start
        codes = self.workspace.empty((count, functions.num_hash, len(rows)), np.uint16)
        if functions.signs is not None:
            bits = sign_bits(functions.signs[heads])
            _cpu.hash_tokens(self.kernels, self.pool, rows, bits, hash_code_len, codes)
            return codes
        assert functions.projection is not None
        width = rows.shape[1] // count
        for i, matrix in enumerate(functions.projection[heads]):
            packed = _dense.PackedLinear(self.kernels, [matrix.T], [None])
            columns = rows[:, i * width : (i + 1) * width]
            _cpu.project_tokens(self.kernels, self.pool, columns, packed, hash_code_len, codes[i])
        return codes

    def add_convolution(
        self,
        context: Floats,
        value: Floats,
        weight: Floats,
        heads: Heads,
        query_slots: npt.NDArray[np.int32],
        slots: npt.NDArray[np.int32],
        keep: npt.NDArray[np.float32] | None,
    ) -> Floats:
        """See `Ops.add_convolution`."""
        out: Floats = context.copy()
        _cpu.add_convolution(
            self.pool,
            value,
            weight,
            heads.query_offsets,
            heads.offsets,
            query_slots,
            slots,
            keep,
            out,
        )
        return out

    def take(self, x: Array, rows: npt.NDArray[np.int64]) -> Array:
        """See `Ops.take`."""
        return np.take(x, rows, axis=0)

    def put(self, x: Array, rows: npt.NDArray[np.int64], total: int) -> Array:
        """See `Ops.put`."""
        out = np.zeros((total, *x.shape[1:]), x.dtype)
        out[rows] = x
        return out


@dataclass(frozen=True)
class CpuFusedTail:
    """See `FusedTail`: each thread takes a block of rows through all steps while it is in cache."""

    ops: CpuOps
    tail: LayerTail
    following: _dense.PackedLinear | None

    def pays(self, rows: int) -> bool:
        """See `FusedTail.pays`: enough rows for a block of each thread."""
        return _dense.worth_fusing(self.ops.pool, rows)

    def __call__(self, context: Floats, x: Floats) -> tuple[Floats, Floats | None]:
        """See `FusedTail`: sums run in the order of the steps."""
        tail, following, workspace = self.tail, self.following, self.ops.workspace
        out = workspace.empty((len(x), tail.output.out_features))
        after = None
        if following is not None:
            after = workspace.empty((len(x), following.out_features))
        _dense.layer_tail(
            self.ops.kernels,
            self.ops.pool,
            context,
            x,
            tail.output,
            tail.norm1.scale,
            tail.norm1.shift,
            tail.up,
            _code(tail.activation),
            tail.down,
            tail.norm2.scale,
            tail.norm2.shift,
            tail.norm1.eps,
            following,
            out,
            after,
        )
        return out, after


def _code(activation: str) -> int:
    return int(_dense.ACTIVATION_CODES[ACTIVATIONS[activation]])


def sign_bits(signs: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """Return signs as what flips a float32 by exclusive or: the sign bit for -1, else nothing."""
    return np.ascontiguousarray((signs < 0).astype(np.uint32) << np.uint32(31)).view(np.int32)


class Functional:
    """The functional ops of yosort.ops over padded numpy arrays; arguments are checked above.

    Each batch row is a text of its own and, where the op has parameters a row, a head of its own.
    """

    def __init__(self) -> None:
        self.ops = CpuOps()

    def fast_hash(
        self, x: npt.NDArray[Any], signs: npt.NDArray[Any], num_hash: int, hash_code_len: int
    ) -> npt.NDArray[np.int32]:
        """Return int32 [batch, n, num_hash]."""
        functions = HashFunctions(num_hash, signs=signs)
        return self._codes(x, functions, hash_code_len)

    def gaussian_hash(
        self, x: npt.NDArray[Any], projection: npt.NDArray[Any], num_hash: int, hash_code_len: int
    ) -> npt.NDArray[np.int32]:
        """Return int32 [batch, n, num_hash]."""
        functions = HashFunctions(num_hash, projection=projection)
        return self._codes(x, functions, hash_code_len)

    def _codes(
        self, x: npt.NDArray[Any], functions: HashFunctions, hash_code_len: int
    ) -> npt.NDArray[np.int32]:
        batch, n, dim = x.shape
        if not batch or not n:
            return np.zeros((batch, n, functions.num_hash), np.int32)
        with np.errstate(over="ignore"):  # what a mask leaves out may be beyond float32
            rows = np.ascontiguousarray(x.transpose(1, 0, 2), np.float32).reshape(n, batch * dim)
        codes = self.ops._codes(rows, functions, slice(0, batch), hash_code_len)
        return np.ascontiguousarray(codes.transpose(0, 2, 1), np.int32)

    def lsh_cumulation(
        self,
        query_codes: npt.NDArray[Any],
        key_codes: npt.NDArray[Any],
        value: npt.NDArray[Any],
        hash_code_len: int,
        query_mask: npt.NDArray[Any] | None,
        key_mask: npt.NDArray[Any] | None,
    ) -> Floats:
        """Return float32 [batch, n_query, dim]."""
        queries, query_offsets = _live(query_mask, *query_codes.shape[:2])
        keys, offsets = _live(key_mask, *key_codes.shape[:2])
        packed = np.zeros((int(query_offsets[-1]), value.shape[2]), np.float32)
        _cpu.cumulate(
            self.ops.kernels,
            self.ops.pool,
            np.ascontiguousarray(query_codes[queries].T, np.uint16)[None],
            np.ascontiguousarray(key_codes[keys].T, np.uint16)[None],
            np.ascontiguousarray(value[keys], np.float32),
            query_offsets,
            offsets,
            hash_code_len,
            packed,
        )
        return _spread(packed, queries)

    def expected_attention(
        self,
        query: npt.NDArray[Any],
        key: npt.NDArray[Any],
        value: npt.NDArray[Any],
        hash_code_len: int,
        query_mask: npt.NDArray[Any] | None,
        key_mask: npt.NDArray[Any] | None,
    ) -> Floats:
        """Return float32 [batch, n_query, value_dim]."""
        queries, query_offsets = _live(query_mask, *query.shape[:2])
        keys, offsets = _live(key_mask, *key.shape[:2])
        packed = np.zeros((int(query_offsets[-1]), value.shape[2]), np.float32)
        _cpu.expected_attention(
            self.ops.kernels,
            self.ops.pool,
            np.ascontiguousarray(query[queries], np.float32),
            np.ascontiguousarray(key[keys], np.float32),
            np.ascontiguousarray(value[keys], np.float32),
            query_offsets,
            offsets,
            1,
            hash_code_len,
            False,
            packed,
        )
        return _spread(packed, queries)


def _live(
    mask: npt.NDArray[Any] | None, batch: int, n: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which rows [batch, n] count, and the offsets int64 [batch + 1] once packed."""
    live = np.ones((batch, n), bool) if mask is None else np.asarray(mask != 0)
    offsets = np.zeros(batch + 1, np.int64)
    np.cumsum(live.sum(axis=1), out=offsets[1:])
    return live, offsets


def _spread(packed: Floats, live: npt.NDArray[np.bool_]) -> Floats:
    """Return packed rows in their places [batch, n, dim], zeros elsewhere."""
    out = np.zeros((*live.shape, packed.shape[1]), np.float32)
    out[live] = packed
    return out
