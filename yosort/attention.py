"""YOSO attention: which of its two forms runs, with which hash functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.batch import PackedBatch
from yosort.config import YosoConfig
from yosort.errors import ConfigError, InputError
from yosort.ops.interface import Array, HashFunctions, Heads, Ops
from yosort.ops.signs import gaussian_projection, hash_signs

MODES = ("expectation", "sampled")


@dataclass(frozen=True)
class Attention:
    """One way to attend, for all layers of one call.

    Attributes:
        functions: the hash functions of each layer, or None for the expectation, which is what
            the sampled form gives on average (paper, section 3.1).
    """

    config: YosoConfig
    functions: tuple[HashFunctions, ...] | None

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
        if self.functions is None:
            context = ops.expected_attention(query, key, value, heads)
        else:
            context = ops.sampled_attention(query, key, value, heads, self.functions[layer])
        if conv_weight is None:
            return context
        return ops.add_convolution(
            context, value, conv_weight, heads, query_slots, batch.slots, batch.keep
        )


def draw_attention(config: YosoConfig, mode: str, num_hash: int, seed: int) -> Attention:
    """Choose the form, and draw the hash functions of every layer from (seed, layer)."""
    if mode == "expectation":
        return Attention(config, None)
    return Attention(
        config,
        tuple(_draw(config, num_hash, (seed, layer)) for layer in range(config.num_hidden_layers)),
    )


def _draw(config: YosoConfig, num_hash: int, seed: tuple[int, int]) -> HashFunctions:
    heads, head_dim, length = config.num_attention_heads, config.head_dim, config.hash_code_len
    if config.use_fast_hash:
        signs = hash_signs(num_hash, length, head_dim, heads=heads, seed=seed)
        return HashFunctions(num_hash, signs=signs)
    projection = gaussian_projection(num_hash, length, head_dim, heads=heads, seed=seed)
    return HashFunctions(num_hash, projection=projection)


def check_mode(attention: str | None, config: YosoConfig) -> str:
    """Return the form that a load option (None: config.json) asks for, or raise ConfigError."""
    if attention is None:
        return "expectation" if config.use_expectation else "sampled"
    if attention not in MODES:
        raise ConfigError(f'attention: wanted None, "expectation" or "sampled", got {attention!r}')
    return attention


def check_num_hash(num_hash: Any, config: YosoConfig) -> int:
    """Return the number of hash functions that an option (None: config.json) asks for."""
    if num_hash is None:
        return config.num_hash
    if not isinstance(num_hash, (int, np.integer)) or isinstance(num_hash, bool) or num_hash < 1:
        raise InputError(f"num_hash: wanted None or an integer of at least 1, got {num_hash!r}")
    return int(num_hash)


def check_seed(seed: Any) -> int:
    """Return a seed, or raise InputError."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed: wanted a non-negative integer, got {seed!r}")
    return int(seed)
