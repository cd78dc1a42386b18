"""The reference backend: the whole interface in plain NumPy, for tests and for reading."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.ops import definitions
from yosort.ops.host import HostOps
from yosort.ops.interface import (
    Array,
    EmbeddingTables,
    FusedTail,
    HashFunctions,
    LayerNorm,
    LayerTail,
    Layout,
)
from yosort.quantized import Weight


class PlainOps(HostOps):
    """Every op as its definition says, in float64. Slow, and n x n arrays: only for short texts."""

    name = "reference"
    compute_type = "float64"
    dtype = np.dtype(np.float64)

    def running(self) -> AbstractContextManager[None]:
        """See `Ops.running`."""
        return nullcontext()

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> Any:
        """See `Ops.linear_map`."""
        return (
            np.concatenate(weights).astype(np.float64),
            np.concatenate(biases).astype(np.float64),
        )

    def parameter(self, array: Weight) -> Array:
        """See `Ops.parameter`."""
        return np.asarray(array, np.float64)

    def table(self, array: Weight) -> Array:
        """See `Ops.table`."""
        return np.asarray(array, np.float64)

    def embed(
        self,
        tables: EmbeddingTables,
        words: Array,
        positions: npt.NDArray[np.int64],
        token_types: npt.NDArray[np.int64],
    ) -> Array:
        """See `Ops.embed`."""
        rows = tables.word[words] if words.ndim == 1 else words
        total = rows + tables.position[positions] + tables.token_type[token_types]
        return self.layer_norm(total, tables.norm)

    def linear(self, x: Array, linear_map: Any, activation: str = "linear") -> Array:
        """See `Ops.linear`."""
        weight, bias = linear_map
        return definitions.activate(x @ weight.T + bias, activation)

    def layer_norm(self, x: Array, norm: LayerNorm) -> Array:
        """See `Ops.layer_norm`."""
        return definitions.layer_norm(x, norm.scale, norm.shift, norm.eps)

    def add_norm(self, x: Array, linear_map: Any, residual: Array, norm: LayerNorm) -> Array:
        """See `Ops.add_norm`."""
        return self.layer_norm(residual + self.linear(x, linear_map), norm)

    def fuse(self, tail: LayerTail, following: Any | None) -> FusedTail | None:
        """See `Ops.fuse`: nothing is."""
        return None

    def hash_functions(self, functions: HashFunctions) -> HashFunctions:
        """See `Ops.hash_functions`: there is nothing to prepare."""
        return functions

    def attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        layout: Layout,
        functions: HashFunctions | None = None,
    ) -> Array:
        """See `Ops.attention`."""
        context = np.zeros(query.shape)
        for index, (q, k, v, out) in enumerate(_units(query, key, value, context, layout)):
            text, head = divmod(index, layout.heads)
            if layout.sampled[text]:
                assert functions is not None
                sums = definitions.lsh_cumulation(
                    self._codes(q, layout.hash_code_len, functions, head),
                    self._codes(k, layout.hash_code_len, functions, head),
                    v[None],
                    hash_code_len=layout.hash_code_len,
                )
            else:
                sums = definitions.expected_attention(
                    definitions.l2_normalize(q)[None],
                    definitions.l2_normalize(k)[None],
                    v[None],
                    hash_code_len=layout.hash_code_len,
                )
            out[:] = definitions.l2_normalize(sums[0])
        return context

    def _codes(
        self, rows: Array, hash_code_len: int, functions: HashFunctions, head: int
    ) -> definitions.Codes:
        if functions.signs is not None:
            return definitions.fast_hash(
                rows[None].astype(np.float32),
                functions.signs[head : head + 1],
                num_hash=functions.num_hash,
                hash_code_len=hash_code_len,
            )
        assert functions.projection is not None
        return definitions.gaussian_hash(
            rows[None],
            functions.projection[head : head + 1],
            num_hash=functions.num_hash,
            hash_code_len=hash_code_len,
        )

    def add_convolution(self, context: Array, value: Array, weight: Array, layout: Layout) -> Array:
        """See `Ops.add_convolution`."""
        slots, query_slots = layout.slots, layout.query_slots
        assert slots is not None
        assert query_slots is not None
        out = context.copy()
        if layout.keep is not None:
            value = value * layout.keep[:, None]
        for begin, end, q_begin, q_end in _bounds(layout):
            width = value.shape[1] // layout.heads
            rows = value[begin:end].reshape(end - begin, layout.heads, width)
            convolved = definitions.depthwise_convolution(rows, weight, slots[begin:end])
            wanted = np.isin(slots[begin:end], query_slots[q_begin:q_end])
            out[q_begin:q_end] += convolved[wanted].reshape(q_end - q_begin, value.shape[1])
        return out


def _bounds(layout: Layout) -> list[tuple[int, int, int, int]]:
    """Return (key begin, key end, query begin, query end) of each text."""
    keys, queries = layout.offsets.tolist(), layout.query_offsets.tolist()
    return list(zip(keys[:-1], keys[1:], queries[:-1], queries[1:], strict=True))


def _units(
    query: Array, key: Array, value: Array, context: Array, layout: Layout
) -> list[tuple[Array, Array, Array, Array]]:
    """Return the q, k, v and output views of each text and head, heads fastest."""
    width = query.shape[1] // layout.heads
    units = []
    for begin, end, q_begin, q_end in _bounds(layout):
        for head in range(layout.heads):
            columns = slice(head * width, (head + 1) * width)
            units.append(
                (
                    query[q_begin:q_end, columns],
                    key[begin:end, columns],
                    value[begin:end, columns],
                    context[q_begin:q_end, columns],
                )
            )
    return units
