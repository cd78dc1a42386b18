"""The encoder: embeddings, layers, written once over the ops interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.checkpoint.names import BASE_PREFIX
from yosort.config import YosoConfig
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


class Encoder:
    """A stack of layers on one backend. Immutable after construction; safe to call from threads."""

    def __init__(self, config: YosoConfig, parameters: Parameters, ops: Ops) -> None:
        scope = _Scope(ops, parameters, config.layer_norm_eps, BASE_PREFIX)
        self.config = config
        self.ops = ops
        self.tables = EmbeddingTables(
            word=ops.table(scope["embeddings.word_embeddings.weight"]),
            position=ops.table(scope["embeddings.position_embeddings.weight"]),
            token_type=ops.table(scope["embeddings.token_type_embeddings.weight"]),
            norm=scope.layer_norm("embeddings.LayerNorm"),
        )
        self.layers = [
            _prepare_layer(config, scope, f"encoder.layer.{i}.")
            for i in range(config.num_hidden_layers)
        ]

    def begin(self, inputs: PackedInputs) -> tuple[Array, Array]:
        """Return what no hash function changes: the embeddings, and the first layer's q, k, v."""
        x = self.ops.embed(self.tables, inputs.words, inputs.positions, inputs.token_types)
        return x, self.ops.linear(x, self.layers[0].qkv)

    def __call__(
        self,
        batch: PackedBatch,
        begun: list[tuple[Array, Array]],
        attention: Attention,
        *,
        rows: npt.NDArray[np.int64] | None = None,
        head_mask: Array | None = None,
        keep_hidden_states: bool = False,
        keep_contexts: bool = False,
    ) -> Encoded:
        """Run all layers.

        Args:
            batch: where the texts begin and end.
            begun: what `begin` returned, once a call that is to come: this one takes one away, so
                that the last call holds the only reference and frees the arrays as it goes.
            attention: which form, with which hash functions.
            rows: int64 [k] ascending: the only rows of the last layer that are wanted; None for
                all.
            head_mask: [layers, heads], factors of each head's context, or None.
            keep_hidden_states: return every layer's output.
            keep_contexts: return every layer's attention context.
        """
        ops, last_layer = self.ops, len(self.layers) - 1
        hidden_states, contexts = [], []
        x, qkv = begun.pop()
        for i, layer in enumerate(self.layers):
            if keep_hidden_states:
                hidden_states.append(x)
            wanted = rows if i == last_layer else None
            context = attention.context(ops, qkv, i, batch, wanted, layer.conv_weight)
            if head_mask is not None:
                context = context * head_mask[i].repeat(self.config.head_dim)
            if keep_contexts:
                contexts.append(context)
            if wanted is not None:
                x = ops.take(x, wanted)
            following = None if i == last_layer else self.layers[i + 1].qkv
            x, qkv = ops.layer_tail(context, x, layer.tail, following)
        if keep_hidden_states:
            hidden_states.append(x)
        return Encoded(x, tuple(hidden_states), tuple(contexts))


class _Scope:
    """Parameters by the end of their names, prepared for one backend."""

    def __init__(self, ops: Ops, parameters: Parameters, eps: float, prefix: str) -> None:
        self.ops, self.parameters, self.eps, self.prefix = ops, parameters, eps, prefix

    def __getitem__(self, name: str) -> Any:
        return self.parameters[self.prefix + name]

    def layer_norm(self, name: str) -> LayerNorm:
        return LayerNorm(
            self.ops.parameter(self[name + ".weight"]),
            self.ops.parameter(self[name + ".bias"]),
            self.eps,
        )

    def linear(self, name: str) -> Any:
        return self.ops.linear_map(
            [self[name + ".weight"]], [self[name + ".bias"]], name=self.prefix + name
        )


def _prepare_layer(config: YosoConfig, scope: _Scope, name: str) -> Layer:
    parts = [name + f"attention.self.{part}" for part in ("query", "key", "value")]
    qkv = scope.ops.linear_map(
        [scope[part + ".weight"] for part in parts],
        [scope[part + ".bias"] for part in parts],
        name=f"{scope.prefix}{name}attention.self",
    )
    conv_weight = None
    if config.conv_window is not None:
        kernel = scope.ops.parameter(scope[name + "attention.self.conv.weight"])
        conv_weight = kernel.reshape(config.num_attention_heads, -1)
    tail = LayerTail(
        output=scope.linear(name + "attention.output.dense"),
        norm1=scope.layer_norm(name + "attention.output.LayerNorm"),
        up=scope.linear(name + "intermediate.dense"),
        activation=config.hidden_act,
        down=scope.linear(name + "output.dense"),
        norm2=scope.layer_norm(name + "output.LayerNorm"),
    )
    return Layer(qkv, conv_weight, tail)
