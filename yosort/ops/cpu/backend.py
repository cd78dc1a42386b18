"""The CPU backend: numpy arrays in and out, the loops of compiled modules between."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort import _cpu, _dense, _expectation
from yosort._dense import Kernels
from yosort._threads import ThreadPool
from yosort.activations import ACTIVATIONS
from yosort.errors import naming_memory
from yosort.files import release_pages
from yosort.machine import TILES, TILES_REFUSED, resolve_num_threads, wants
from yosort.ops.host import HostOps
from yosort.ops.interface import (
    Array,
    EmbeddingTables,
    HashFunctions,
    LayerNorm,
    LayerTail,
    Layout,
)
from yosort.quantized import Weight

Floats = npt.NDArray[np.float32]

_log = logging.getLogger("yosort")

#: What codes may take at a time, so that a long text with many hashes stays small.
CODE_BYTES = 32 << 20
#: Rows whose embeddings are gathered at a time: few enough that their sums stay in a cache.
EMBEDDED_ROWS = 256
#: A head's map of more weights than this is held in the type of the encoder's.
LARGE_HEAD = 1 << 20


def request_tiles() -> bool | None:
    """Ask for the matrix unit, unless the environment forbids it: see `_dense.request_tiles`."""
    return None if wants(TILES) is False else _dense.request_tiles()


def _log_missed(granted: bool | None) -> None:
    """Log where the matrix unit was refused, or wanted and is not there."""
    wanted = wants(TILES)
    if granted is None and wanted:
        _log.warning(f"{TILES}=1: no AMX here, or not compiled in")
    if granted is False:
        _log.log(logging.WARNING if wanted else logging.INFO, TILES_REFUSED)


class CpuOps(HostOps):
    """Ops over float32 numpy arrays, on a pool of threads of its own.

    Args:
        num_threads: threads a call may use; None for what environment and machine say.
        instruction_set: which compiled variant to run; None for the best this processor has.
    """

    name = "cpu"
    compute_type = "float32"
    dtype: np.dtype[Any] = np.dtype(np.float32)
    #: What the expectation's products multiply.
    attention_type = "float32"

    def __init__(self, num_threads: int | None = None, instruction_set: str | None = None) -> None:
        self.pool = ThreadPool(resolve_num_threads(num_threads))
        self.workspace = self.pool.workspace
        if self.compute_type != "float32":  # the matrix unit multiplies all other types
            _log_missed(request_tiles())
        self.kernels = Kernels(instruction_set)
        native = self.kernels.multiplies(self.attention_type)
        self.attention_product = self.attention_type if native else "rounded"

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Ops.running`."""
        with naming_memory(), self.workspace.recycling():
            yield

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> _dense.PackedLinear:
        """See `Ops.linear_map`: products are of the compute type, a small head's of float32."""
        small = head and sum(weight.size for weight in weights) <= LARGE_HEAD
        return self.pack(weights, biases, "float32" if small else self.compute_type)

    def pack(
        self, weights: list[Weight], biases: list[npt.NDArray[Any]], kind: str
    ) -> _dense.PackedLinear:
        """Pack weights, and let go of the file's own: both are not held for longer than needed."""
        packed = _dense.PackedLinear(self.kernels, weights, biases, kind)
        release_pages(weights)
        return packed

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
        total = self.workspace.empty((len(words), len(tables.norm.scale)))
        types = tables.token_type
        only = np.asarray(types, np.float32) if types.shape[0] == 1 else None
        for first in range(0, len(words), EMBEDDED_ROWS):
            part = slice(first, first + EMBEDDED_ROWS)
            sums, some = total[part], words[part]
            sums[...] = tables.word.take(some, axis=0) if some.ndim == 1 else some
            sums += types.take(token_types[part], axis=0) if only is None else only
            sums += tables.position.take(positions[part], axis=0)
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

    def hash_functions(self, functions: HashFunctions) -> CpuHashFunctions:
        """See `Ops.hash_functions`."""
        if functions.signs is not None:
            return CpuHashFunctions(functions.num_hash, sign_bits(functions.signs))
        assert functions.projection is not None
        panels = [
            _dense.PackedLinear(self.kernels, [matrix.T], [None]) for matrix in functions.projection
        ]
        return CpuHashFunctions(functions.num_hash, None, tuple(panels))

    def attention(
        self,
        query: Floats,
        key: Floats,
        value: Floats,
        layout: Layout,
        functions: CpuHashFunctions | None = None,
    ) -> Floats:
        """See `Ops.attention`."""
        context = self.workspace.empty((len(query), value.shape[1]))
        for run in layout.runs:
            q, out = query[run.queries], context[run.queries]
            k, v = key[run.keys], value[run.keys]
            if run.is_sampled:
                assert functions is not None
                self._sample(q, k, v, run.layout, functions, out)
            else:
                self._expect(q, k, v, run.layout, True, out)
        return context

    def expectation(self, query: Floats, key: Floats, value: Floats, layout: Layout) -> Floats:
        """See `Primitives.expectation`."""
        sums = np.zeros((len(query), value.shape[1]), np.float32)
        self._expect(query, key, value, layout, False, sums)
        return sums

    def _expect(
        self,
        query: Floats,
        key: Floats,
        value: Floats,
        layout: Layout,
        normalize: bool,
        out: Floats,
    ) -> None:
        _expectation.expected_attention(
            self.kernels,
            self.pool,
            query,
            key,
            value,
            layout.query_offsets,
            layout.offsets,
            layout.heads,
            layout.hash_code_len,
            normalize,
            out,
            self.attention_product,
        )

    def _sample(
        self,
        query: Floats,
        key: Floats,
        value: Floats,
        layout: Layout,
        functions: CpuHashFunctions,
        out: Floats,
    ) -> None:
        if functions.bits is not None and self._have_a_head_each(layout, functions):
            _cpu.sampled_attention(
                self.kernels,
                self.pool,
                query,
                key,
                value,
                layout.query_offsets,
                layout.offsets,
                functions.bits,
                functions.num_hash,
                layout.hash_code_len,
                out,
            )
        else:
            self._sample_in_turn(query, key, value, layout, functions, out)

    def _have_a_head_each(self, layout: Layout, functions: CpuHashFunctions) -> bool:
        """Tell whether a thread is to take a head of a text from its hash to its context.

        Codes are then read soon after they were made. But threads would wait where no more is to
        be done than the longest text's head, and each holds the codes of a whole text.
        """
        offsets = layout.query_offsets, layout.offsets
        rows = sum(int(x[-1]) for x in offsets)
        longest = sum(int(np.diff(x).max(initial=0)) for x in offsets)
        threads = self.pool.num_threads
        enough = layout.heads * rows >= threads * longest
        return enough and threads * 2 * functions.num_hash * longest <= CODE_BYTES

    def _sample_in_turn(
        self,
        query: Floats,
        key: Floats,
        value: Floats,
        layout: Layout,
        functions: CpuHashFunctions,
        out: Floats,
    ) -> None:
        """Hash, cumulate, normalise: each of them shared out over all threads."""
        width, value_width = (x.shape[1] // layout.heads for x in (query, value))
        per_head = 2 * functions.num_hash * (len(query) + len(key))
        group = max(1, min(layout.heads, CODE_BYTES // max(per_head, 1)))
        for first in range(0, layout.heads, group):
            heads = slice(first, min(first + group, layout.heads))
            columns = slice(heads.start * width, heads.stop * width)
            values = slice(heads.start * value_width, heads.stop * value_width)
            part = functions.of(heads)
            query_codes = self.codes(query[:, columns], part, layout.hash_code_len)
            key_codes = self.codes(key[:, columns], part, layout.hash_code_len)
            self._cumulate(query_codes, key_codes, value[:, values], layout, out[:, values])
        _cpu.normalize_heads(self.kernels, self.pool, out, layout.heads)

    def codes(
        self, x: Floats, functions: CpuHashFunctions, hash_code_len: int
    ) -> npt.NDArray[np.uint16]:
        """See `Primitives.codes`."""
        if functions.bits is not None:
            codes = self.workspace.empty(
                (len(functions.bits), functions.num_hash, len(x)), np.uint16
            )
            _cpu.hash_tokens(self.kernels, self.pool, x, functions.bits, hash_code_len, codes)
            return codes
        heads = len(functions.panels)
        codes = self.workspace.empty((heads, functions.num_hash, len(x)), np.uint16)
        width = x.shape[1] // heads
        for i, packed in enumerate(functions.panels):
            columns = x[:, i * width : (i + 1) * width]
            _cpu.project_tokens(self.kernels, self.pool, columns, packed, hash_code_len, codes[i])
        return codes

    def cumulate(
        self,
        query_codes: npt.NDArray[np.uint16],
        key_codes: npt.NDArray[np.uint16],
        value: Floats,
        layout: Layout,
    ) -> Floats:
        """See `Primitives.cumulate`."""
        out = np.zeros((query_codes.shape[2], value.shape[1]), np.float32)
        self._cumulate(query_codes, key_codes, value, layout, out)
        return out

    def _cumulate(
        self,
        query_codes: npt.NDArray[np.uint16],
        key_codes: npt.NDArray[np.uint16],
        value: Floats,
        layout: Layout,
        out: Floats,
    ) -> None:
        _cpu.cumulate(
            self.kernels,
            self.pool,
            query_codes,
            key_codes,
            value,
            layout.query_offsets,
            layout.offsets,
            layout.hash_code_len,
            out,
        )

    def add_convolution(
        self, context: Floats, value: Floats, weight: Floats, layout: Layout
    ) -> Floats:
        """See `Ops.add_convolution`."""
        assert layout.query_slots is not None
        assert layout.slots is not None
        out: Floats = context.copy()
        _cpu.add_convolution(
            self.pool,
            value,
            weight,
            layout.query_offsets,
            layout.offsets,
            layout.query_slots,
            layout.slots,
            layout.keep,
            out,
        )
        return out


@dataclass(frozen=True)
class CpuHashFunctions:
    """A layer's hash functions: sign bits int32 [heads, 3, parts, hash_dim], or panels a head."""

    num_hash: int
    bits: npt.NDArray[np.int32] | None
    panels: tuple[_dense.PackedLinear, ...] = ()

    def of(self, heads: slice) -> CpuHashFunctions:
        """Return the functions of some heads."""
        bits = None if self.bits is None else self.bits[heads]
        return CpuHashFunctions(self.num_hash, bits, self.panels[heads])


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
            tail.norm1.eps,
            tail.up,
            _code(tail.activation),
            tail.down,
            tail.norm2.scale,
            tail.norm2.shift,
            tail.norm2.eps,
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
