"""The encoder: embeddings, layers, written once over the ops interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.config import YosoConfig
from yosort.model import architectures as names
from yosort.model.architectures import BASE_PREFIX, layer_prefix
from yosort.model.attention import Attention
from yosort.model.batch import PackedBatch
from yosort.ops.interface import Array, EmbeddingTables, LayerNorm, LayerTail, Ops
from yosort.quantized import Weight

Parameters = Mapping[str, Weight]


@dataclass(frozen=True)
class PackedInputs:
    """What the encoder reads: one entry per packed token.

    Attributes:
        batch: where the texts begin and end.
        words: ids int64 [total], or embeddings [total, hidden] in place of the word table's.
        positions: int64 [total], rows of the position table.
        token_types: int64 [total], rows of the token type table.
    """

    batch: PackedBatch
    words: Array
    positions: npt.NDArray[np.int64]
    token_types: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """What the encoder returns, packed.

    Attributes:
        last: [total, hidden], or [k, hidden] where only k rows were asked for.
        hidden_states: embeddings and each layer's output, [total, hidden] each; empty unless kept.
        contexts: each layer's attention context, [total, hidden] each; empty unless kept.
    """

    last: Array
    hidden_states: tuple[Array, ...]
    contexts: tuple[Array, ...]


@dataclass(frozen=True)
class Layer:
    """One layer's prepared weights: q, k, v in one map, the convolution, and the rest."""

    qkv: Any
    conv_weight: Array | None
    tail: LayerTail

    def finish(self, ops: Ops, context: Array, x: Array) -> Array:
        """Return the layer's output [rows, hidden] from its attention's context and its input."""
        tail = self.tail
        attended = ops.add_norm(context, tail.output, x, tail.norm1)
        inner = ops.linear(attended, tail.up, tail.activation)
        return ops.add_norm(inner, tail.down, attended, tail.norm2)

    def map(self, change: Callable[[Any], Any]) -> Layer:
        """Return this layer with each of its linear maps changed."""
        tail = self.tail
        output, up, down = change(tail.output), change(tail.up), change(tail.down)
        return replace(
            self, qkv=change(self.qkv), tail=replace(tail, output=output, up=up, down=down)
        )


class Encoder:
    """A stack of layers on one backend. Immutable after construction; safe to call from threads."""

    def __init__(
        self, config: YosoConfig, ops: Ops, tables: EmbeddingTables, layers: Sequence[Layer]
    ) -> None:
        self.config = config
        self.ops = ops
        self.tables = tables
        self.layers = tuple(layers)
        following = [layer.qkv for layer in self.layers[1:]] + [None]
        self._fused = [
            ops.fuse(layer.tail, after) for layer, after in zip(self.layers, following, strict=True)
        ]

    def __call__(
        self,
        inputs: PackedInputs,
        attentions: Sequence[Attention],
        *,
        rows: npt.NDArray[np.int64] | None = None,
        head_mask: Array | None = None,
        keep_hidden_states: bool = False,
        keep_contexts: bool = False,
    ) -> Iterator[Encoded]:
        """Run all layers, once for each attention, which share what no hash function changes.

        Args:
            inputs: the packed tokens.
            attentions: at least one.
            rows: int64 [k] ascending: the only rows of the last layer that are wanted; None for
                all.
            head_mask: [layers, heads], factors of each head's context, or None.
            keep_hidden_states: return every layer's output.
            keep_contexts: return every layer's attention context.
        """
        ops, last_layer = self.ops, len(self.layers) - 1
        # Attentions of one call differ in their hash functions alone.
        every = attentions[0].plan(ops, inputs.batch, None)
        last = every if rows is None else attentions[0].plan(ops, inputs.batch, rows)
        x = ops.embed(self.tables, inputs.words, inputs.positions, inputs.token_types)
        shared = (x, ops.linear(x, self.layers[0].qkv))
        for number, attention in enumerate(attentions, 1):
            hidden_states, contexts = [], []
            x, qkv = shared
            if number == len(attentions):
                del shared  # the last run holds the only reference, and frees as it goes
            for i, layer in enumerate(self.layers):
                if keep_hidden_states:
                    hidden_states.append(x)
                plan = last if i == last_layer else every
                context = attention.context(ops, qkv, i, plan, layer.conv_weight)
                if head_mask is not None:
                    context = context * head_mask[i].repeat(self.config.head_dim)
                if keep_contexts:
                    contexts.append(context)
                if plan.wanted is not None:
                    x = ops.take(x, plan.wanted)
                x, qkv = self._finish(i, context, x)
            if keep_hidden_states:
                hidden_states.append(x)
            yield Encoded(x, tuple(hidden_states), tuple(contexts))

    def _finish(self, i: int, context: Array, x: Array) -> tuple[Array, Array | None]:
        """Return layer i's output, and the next one's q, k, v."""
        fused = self._fused[i]
        if fused is not None and fused.pays(len(x)):
            return fused(context, x)
        x = self.layers[i].finish(self.ops, context, x)
        if i + 1 == len(self.layers):
            return x, None
        return x, self.ops.linear(x, self.layers[i + 1].qkv)


