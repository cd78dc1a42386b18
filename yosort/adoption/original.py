"""The encoder that is adopted: YOSO's layers around softmax attention.

Everything but the attention is the model's own code. On the backend `PlainOps` all of it is plain
NumPy in float64, which the tests compare with transformers; on the CPU's it is fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from yosort.adoption.texts import Tokens
from yosort.model.encoder import Encoder, Layer
from yosort.ops.interface import Array, Ops


def embed(encoder: Encoder, tokens: Tokens) -> Array:
    """Return the embeddings [total, hidden], which the original and the new model share."""
    types = np.zeros(len(tokens.ids), np.int64)
    return encoder.ops.embed(encoder.tables, tokens.ids, tokens.positions, types)


def by_head(x: Array, length: int, heads: int) -> Array:
    """Return rows [texts * length, hidden] as [texts, heads, length, head_dim]."""
    return x.reshape(-1, length, heads, x.shape[1] // heads).transpose(0, 2, 1, 3)


def rows_of(x: Array) -> Array:
    """Return what `by_head` took apart, as rows again."""
    texts, heads, length, width = x.shape
    return x.transpose(0, 2, 1, 3).reshape(texts * length, heads * width)


def softmax_weights(query: Array, key: Array, length: int, heads: int) -> Array:
    """Return softmax(q . k / sqrt(head_dim)), [texts, heads, length, length], of rows of texts."""
    width = query.shape[1] // heads
    weights = by_head(query, length, heads) @ by_head(key, length, heads).swapaxes(-1, -2)
    weights *= 1 / math.sqrt(width)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def softmax_attention(query: Array, key: Array, value: Array, tokens: Tokens, heads: int) -> Array:
    """Return the sums of values, so weighed, within each text and head: [total, hidden].

    Texts of one length are computed together, so there is neither padding nor a mask.
    """
    context = np.empty_like(query)
    for rows, length in tokens.runs():
        weights = softmax_weights(query[rows], key[rows], length, heads)
        context[rows] = rows_of(weights @ by_head(value[rows], length, heads))
    return context


def context_of(ops: Ops, layer: Layer, x: Array, tokens: Tokens, heads: int) -> Array:
    """Return the context [total, hidden] of softmax attention over a layer's input."""
    query, key, value = np.split(ops.linear(x, layer.qkv), 3, axis=1)
    return softmax_attention(query, key, value, tokens, heads)


def encode(encoder: Encoder, tokens: Tokens) -> Array:
    """Return the original's last hidden states, [total, hidden]."""
    return np.concatenate([x for _, x in _encode_batches(encoder, tokens)])


def _encode_batches(encoder: Encoder, tokens: Tokens) -> Iterator[tuple[slice, Array]]:
    ops, heads = encoder.ops, encoder.config.num_attention_heads
    for rows, batch in tokens.batches():
        x = embed(encoder, batch)
        for layer in encoder.layers:
            x = layer.finish(ops, context_of(ops, layer, x, batch, heads), x)
        yield rows, x
