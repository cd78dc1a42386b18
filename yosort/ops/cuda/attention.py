"""Both forms of attention on the GPU: shapes and arguments of the kernels that compute them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.ops.cuda.launcher import Launcher
from yosort.ops.cuda.resident import Resident
from yosort.ops.interface import Array, HashFunctions, Heads

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


class AttentionKernels:
    """Hashing, cumulation, the expectation and what follows them, on the current device.

    Args:
        cupy: the module.
        device: of cupy, what to fit the tables to.
        launch: compiles and launches kernels.
        resident: places small host arrays.
        dtype: of activations; codes, norms and sums do not depend on it.
    """

    def __init__(
        self,
        cupy: Any,
        device: Any,
        launch: Launcher,
        resident: Resident,
        dtype: np.dtype[Any],
    ) -> None:
        self.xp = cupy
        self.device = device
        self.dtype = dtype
        self._launch = launch
        self._resident = resident

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
        bits = self._resident(signs, pack_signs)
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
        )
        return query_codes, key_codes

    def gaussian_codes(self, x: Array, functions: HashFunctions, hash_code_len: int) -> Array:
        """Hash rows by hyperplanes: codes uint16 [heads, num_hash, rows]."""
        assert functions.projection is not None
        heads, dim, columns = functions.projection.shape
        matrix = self._resident(functions.projection, np.ascontiguousarray)
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
        limit = TURING_BUCKETS if int(self.device.compute_capability) < 80 else BUCKETS
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
            stride_of(value),
            self._resident.indices(heads.query_offsets),
            self._resident.indices(heads.offsets),
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
            stride_of(query),
            query_scale,
            key,
            stride_of(key),
            key_scale,
            value,
            stride_of(value),
            self._resident.indices(np.array(texts, np.int32)),
            self._resident.indices(np.array(rows, np.int32)),
            self._resident.indices(heads.query_offsets),
            self._resident.indices(heads.offsets),
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

    def inverse_norms(self, x: Array, heads: int) -> Array:
        """Return 1 over the L2 norm of each head of each row, float32 [rows, heads]."""
        scale = self.xp.empty((len(x), heads), np.float32)
        self._launch(
            "inverse_norms",
            (-(-scale.size // 8),),
            256,
            x,
            stride_of(x),
            len(x),
            heads,
            x.shape[1] // heads,
            scale,
            CODE_LEN=1,
            CHUNK=8,
        )
        return scale


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


def stride_of(x: Array) -> int:
    """Elements from one row to the next."""
    return int(x.strides[0] // x.itemsize)