class Scope:
    """The encoder's parameters by the end of their names, prepared for one backend."""

    def __init__(self, config: YosoConfig, parameters: Parameters, ops: Ops) -> None:
        self.config, self.parameters, self.ops = config, parameters, ops

    def __getitem__(self, name: str) -> Any:
        return self.parameters[BASE_PREFIX + name]

    def layer_norm(self, name: str) -> LayerNorm:
        return LayerNorm(
            self.ops.parameter(self[name + ".weight"]),
            self.ops.parameter(self[name + ".bias"]),
            self.config.layer_norm_eps,
        )

    def linear(self, name: str) -> Any:
        return self.ops.linear_map(
            [self[name + ".weight"]], [np.asarray(self[name + ".bias"])], name=BASE_PREFIX + name
        )

    def tables(self) -> EmbeddingTables:
        """Prepare the embeddings."""
        return EmbeddingTables(
            word=self.ops.table(self[f"{names.WORDS}.weight"]),
            position=self.ops.table(self[f"{names.POSITIONS}.weight"]),
            token_type=self.ops.table(self[f"{names.TOKEN_TYPES}.weight"]),
            norm=self.layer_norm(names.EMBEDDINGS_NORM),
        )

    def layer(self, i: int) -> Layer:
        """Prepare layer i."""
        prefix, config = layer_prefix(i), self.config
        parts = [prefix + part for part in (names.QUERY, names.KEY, names.VALUE)]
        qkv = self.ops.linear_map(
            [self[part + ".weight"] for part in parts],
            [np.asarray(self[part + ".bias"]) for part in parts],
            name=f"{BASE_PREFIX}{prefix}attention.self",
        )
        conv_weight = None
        if config.conv_window is not None:
            kernel = self.ops.parameter(self[f"{prefix}{names.CONVOLUTION}.weight"])
            conv_weight = kernel.reshape(config.num_attention_heads, -1)
        tail = LayerTail(
            output=self.linear(prefix + names.OUTPUT),
            norm1=self.layer_norm(prefix + names.NORM1),
            up=self.linear(prefix + names.UP),
            activation=config.hidden_act,
            down=self.linear(prefix + names.DOWN),
            norm2=self.layer_norm(prefix + names.NORM2),
        )
        return Layer(qkv, conv_weight, tail)


def prepare_encoder(config: YosoConfig, parameters: Parameters, ops: Ops) -> Encoder:
    """Prepare the parameters of an encoder for a backend."""
    scope = Scope(config, parameters, ops)
    layers = [scope.layer(i) for i in range(config.num_hidden_layers)]
    return Encoder(config, ops, scope.tables(), layers)
