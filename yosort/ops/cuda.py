"""The GPU backend: CuPy arrays, dense products by cuBLAS, everything else by kernels/*.cu."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.activations import ACTIVATIONS
from yosort.errors import DeviceError
from yosort.kernels.launch import ACTIVATION_NUMBERS, Launcher
from yosort.ops.interface import (
    Array,
    EmbeddingTables,
    HashFunctions,
    Heads,
    LayerNorm,
    LayerTail,
)
from yosort.quantized import Weight

#: Value dims that a block of lsh_cumulation owns, and how many hash functions' tables it holds.
SLICE, TABLES = 8, 4
#: Buckets of one table: codes of more bits take several passes. Turing (7.5) has less memory.
BUCKETS, TURING_BUCKETS = 512, 256
#: Blocks that fill a large GPU: two on each of an H100's 132 multiprocessors.
FULL = 264
MAX_GROUPS = 8
#: Projections of the slow hash are computed this many bytes at a time.
PROJECTED_BYTES = 64 << 20
QUERY_ROWS, COLUMNS, MAX_CHUNK = 64, 64, 64
#: Host arrays (offsets, signs) whose copies on the device are kept, all streams together.
RESIDENT = 256


class CudaOps:
    """Ops on one CUDA device, through the current stream of the caller's thread.

    Args:
        cupy: the module.
        index: which device.
        dtype: float32 or float16, of weights and activations; codes, norms and sums never are.
    """

    name = "cuda"

    def __init__(self, cupy: Any, index: int = 0, dtype: str = "float32") -> None:
        self.xp = cupy
        self.dtype = np.dtype(dtype)
        self.device = f"cuda:{index}"
        self._device = cupy.cuda.Device(index)
        self._launch = Launcher(cupy, self.dtype)
        self._resident: OrderedDict[Any, Array] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """See `Ops.running`: this device is the current one, and what it lacks is named."""
        with self._device:
            try:
                yield
            except self.xp.cuda.memory.OutOfMemoryError as error:
                self.xp.get_default_memory_pool().free_all_blocks()
                free, total = self._device.mem_info
                raise DeviceError(
                    f"{self.device}: {error} {free >> 20} MB of {total >> 20} MB are free now; "
                    "smaller batches, shorter texts or dtype='float16' need less"
                ) from error

    def available_memory(self) -> int | None:
        """See `Ops.available_memory`: what is free on the device, and in CuPy's pool."""
        free: int = self._device.mem_info[0]
        return free + int(self.xp.get_default_memory_pool().free_bytes())

    def from_host(self, array: npt.NDArray[Any]) -> Array:
        """See `Ops.from_host`."""
        placed = self.xp.asarray(np.ascontiguousarray(array))
        # Weights serve other streams as well.
        self.xp.cuda.get_current_stream().synchronize()
        return placed

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """See `Ops.to_host`."""
        return np.asarray(self.xp.asnumpy(array))

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
    ) -> Any:
        """See `Ops.linear_map`: (weight [out, in] in the compute type, bias float32 [out])."""
        weight = np.concatenate([np.asarray(w, self.dtype) for w in weights])
        bias = np.concatenate([np.asarray(b, np.float32) for b in biases])
        return self.from_host(weight), self.from_host(bias)

    def settle(self, run: Callable[[], object]) -> None:
        """See `Ops.settle`: there is nothing to adapt."""

    def parameter(self, array: Weight) -> Array:
        """See `Ops.parameter`: float32, since norms and sums are."""
        return self.from_host(np.asarray(array, np.float32))

    def table(self, array: Weight) -> Array:
        """See `Ops.table`."""
        return self.from_host(np.asarray(array, self.dtype))

    def embed(
        self,
        tables: EmbeddingTables,
        words: Array,
        positions: npt.NDArray[np.int64],
        token_types: npt.NDArray[np.int64],
    ) -> Array:
        """See `Ops.embed`."""
        total, width = len(positions), tables.position.shape[1]
        ids = rows = None
        if words.ndim == 1:
            ids = self.xp.asarray(words, np.int64)
        else:
            rows = self.xp.asarray(words, self.dtype)
        out = self.xp.empty((total, width), self.dtype)
        threads, per_thread = _row_shape(width)
        self._launch(
            "embed",
            (total,),
            threads,
            None if ids is None else tables.word,
            ids,
            rows,
            tables.position,
            self.xp.asarray(positions, np.int64),
            tables.token_type,
            self.xp.asarray(token_types, np.int64),
            tables.norm.scale,
            tables.norm.shift,
            tables.norm.eps,
            width,
            out,
            ACTIVATION=0,
            PER_THREAD=per_thread,
        )
        return out

    def linear(self, x: Array, linear_map: Any, activation: str = "linear") -> Array:
        """See `Ops.linear`."""
        weight, bias = linear_map
        out = self._product(x, weight)
        number = ACTIVATION_NUMBERS[ACTIVATIONS[activation]]
        self._launch(
            "bias_activation",
            (-(-out.size // 256),),
            256,
            out,
            bias,
            out.size,
            out.shape[1],
            ACTIVATION=number,
            PER_THREAD=1,
        )
        return out

    def layer_norm(self, x: Array, norm: LayerNorm) -> Array:
        """See `Ops.layer_norm`."""
        return self._residual_norm(x.astype(self.dtype, copy=False), None, None, norm)

    def layer_tail(
        self, context: Array, x: Array, tail: LayerTail, following: Any | None
    ) -> tuple[Array, Array | None]:
        """See `Ops.layer_tail`: biases wait for the normalisation that reads the product anyway."""
        weight, bias = tail.output
        y = self._residual_norm(self._product(context, weight), bias, x, tail.norm1)
        inner = self.linear(y, tail.up, tail.activation)
        weight, bias = tail.down
        out = self._residual_norm(self._product(inner, weight), bias, y, tail.norm2)
        return out, None if following is None else self.linear(out, following)

    def expected_attention(self, query: Array, key: Array, value: Array, heads: Heads) -> Array:
        """See `Ops.expected_attention`."""
        sums = self.expectation(
            query,
            self._inverse_norms(query, heads.count),
            key,
            self._inverse_norms(key, heads.count),
            value,
            heads,
        )
        return self.finish(sums, heads.count, 1.0, normalize=True)

    def sampled_attention(
        self, query: Array, key: Array, value: Array, heads: Heads, functions: HashFunctions
    ) -> Array:
        """See `Ops.sampled_attention`."""
        if functions.signs is not None:
            codes = self.hadamard_hash(
                query, key, functions.signs, functions.num_hash, heads.hash_code_len
            )
        else:
            codes = (
                self.gaussian_codes(query, functions, heads.hash_code_len),
                self.gaussian_codes(key, functions, heads.hash_code_len),
            )
        partial = self.cumulate(*codes, value, heads)
        return self.finish(partial, heads.count, 1.0 / functions.num_hash, normalize=True)

    def add_convolution(
        self,
        context: Array,
        value: Array,
        weight: Array,
        heads: Heads,
        query_slots: npt.NDArray[np.int32],
        slots: npt.NDArray[np.int32],
        keep: npt.NDArray[np.float32] | None,
    ) -> Array:
        """See `Ops.add_convolution`."""
        out = self.xp.array(context, self.dtype)
        queries = np.diff(heads.query_offsets)
        query_text = np.repeat(np.arange(len(queries), dtype=np.int32), queries)
        self._launch(
            "add_convolution",
            (-(-out.size // 256),),
            256,
            out,
            value,
            _stride(value),
            weight,
            weight.shape[1],
            self._indices(query_text),
            self._indices(query_slots),
            self._indices(heads.offsets),
            self._indices(slots),
            None if keep is None else self.from_host(np.asarray(keep, np.float32)),
            len(out),
            heads.count,
            out.shape[1] // heads.count,
        )
        return out

    def take(self, x: Array, rows: npt.NDArray[np.int64]) -> Array:
        """See `Ops.take`."""
        return self.xp.take(x, self.xp.asarray(rows), axis=0)

    def put(self, x: Array, rows: npt.NDArray[np.int64], total: int) -> Array:
        """See `Ops.put`."""
        out = self.xp.zeros((total, *x.shape[1:]), x.dtype)
        out[self.xp.asarray(rows)] = x
        return out

    def hadamard_hash(
        self,
        query: Array,
        key: Array,
        signs: npt.NDArray[np.int8],
        num_hash: int,
        hash_code_len: int,
    ) -> tuple[Array, Array]:
        """Hash queries and keys in one launch: codes uint16 [heads, num_hash, rows] of each."""
        heads, _, parts, width = signs.shape
        bits = self._on_device(("signs",), signs, pack_signs)
        query_codes = self.xp.empty((heads, num_hash, len(query)), np.uint16)
        key_codes = self.xp.empty((heads, num_hash, len(key)), np.uint16)
        tokens, threads = hash_shape(width)
        query_blocks = -(-len(query) // tokens)
        self._launch(
            "hadamard_hash",
            (query_blocks + -(-len(key) // tokens), heads),
            threads,
            query,
            _stride(query),
            len(query),
            query_blocks,
            key,
            _stride(key),
            len(key),
            query.shape[1] // heads,
            bits,
            parts,
            num_hash,
            query_codes,
            key_codes,
            WIDTH=width,
            CODE_LEN=hash_code_len,
        )
        return query_codes, key_codes

    def gaussian_codes(self, x: Array, functions: HashFunctions, hash_code_len: int) -> Array:
        """Hash rows by hyperplanes: codes uint16 [heads, num_hash, rows]."""
        assert functions.projection is not None
        heads, dim, columns = functions.projection.shape
        matrix = self._on_device(("projection",), functions.projection, np.ascontiguousarray)
        rows = x.astype(np.float32, copy=False).reshape(len(x), heads, dim).transpose(1, 0, 2)
        codes = self.xp.empty((heads, functions.num_hash, len(x)), np.uint16)
        at_once = max(1, PROJECTED_BYTES // max(4 * len(x) * columns, 1))
        for first in range(0, heads, at_once):
            some = slice(first, first + at_once)
            self._launch(
                "sign_codes",
                (-(-codes[some].size // 256),),
                256,
                self.xp.matmul(rows[some], matrix[some]),
                len(x),
                len(codes[some]),
                functions.num_hash,
                hash_code_len,
                codes[some],
            )
        return codes

    def cumulate(self, query_codes: Array, key_codes: Array, value: Array, heads: Heads) -> Array:
        """Return partial sums of groups of hashes, float32 [groups, queries, heads * value_dim]."""
        num_hash, queries = query_codes.shape[1:]
        dim = value.shape[1] // heads.count
        slices, texts = -(-dim // SLICE), len(heads.offsets) - 1
        # More groups only where one text's blocks would not fill the device, for each is one more
        # array of sums. Never by how many texts there are: a text's sums must not depend on others.
        groups = min(-(-FULL // (slices * heads.count)), -(-num_hash // TABLES), MAX_GROUPS)
        per_group = -(-num_hash // groups)
        groups = -(-num_hash // per_group)
        limit = TURING_BUCKETS if int(self._device.compute_capability) < 80 else BUCKETS
        buckets = min(limit, 1 << heads.hash_code_len)
        partial = self.xp.empty((groups, queries, value.shape[1]), np.float32)
        self._launch(
            "lsh_cumulation",
            (slices * texts, heads.count, groups),
            256,
            query_codes,
            queries,
            key_codes,
            key_codes.shape[2],
            value,
            _stride(value),
            self._indices(heads.query_offsets),
            self._indices(heads.offsets),
            slices,
            dim,
            num_hash,
            per_group,
            heads.hash_code_len,
            partial,
            shared_bytes=4 * TABLES * buckets * SLICE,
            TABLES=TABLES,
            SLICE=SLICE,
            BUCKETS=buckets,
        )
        return partial

    def expectation(
        self,
        query: Array,
        query_scale: Array,
        key: Array,
        key_scale: Array,
        value: Array,
        heads: Heads,
    ) -> Array:
        """Return YOSO-E's sums, float32 [1, queries, heads * value_dim].

        query_scale and key_scale, float32 [rows, heads], are what normalises a row.
        """
        dim, value_dim = query.shape[1] // heads.count, value.shape[1] // heads.count
        texts, rows = [], []
        offsets = heads.query_offsets.tolist()
        for text, (begin, end) in enumerate(pairwise(offsets)):
            for row in range(begin, end, QUERY_ROWS):
                texts.append(text)
                rows.append(row)
        sums = self.xp.empty((1, len(query), value.shape[1]), np.float32)
        self._launch(
            "expected_attention",
            (len(rows), heads.count, -(-value_dim // COLUMNS)),
            256,
            query,
            _stride(query),
            query_scale,
            key,
            _stride(key),
            key_scale,
            value,
            _stride(value),
            self._indices(np.array(texts, np.int32)),
            self._indices(np.array(rows, np.int32)),
            self._indices(heads.query_offsets),
            self._indices(heads.offsets),
            dim,
            value_dim,
            sums,
            CODE_LEN=heads.hash_code_len,
            CHUNK=min(MAX_CHUNK, 1 << max(dim - 1, 7).bit_length()),
        )
        return sums

    def finish(self, partial: Array, heads: int, scale: float, *, normalize: bool) -> Array:
        """Add partial sums [groups, rows, width], scale, and L2-normalise each head if asked."""
        groups, rows, width = partial.shape
        out = self.xp.empty((rows, width), self.dtype)
        self._launch(
            "normalize_heads",
            (-(-rows * heads // 8),),
            256,
            partial,
            groups,
            rows,
            heads,
            width // heads,
            scale,
            int(normalize),
            out,
        )
        return out

    def _inverse_norms(self, x: Array, heads: int) -> Array:
        scale = self.xp.empty((len(x), heads), np.float32)
        self._launch(
            "inverse_norms",
            (-(-scale.size // 8),),
            256,
            x,
            _stride(x),
            len(x),
            heads,
            x.shape[1] // heads,
            scale,
            CODE_LEN=1,
            CHUNK=8,
        )
        return scale

    def _product(self, x: Array, weight: Array) -> Array:
        return self.xp.matmul(x.astype(self.dtype, copy=False), weight.T)

    def _residual_norm(
        self, x: Array, bias: Array | None, residual: Array | None, norm: LayerNorm
    ) -> Array:
        out = self.xp.empty(x.shape, self.dtype)
        threads, per_thread = _row_shape(x.shape[1])
        self._launch(
            "residual_norm",
            (len(x),),
            threads,
            x,
            bias,
            residual,
            norm.scale,
            norm.shift,
            norm.eps,
            x.shape[1],
            out,
            ACTIVATION=0,
            PER_THREAD=per_thread,
        )
        return out

    def _indices(self, array: npt.NDArray[Any]) -> Array:
        """Return a host array of row numbers as int32 on the device."""
        return self._on_device(("indices",), array, lambda a: np.asarray(a, np.int32))

    def _on_device(
        self,
        what: tuple[Any, ...],
        array: npt.NDArray[Any],
        prepare: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    ) -> Array:
        """Return a small host array, prepared, on the device: every layer asks for the same.

        Each stream has its own: CuPy reuses freed memory in a stream's order, and what another
        stream still reads must not be overwritten.
        """
        stream = self.xp.cuda.get_current_stream().ptr
        key = (stream, what, array.shape, array.tobytes())
        with self._lock:
            if key in self._resident:
                self._resident.move_to_end(key)
                return self._resident[key]
        placed = self.from_host(prepare(array))
        with self._lock:
            self._resident[key] = placed
            while len(self._resident) > RESIDENT:
                self._resident.popitem(last=False)
        return placed


def pack_signs(signs: npt.NDArray[np.int8]) -> npt.NDArray[np.uint32]:
    """Return signs [heads, 3, parts, width] as bits [..., words]: bit i % 32 of word i // 32."""
    width = signs.shape[-1]
    words = -(-width // 32)
    flips = np.zeros((*signs.shape[:-1], words * 32), np.uint8)
    flips[..., :width] = signs < 0
    return np.ascontiguousarray(np.packbits(flips, axis=-1, bitorder="little").view("<u4"))


def hash_shape(width: int) -> tuple[int, int]:
    """Return (tokens, threads) of a block of hadamard_hash: 16 elements a lane where it can."""
    lanes = 1 if width <= 16 else min(width // 16, 32)
    tokens = 32 if lanes <= 8 else 256 // lanes
    return tokens, tokens * lanes


def _stride(x: Array) -> int:
    """Elements from one row to the next."""
    return int(x.strides[0] // x.itemsize)


def _row_shape(width: int) -> tuple[int, int]:
    """Return (threads, elements a thread) of a block that holds one row in registers."""
    threads = min(256, -(-width // 32) * 32)
    return threads, -(-width // threads)
