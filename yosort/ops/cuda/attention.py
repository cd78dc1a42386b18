"""Both forms of attention on the GPU: shapes and arguments of the kernels that compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.ops.cuda.launcher import Launcher
from yosort.ops.interface import Array, HashFunctions, Layout

#: Value dims that a block of lsh_cumulation owns, and how many hash functions' tables it holds.
SLICE, TABLES = 8, 4
#: Buckets of one table: codes of more bits take several passes. Turing (7.5) has less memory.
BUCKETS, TURING_BUCKETS = 512, 256
#: Blocks that fill a GPU, for each of its multiprocessors.
FULL = 2
MAX_GROUPS = 8
#: Projections of the slow hash are computed this many bytes at a time.
PROJECTED_BYTES = 64 << 20
QUERY_ROWS, COLUMNS, MAX_CHUNK = 64, 64, 64
#: Of a block of the exact form: each answers 8 queries for 8 dims.
EXPECT_THREADS = 64
#: And by tensor cores, which take heads of up to so many dims.
TENSOR_THREADS, TENSOR_DIM = 128, 128


@dataclass(frozen=True)
class CudaLayout:
    """A `Layout` with what kernels read of it on the device, int32 but for `keep`.

    Attributes:
        layout: as it came.
        query_offsets: [texts + 1].
        offsets: [texts + 1].
        sampled_texts: [sampled texts], which they are.
        block_texts: [blocks of query rows of exact texts], whose text each is.
        block_rows: [blocks], its first query row.
        sampled_rows: [query rows of sampled texts], which they are; None where no texts or all are.
        exact_rows: [query rows of exact texts], likewise.
        query_text: [query rows], or None where no slots came, like the next two.
        query_slots: [query rows].
        slots: [rows].
        keep: float32 [rows] or None.
    """

    layout: Layout
    query_offsets: Array
    offsets: Array
    sampled_texts: Array
    block_texts: Array
    block_rows: Array
    sampled_rows: Array | None
    exact_rows: Array | None
    query_text: Array | None
    query_slots: Array | None
    slots: Array | None
    keep: Array | None

    @classmethod
    def of(cls, cupy: Any, layout: Layout) -> CudaLayout:
        """Copy a layout to the current device, in the order of the current stream.

        In one copy: what a small one costs the host does not depend on its size.
        """
        queries = np.diff(layout.query_offsets)
        texts = np.arange(len(queries))
        sampled = layout.sampled
        both = bool(sampled.any() and not sampled.all())
        sampled_rows = np.repeat(sampled, queries)
        blocks = np.where(sampled, 0, -(-queries // QUERY_ROWS))
        block_texts = np.repeat(texts, blocks)
        within = np.arange(len(block_texts)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
        block_rows = layout.query_offsets[:-1][block_texts] + QUERY_ROWS * within
        keep = layout.keep
        convolved = layout.slots is not None and layout.query_slots is not None
        parts = {
            "query_offsets": layout.query_offsets,
            "offsets": layout.offsets,
            "sampled_texts": np.flatnonzero(sampled),
            "block_texts": block_texts,
            "block_rows": block_rows,
            "sampled_rows": np.flatnonzero(sampled_rows) if both else None,
            "exact_rows": np.flatnonzero(~sampled_rows) if both else None,
            "query_text": np.repeat(texts, queries) if convolved else None,
            "query_slots": layout.query_slots,
            "slots": layout.slots,
            "keep": None if keep is None else np.ascontiguousarray(keep, np.float32).view(np.int32),
        }
        here = {name: part for name, part in parts.items() if part is not None}
        ends = np.cumsum([len(part) for part in here.values()]).tolist()
        whole = cupy.asarray(np.concatenate(list(here.values())).astype(np.int32))
        arrays: dict[str, Any] = dict.fromkeys(parts)
        for (name, part), end in zip(here.items(), ends, strict=True):
            arrays[name] = whole[end - len(part) : end]
        if arrays["keep"] is not None:
            arrays["keep"] = arrays["keep"].view(np.float32)
        return cls(layout, **arrays)


@dataclass(frozen=True)
class CudaHashFunctions:
    """A layer's hash functions on the device.

    Attributes:
        num_hash: how many.
        parts: rotations of the fast hash.
        width: of one rotation.
        bits: uint32 [heads, 3, parts, words], a bit for each sign; None for the slow hash.
        projection: float32 [heads, head_dim, num_hash * hash_code_len]; None for the fast hash.
    """

    num_hash: int
    parts: int = 0
    width: int = 0
    bits: Array | None = None
    projection: Array | None = None

    @classmethod
    def of(cls, cupy: Any, functions: HashFunctions) -> CudaHashFunctions:
        """Copy hash functions to the current device, in the order of the current stream."""
        if functions.signs is not None:
            parts, width = functions.signs.shape[2:]
            bits = cupy.asarray(pack_signs(functions.signs))
            return cls(functions.num_hash, parts, width, bits=bits)
        projection = cupy.asarray(np.ascontiguousarray(functions.projection, np.float32))
        return cls(functions.num_hash, projection=projection)


class AttentionKernels:
    """Hashing, cumulation, the expectation and what follows them, on the current device.

    Args:
        cupy: the module.
        device: of cupy, what to fit the tables and the blocks to.
        launch: compiles and launches kernels.
        dtype: of activations; codes, norms and sums do not depend on it.
        tensor_cores: multiply by them in the exact form, where heads are not too wide.
    """

    def __init__(
        self,
        cupy: Any,
        device: Any,
        launch: Launcher,
        dtype: np.dtype[Any],
        tensor_cores: bool,
    ) -> None:
        self.xp = cupy
        self._tensor_cores = tensor_cores
        self.dtype = dtype
        turing = int(device.compute_capability) < 80
        self._buckets = TURING_BUCKETS if turing else BUCKETS
        self._full = FULL * int(device.attributes["MultiProcessorCount"])
        self._launch = launch

    def codes(
        self, query: Array, key: Array, functions: CudaHashFunctions, hash_code_len: int
    ) -> tuple[Array, Array]:
        """Hash queries and keys [rows, heads * dim]: uint16 [heads, num_hash, rows] of each."""
        if functions.bits is not None:
            return self._hadamard_hash(query, key, functions, hash_code_len)
        return (
            self._gaussian_codes(query, functions, hash_code_len),
            self._gaussian_codes(key, functions, hash_code_len),
        )

    def _hadamard_hash(
        self, query: Array, key: Array, functions: CudaHashFunctions, hash_code_len: int
    ) -> tuple[Array, Array]:
        bits, num_hash = functions.bits, functions.num_hash
        assert bits is not None
        heads, parts, width = len(bits), functions.parts, functions.width
        query_codes = self.xp.empty((heads, num_hash, len(query)), np.uint16)
        key_codes = self.xp.empty((heads, num_hash, len(key)), np.uint16)
        tokens, threads = hash_shape(width)
        query_blocks = -(-len(query) // tokens)
        self._launch(
            "hadamard_hash",
            (query_blocks + -(-len(key) // tokens), heads),
            threads,
            query,
            stride_of(query),
            len(query),
            query_blocks,
            key,
            stride_of(key),
            len(key),
            query.shape[1] // heads,
            bits,
            parts,
            num_hash,
            query_codes,
            key_codes,
            WIDTH=width,
            CODE_LEN=hash_code_len,
            VECTOR=4 if all(in_fours(rows, heads) for rows in (query, key)) else 1,
        )
        return query_codes, key_codes

    def _gaussian_codes(self, x: Array, functions: CudaHashFunctions, hash_code_len: int) -> Array:
        matrix = functions.projection
        assert matrix is not None
        heads, dim, columns = matrix.shape
        rows = x.astype(np.float32, copy=False).reshape(len(x), heads, dim).transpose(1, 0, 2)
        codes = self.xp.empty((heads, functions.num_hash, len(x)), np.uint16)
        at_once = max(1, PROJECTED_BYTES // max(4 * len(x) * columns, 1))
        for first in range(0, heads, at_once):
            part = slice(first, first + at_once)
            self._launch(
                "sign_codes",
                (-(-codes[part].size // 256),),
                256,
                self.xp.matmul(rows[part], matrix[part]),
                len(x),
                len(codes[part]),
                functions.num_hash,
                hash_code_len,
                codes[part],
            )
        return codes

    def cumulate(
        self, query_codes: Array, key_codes: Array, value: Array, where: CudaLayout
    ) -> Array:
        """Return partial sums of groups of hashes, float32 [groups, queries, heads * value_dim].

        Only the rows of sampled texts are written.
        """
        num_hash, queries = query_codes.shape[1:]
        heads, hash_code_len = where.layout.heads, where.layout.hash_code_len
        dim = value.shape[1] // heads
        slices, texts = -(-dim // SLICE), len(where.sampled_texts)
        # More groups only where one text's blocks would not fill the device, for each is one more
        # array of sums. Never by how many texts there are: a text's sums must not depend on others.
        groups = min(-(-self._full // (slices * heads)), -(-num_hash // TABLES), MAX_GROUPS)
        per_group = -(-num_hash // groups)
        groups = -(-num_hash // per_group)
        buckets = min(self._buckets, 1 << hash_code_len)
        partial = self.xp.empty((groups, queries, value.shape[1]), np.float32)
        self._launch(
            "lsh_cumulation",
            (slices * texts, heads, groups),
            256,
            query_codes,
            queries,
            key_codes,
            key_codes.shape[2],
            value,
            stride_of(value),
            where.sampled_texts,
            where.query_offsets,
            where.offsets,
            slices,
            dim,
            num_hash,
            per_group,
            hash_code_len,
            partial,
            shared_bytes=4 * TABLES * (buckets + 1) * SLICE,
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
        where: CudaLayout,
    ) -> Array:
        """Return YOSO-E's sums, float32 [1, queries, heads * value_dim].

        query_scale and key_scale, float32 [rows, heads], are what normalises a row. Only the rows
        of exact texts are written.
        """
        heads = where.layout.heads
        dim, value_dim = query.shape[1] // heads, value.shape[1] // heads
        sums = self.xp.empty((1, len(query), value.shape[1]), np.float32)
        name, threads, columns = "expected_attention", EXPECT_THREADS, COLUMNS
        sizes = {"CHUNK": min(MAX_CHUNK, 1 << max(dim - 1, 7).bit_length())}
        if self._tensor_cores and dim <= TENSOR_DIM:
            name, threads = "tensor_attention", TENSOR_THREADS
            columns = min(COLUMNS, up(value_dim, 8))
            sizes = {"DIM": up(dim, 16), "COLUMNS": columns}
        self._launch(
            name,
            (len(where.block_rows), heads, -(-value_dim // columns)),
            threads,
            query,
            stride_of(query),
            query_scale,
            key,
            stride_of(key),
            key_scale,
            value,
            stride_of(value),
            where.block_texts,
            where.block_rows,
            where.query_offsets,
            where.offsets,
            dim,
            value_dim,
            sums,
            CODE_LEN=where.layout.hash_code_len,
            **sizes,
        )
        return sums

    def finish(
        self,
        partial: Array,
        which: Array | None,
        heads: int,
        scale: float,
        out: Array,
        *,
        normalize: bool,
    ) -> None:
        """Add partial sums [groups, rows, width], scale, and L2-normalise each head if asked.

        out [rows, width] gets the rows `which`, int32 [k]; None for all.
        """
        groups, rows, width = partial.shape
        count = rows if which is None else len(which)
        self._launch(
            "normalize_heads",
            (-(-count * heads // 8),),
            256,
            partial,
            groups,
            rows,
            which,
            count,
            heads,
            width // heads,
            scale,
            int(normalize),
            out,
        )

    def inverse_norms(self, query: Array, key: Array, heads: int) -> tuple[Array, Array]:
        """Return 1 over the L2 norm of each head of each row, float32 [rows, heads] of each."""
        scales = [self.xp.empty((len(rows), heads), np.float32) for rows in (query, key)]
        self._launch(
            "inverse_norms",
            (-(-(len(query) + len(key)) * heads // 8),),
            256,
            query,
            stride_of(query),
            len(query),
            key,
            stride_of(key),
            len(key),
            heads,
            query.shape[1] // heads,
            *scales,
            CODE_LEN=1,
            CHUNK=8,
        )
        return scales[0], scales[1]


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


def in_fours(rows: Array, heads: int) -> bool:
    """Whether each head of each row can be loaded four elements at a time."""
    dim, align = rows.shape[1] // heads, 4 * rows.itemsize
    return bool(dim % 4 == 0 and rows.strides[0] % align == 0 and rows.data.ptr % align == 0)


def up(size: int, to: int) -> int:
    """Return a size rounded up to a multiple."""
    return -(-size // to) * to


def stride_of(x: Array) -> int:
    """Elements from one row to the next."""
    return int(x.strides[0] // x.itemsize)
