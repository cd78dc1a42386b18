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
from yosort.ops.interface import Array, HashFunctions, Layout, Ops
from yosort.tuning.costs import DEFAULT_COSTS

MODES = ("expectation", "sampled", "auto")
#: More tokens than any text has.
NEVER = 2**62


@dataclass(frozen=True)
class Plan:
    """The rows of one call, prepared for every layer that answers the same of them.

    Attributes:
        wanted: int64 [k], the packed rows to answer; None for all.
        layout: of all texts, as the backend prepared it.
    """

    wanted: Array | None
    layout: Any


@dataclass(frozen=True)
class Attention:
    """One way to attend, for all layers of one call.

    Attributes:
        config: the architecture.
        functions: the hash functions of each layer, as the backend prepared them; none are needed
            for the expectation, which is what the sampled form gives on average (paper, section
            3.1).
        sampled_from: texts of at least so many tokens are sampled, shorter ones are exact.
    """

    config: YosoConfig
    functions: tuple[Any, ...] = ()
    sampled_from: int = NEVER

    def plan(self, ops: Ops, batch: PackedBatch, rows: npt.NDArray[np.int64] | None) -> Plan:
        """Prepare a batch, whose `rows` (int64 [k] ascending; None for all) are to be answered."""
        query_offsets, query_slots = batch.offsets, batch.slots
        if rows is not None:
            query_offsets, query_slots = batch.offsets_of(rows), batch.slots[rows]
        layout = Layout(
            self.config.num_attention_heads,
            self.config.hash_code_len,
            query_offsets,
            batch.offsets,
            np.diff(batch.offsets) >= self.sampled_from,
            query_slots,
            batch.slots,
            batch.keep,
        )
        return Plan(None if rows is None else ops.from_host(rows), ops.layout(layout))

    def context(
        self, ops: Ops, qkv: Array, layer: int, plan: Plan, conv_weight: Array | None
    ) -> Array:
        """Attend within each text of a batch.

        Args:
            ops: the backend.
            qkv: [total, 3 * hidden], queries, keys and values side by side.
            layer: which layer's hash functions to use.
            plan: of the batch, with the rows to answer.
            conv_weight: [heads, window], or None for a model without convolution.

        Returns:
            [k or total, hidden]: each head's sums, L2-normalised, plus the convolution.
        """
        hidden = self.config.hidden_size
        query, key, value = (qkv[:, i * hidden : (i + 1) * hidden] for i in range(3))
        if plan.wanted is not None:
            query = ops.take(query, plan.wanted)
        functions = self.functions[layer] if self.functions else None
        context = ops.attention(query, key, value, plan.layout, functions)
        if conv_weight is None:
            return context
        return ops.add_convolution(context, value, conv_weight, plan.layout)


def draw_attention(ops: Ops, config: YosoConfig, mode: str, num_hash: int, seed: int) -> Attention:
    """Choose the form, and draw the hash functions of every layer from (seed, layer).

    Args:
        ops: the backend to prepare them for.
        config: the architecture.
        mode: as `check_mode` returned it.
        num_hash: hash functions a layer.
        seed: of the functions.
    """
    form, _, length = mode.partition(":")
    if form == "expectation":
        return Attention(config)
    functions = tuple(
        ops.hash_functions(draw_hash_functions(config, num_hash, (seed, layer)))
        for layer in range(config.num_hidden_layers)
    )
    if form == "sampled":
        return Attention(config, functions, sampled_from=0)
    threshold = int(length) if length else DEFAULT_COSTS.sampled_from(config, num_hash)
    return Attention(config, functions, sampled_from=threshold)


def draw_hash_functions(config: YosoConfig, num_hash: int, seed: tuple[int, int]) -> HashFunctions:
    """Draw the functions of one layer; `seed` is (seed, layer)."""
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
