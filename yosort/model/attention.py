"""YOSO attention: which of its two forms runs, with which hash functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import is_integer
from yosort.config import YosoConfig
from yosort.errors import ConfigError, InputError, show
from yosort.model.batch import PackedBatch
from yosort.ops.hashing import gaussian_projection, hash_signs
from yosort.ops.interface import Array, HashFunctions, Heads, Ops
from yosort.tuning.costs import DEFAULT_COSTS

MODES = ("expectation", "sampled", "auto")
#: More tokens than any text has.
NEVER = 2**62


@dataclass(frozen=True)
class Attention:
    """One way to attend, for all layers of one call.

    Attributes:
        functions: the hash functions of each layer; none are needed for the expectation, which is
            what the sampled form gives on average (paper, section 3.1).
        sampled_from: texts of at least so many tokens are sampled, shorter ones are exact.
    """

    config: YosoConfig
    functions: tuple[HashFunctions, ...] = ()
    sampled_from: int = NEVER

    def context(
        self,
        ops: Ops,
        qkv: Array,
        layer: int,
        batch: PackedBatch,
        rows: npt.NDArray[np.int64] | None,
        conv_weight: Array | None,
    ) -> Array:
        """Attend within each text of the batch.

        Args:
            ops: the backend.
            qkv: [total, 3 * hidden], queries, keys and values side by side.
            layer: which layer's hash functions to use.
            batch: where the texts begin and end.
            rows: int64 [k] ascending, the packed rows to answer; None for all.
            conv_weight: [heads, window], or None for a model without convolution.

        Returns:
            [k or total, hidden]: each head's sums, L2-normalised, plus the convolution.
        """
        hidden = self.config.hidden_size
        query, key, value = (qkv[:, i * hidden : (i + 1) * hidden] for i in range(3))
        query_offsets, query_slots = batch.offsets, batch.slots
        if rows is not None:
            query = ops.take(query, rows)
            query_offsets, query_slots = batch.offsets_of(rows), batch.slots[rows]
        heads = Heads(
            self.config.num_attention_heads, self.config.hash_code_len, query_offsets, batch.offsets
        )
        context = self._sums(ops, query, key, value, heads, layer)
        if conv_weight is None:
            return context
        return ops.add_convolution(
            context, value, conv_weight, heads, query_slots, batch.slots, batch.keep
        )

    def _sums(
        self, ops: Ops, query: Array, key: Array, value: Array, heads: Heads, layer: int
    ) -> Array:
        """Return each head's sums [query rows, hidden], every text in the form of its length."""
        sampled = np.diff(heads.offsets) >= self.sampled_from
        if not sampled.any():
            return ops.expected_attention(query, key, value, heads)
        if sampled.all():
            return ops.sampled_attention(query, key, value, heads, self.functions[layer])
        halves = []
        for texts in (sampled, ~sampled):
            part, query_rows, rows = _part(heads, texts)
            q, k, v = ops.take(query, query_rows), ops.take(key, rows), ops.take(value, rows)
            sums = self._sums(ops, q, k, v, part, layer)
            halves.append(ops.put(sums, query_rows, len(query)))
        # Each row is zero in the other half: adding rounds nothing.
        return halves[0] + halves[1]


def _part(
    heads: Heads, texts: npt.NDArray[np.bool_]
) -> tuple[Heads, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return some of the texts (a mask [texts]) by themselves: offsets, query rows, key rows."""
    query_lengths, lengths = np.diff(heads.query_offsets), np.diff(heads.offsets)
    part = Heads(
        heads.count,
        heads.hash_code_len,
        np.append(0, np.cumsum(query_lengths[texts])),
        np.append(0, np.cumsum(lengths[texts])),
    )
    query_rows = np.flatnonzero(np.repeat(texts, query_lengths))
    return part, query_rows, np.flatnonzero(np.repeat(texts, lengths))


def draw_attention(config: YosoConfig, mode: str, num_hash: int, seed: int) -> Attention:
    """Choose the form, and draw the hash functions of every layer from (seed, layer).

    Args:
        config: the architecture.
        mode: as `check_mode` returned it.
        num_hash: hash functions a layer.
        seed: of the functions.
    """
    form, _, length = mode.partition(":")
    if form == "expectation":
        return Attention(config)
    functions = tuple(
        _draw(config, num_hash, (seed, layer)) for layer in range(config.num_hidden_layers)
    )
    if form == "sampled":
        return Attention(config, functions, sampled_from=0)
    threshold = int(length) if length else DEFAULT_COSTS.sampled_from(config, num_hash)
    return Attention(config, functions, sampled_from=threshold)


def _draw(config: YosoConfig, num_hash: int, seed: tuple[int, int]) -> HashFunctions:
    heads, head_dim, length = config.num_attention_heads, config.head_dim, config.hash_code_len
    if config.use_fast_hash:
        signs = hash_signs(num_hash, length, head_dim, heads=heads, seed=seed)
        return HashFunctions(num_hash, signs=signs)
    projection = gaussian_projection(num_hash, length, head_dim, heads=heads, seed=seed)
    return HashFunctions(num_hash, projection=projection)


def check_mode(attention: Any) -> str | None:
    """Return the form that an option asks for (None: config.json's), or raise ConfigError."""
    if attention is None:
        return None
    mode = str.lower(attention) if isinstance(attention, str) else ""
    if mode in MODES or re.fullmatch(r"auto:[0-9]{1,18}", mode):
        return mode
    raise ConfigError(
        'attention: wanted None, "expectation", "sampled", "auto", or "auto:N" for sampling '
        f"texts of N tokens or more, got {show(attention)}"
    )


def mode_of(config: YosoConfig) -> str:
    """Return the form that config.json asks for."""
    return "expectation" if config.use_expectation else "sampled"


def check_num_hash(num_hash: Any) -> int:
    """Return a number of hash functions, or raise InputError."""
    if not is_integer(num_hash) or num_hash < 1:
        raise InputError(f"num_hash: wanted None or an integer of at least 1, got {show(num_hash)}")
    return int(num_hash)


def check_seed(seed: Any) -> int:
    """Return a seed, or raise InputError."""
    if not is_integer(seed) or seed < 0:
        raise InputError(f"seed: wanted a non-negative integer, got {show(seed)}")
    return int(seed)
