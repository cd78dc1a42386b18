"""What a backend must offer: the model is written once over these methods.

Arrays are the backend's own (numpy on the host, cupy on a device). Token rows are packed: `x` is
[total, hidden] without padding, and `offsets` int64 [texts + 1] (host) cuts it into texts.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from yosort.quantized import Weight

Array = Any
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LayerNorm:
    """Parameters of a layer normalisation: scale and shift [hidden], and its epsilon."""

    scale: Array
    shift: Array
    eps: float


@dataclass(frozen=True)
class EmbeddingTables:
    """Word, position and token type tables [rows, hidden], and the normalisation of their sum."""

    word: Array
    position: Array
    token_type: Array
    norm: LayerNorm


@dataclass(frozen=True)
class LayerTail:
    """What follows the attention in a layer; the linear maps are as `Ops.linear_map` made them."""

    output: Any
    norm1: LayerNorm
    up: Any
    activation: str
    down: Any
    norm2: LayerNorm


@dataclass(frozen=True)
class Layout:
    """Where the rows of a call's attention stand: the same for all of its layers.

    Attributes:
        heads: number of heads; q, k and v are [rows, heads * head_dim], heads side by side.
        hash_code_len: bits per hash code, the exponent of the expectation.
        query_offsets: int64 [texts + 1], the query rows of each text.
        offsets: int64 [texts + 1], its key and value rows.
        sampled: bool [texts], whose attention is sampled; the others' is exact.
        query_slots: int32 [query rows], where in its text each stands; the convolution's alone.
        slots: int32 [rows], likewise.
        keep: float32 [rows], 0 where the convolution must not see a value; None for nowhere.
    """

    heads: int
    hash_code_len: int
    query_offsets: Offsets
    offsets: Offsets
    sampled: npt.NDArray[np.bool_]
    query_slots: npt.NDArray[np.int32] | None = None
    slots: npt.NDArray[np.int32] | None = None
    keep: npt.NDArray[np.float32] | None = None

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The texts that have queries, as few runs of neighbours of one form: no row is copied."""
        turns = np.flatnonzero(np.diff(self.sampled)) + 1
        runs = []
        for first, last in pairwise([0, *turns.tolist(), len(self.sampled)]):
            queries, keys = (o[first : last + 1] for o in (self.query_offsets, self.offsets))
            if queries[0] < queries[-1]:
                runs.append(
                    Run(
                        bool(self.sampled[first]),
                        slice(queries[0], queries[-1]),
                        slice(keys[0], keys[-1]),
                        Layout(
                            self.heads,
                            self.hash_code_len,
                            queries - queries[0],
                            keys - keys[0],
                            self.sampled[first:last],
                        ),
                    )
                )
        return tuple(runs)


@dataclass(frozen=True)
class Run:
    """Neighbouring texts of one form of attention.

    Attributes:
        is_sampled: which form.
        queries: their query rows.
        keys: their key and value rows.
        layout: of these texts by themselves.
    """

    is_sampled: bool
    queries: slice
    keys: slice
    layout: Layout


@dataclass(frozen=True)
class HashFunctions:
    """The hash functions of one layer: random signs (fast hash) or a Gaussian matrix (slow).

    Attributes:
        num_hash: how many.
        signs: int8 [heads, 3, parts, hash_dim] or None.
        projection: float32 [heads, head_dim, num_hash * hash_code_len] or None.
    """

    num_hash: int
    signs: npt.NDArray[np.int8] | None = None
    projection: npt.NDArray[np.float32] | None = None


class FusedTail(Protocol):
    """A layer's tail, and the next layer's q, k and v, in one pass over the rows."""

    def pays(self, rows: int) -> bool:
        """Whether it is faster than its steps, for so many rows."""
        ...

    def __call__(self, context: Array, x: Array) -> tuple[Array, Array | None]:
        """Return the layer's output [rows, hidden] and the next q, k, v, the steps' own bits."""
        ...


class Ops(Protocol):
    """One backend. Methods neither change their arguments nor keep state between calls."""

    name: str
    device: str
    compute_type: str  #: of the products, as the option `dtype` names it
    dtype: np.dtype[Any]  #: of the arrays between them
    xp: Any  #: the array module, numpy or cupy, for the losses

    def running(self) -> AbstractContextManager[None]:
        """Return the context of loading and of every call: all other methods are used inside it.

        Raises:
            DeviceError: on leaving, in place of the backend's own error: out of memory.
        """
        ...

    def available_memory(self) -> int | None:
        """Return the bytes that a call can still have; None where that is not known."""
        ...

    def from_host(self, array: npt.NDArray[Any]) -> Array:
        """Return a host array as one of this backend, dtype unchanged."""
        ...

    def synchronize(self) -> None:
        """Wait until what was prepared is there for every thread and stream: the end of loading."""
        ...

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """Return one of this backend's arrays as numpy."""
        ...

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> Any:
        """Prepare weights [out_i, in] and biases [out_i] once, at load, as one map for `linear`.

        Several stand for one product whose outputs lie side by side, as q, k and v do. `name` is
        what messages call it. A `head`'s map computes in the type of its inputs, even where the
        encoder's are quantised. A `table` of these very weights may share its memory with the map.
        """
        ...

    def parameter(self, array: Weight) -> Array:
        """Prepare a small parameter (a vector, a convolution) in the compute type."""
        ...

    def table(self, array: Weight) -> Array:
        """Prepare an embedding table [rows, hidden]; it may stay in its stored type and place."""
        ...

    def embed(
        self,
        tables: EmbeddingTables,
        words: Array,
        positions: npt.NDArray[np.int64],
        token_types: npt.NDArray[np.int64],
    ) -> Array:
        """Sum the three embeddings and normalise: [total, hidden].

        `words` holds ids int64 [total], or rows float [total, hidden] to take their place.
        """
        ...

    def linear(self, x: Array, linear_map: Any, activation: str = "linear") -> Array:
        """Return activation(x @ weight.T + bias), [rows, out]."""
        ...

    def layer_norm(self, x: Array, norm: LayerNorm) -> Array:
        """Normalise each row of x."""
        ...

    def add_norm(self, x: Array, linear_map: Any, residual: Array, norm: LayerNorm) -> Array:
        """Return norm(residual + x @ weight.T + bias), [rows, out]."""
        ...

    def fuse(self, tail: LayerTail, following: Any | None) -> FusedTail | None:
        """Prepare a layer's tail and the next layer's map as one, where the backend can."""
        ...

    def layout(self, layout: Layout) -> Any:
        """Prepare a layout for the attention of all layers of a call."""
        ...

    def hash_functions(self, functions: HashFunctions) -> Any:
        """Prepare a layer's hash functions, once a draw."""
        ...

    def attention(
        self, query: Array, key: Array, value: Array, layout: Any, functions: Any = None
    ) -> Array:
        """Return the context [query rows, hidden], each head's part of a row L2-normalised.

        Each text in the form that its layout says: YOSO-E, of q and k L2-normalised, or sampled
        with these hash functions, which may be None where no text is. query, key and value may be
        column slices of one array.
        """
        ...

    def add_convolution(self, context: Array, value: Array, weight: Array, layout: Any) -> Array:
        """Return context plus the depthwise convolution [heads, window] of value * keep."""
        ...

    def take(self, x: Array, rows: Array) -> Array:
        """Return the rows x[rows]; `rows` int64 [k], of this backend or of the host."""
        ...

    def put(self, x: Array, rows: Array, total: int) -> Array:
        """Return [total, ...] with x at `rows` (as of `take`) and zeros elsewhere."""
        ...
