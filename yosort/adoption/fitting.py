"""The fit, one layer after the other, along the new model's own stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yosort.adoption import anchors
from yosort.adoption.anchors import Anchored, Doubles, anchor
from yosort.adoption.matching import Example, Maps, match
from yosort.adoption.original import context_of, embed
from yosort.adoption.texts import Floats, Tokens
from yosort.config import YosoConfig
from yosort.model import architectures as names
from yosort.model.architectures import BASE_PREFIX, layer_prefix
from yosort.model.encoder import Encoder, Layer, Scope
from yosort.ops.interface import Array, Layout, Ops

_LEAVES = ("weight", "bias")
#: Strengths of the ridge that are tried, over the mean square of a context's column.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Called with how many tokens passed through a layer.
Step = Callable[[int], object]


@dataclass
class Moments:
    """Sums over rows of pairs x [width], y [out]: all that least squares has to know of them."""

    count: int
    x: Doubles
    y: Doubles
    xx: Doubles
    xy: Doubles
    yy: float

    @classmethod
    def zero(cls, width: int, out: int) -> Moments:
        """Return those of no rows."""
        square, cross = np.zeros((width, width)), np.zeros((width, out))
        return cls(0, np.zeros(width), np.zeros(out), square, cross, 0.0)

    def add(self, x: Array, y: Array) -> None:
        """Add rows x [rows, width] and y [rows, out]."""
        self.count += len(x)
        self.x += x.sum(axis=0, dtype=np.float64)
        self.y += y.sum(axis=0, dtype=np.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += float(np.square(y, dtype=np.float64).sum())

    def centred(self) -> tuple[Doubles, Doubles]:
        """Return the covariances times the count: of x, and of x with y."""
        return (
            self.xx - np.outer(self.x, self.x) / self.count,
            self.xy - np.outer(self.x, self.y) / self.count,
        )

    def error(self, weight: Doubles, bias: Doubles) -> float:
        """Return the sum of squares of y - weight @ x - bias."""
        linear = self.xy.T - np.outer(bias, self.x)
        square = (weight @ self.xx * weight).sum() - 2 * (weight * linear).sum()
        return float(self.yy + square - 2 * bias @ self.y + self.count * bias @ bias)


def ridge(moments: Moments, held: Moments, start: Anchored) -> tuple[Doubles, Doubles, float]:
    """Fit y = weight @ x + bias near a start; the ridge is the one that is best on held-out rows.

    Returns:
        The weight, the bias, and the sum of squares on the held-out rows.
    """
    xx, xy = moments.centred()
    # Nothing is read along the anchors.
    xx = start.without(start.without(xx).T)
    step = start.without(xy.T - start.weight @ xx).T
    scale = max(float(np.trace(xx)) / len(xx), 1e-30)
    values, vectors = np.linalg.eigh(xx)
    turned = vectors.T @ step
    tried = []
    for strength in RIDGES:
        change = vectors @ (turned / (np.maximum(values, 0) + strength * scale)[:, None])
        weight = start.weight + start.without(change.T)
        bias = (moments.y - weight @ moments.x) / moments.count
        tried.append((held.error(weight, bias), strength, weight, bias))
    error, _, weight, bias = min(tried, key=lambda found: found[:2])
    return weight, bias, error


class _Stream:
    """Texts on their way through both models: rows [total, hidden] of each."""

    def __init__(self, original: Encoder, tokens: Tokens) -> None:
        self.tokens = tokens
        self.batches = list(tokens.batches())
        width = original.config.hidden_size
        self.theirs = np.empty((len(tokens.ids), width), np.float32)
        for rows, batch in self.batches:
            self.theirs[rows] = embed(original, batch)
        self.ours = self.theirs.copy()
        #: What the original adds up before its first normalisation, and our context for it.
        self.attended = np.empty_like(self.theirs)
        self.context = np.empty_like(self.theirs)


def fit(
    original: Encoder,
    weights: dict[str, Floats],
    config: YosoConfig,
    fitted: Tokens,
    held: Tokens,
    *,
    length: float = anchors.LENGTH,
    step: Step = lambda tokens: None,
) -> tuple[dict[str, Floats], tuple[float, ...]]:
    """Fit the layers, one after the other.

    First the layer's queries and keys are matched to the original's attention. Then its output
    projection is the one with which the new model's stream comes nearest, in
    squares, to what the original has before its first normalisation: so a layer makes up for what
    those below it missed.

    Args:
        original: the encoder with its own weights.
        weights: the same, by name; they stay as they are.
        config: of the new model, with its hash_code_len.
        fitted: the texts to fit on.
        held: the texts that choose the ridge.
        length: of the anchors.
        step: told of progress.

    Returns:
        The weights of the new model; and for each layer the distance of its output from the
        original's, on held-out texts, over the length of the original's (root mean squares).
    """
    ops, heads = original.ops, config.num_attention_heads
    weights = dict(weights)
    streams = [_Stream(original, fitted), _Stream(original, held)]
    errors = []
    for i, layer in enumerate(original.layers):
        weights |= _matched(ops, layer, weights, i, streams, config)
        spread = _original_pass(ops, layer, streams, heads, step)
        start = _start(weights, i, spread, heads, length)
        prefix = BASE_PREFIX + layer_prefix(i)
        weights[f"{prefix}{names.VALUE}.bias"] = start.value_bias.astype(np.float32)
        ours = Scope(config, weights, ops).layer(i)
        moments = [_context_pass(ops, ours, stream, config, step) for stream in streams]
        weight, bias, _ = ridge(moments[0], moments[1], start)
        weights[f"{prefix}{names.OUTPUT}.weight"] = weight.astype(np.float32)
        weights[f"{prefix}{names.OUTPUT}.bias"] = bias.astype(np.float32)
        ours = Scope(config, weights, ops).layer(i)
        for stream in streams:
            for rows, _ in stream.batches:
                stream.ours[rows] = ours.finish(ops, stream.context[rows], stream.ours[rows])
        errors.append(_distance(streams[1].ours, streams[1].theirs))
    return weights, tuple(errors)


def _matched(
    ops: Ops,
    layer: Layer,
    weights: dict[str, Floats],
    i: int,
    streams: list[_Stream],
    config: YosoConfig,
) -> dict[str, Floats]:
    """Return a layer's maps to queries and keys, matched to the original's attention."""
    prefix = BASE_PREFIX + layer_prefix(i)
    own = [f"{prefix}{part}.{leaf}" for part in (names.QUERY, names.KEY) for leaf in _LEAVES]
    hidden = config.hidden_size

    def example(stream: _Stream) -> Example:
        def wanted(rows: slice) -> tuple[Array, Array]:
            qkv = ops.linear(stream.theirs[rows], layer.qkv)
            return qkv[:, :hidden], qkv[:, hidden : 2 * hidden]

        return Example(stream.tokens, stream.ours, wanted)

    fitted, held = map(example, streams)
    maps = match(
        Maps(*(weights[name] for name in own)),
        fitted,
        held,
        heads=config.num_attention_heads,
        hash_code_len=config.hash_code_len,
    )
    return dict(zip(own, maps.arrays(), strict=True))


def _original_pass(
    ops: Ops, layer: Layer, streams: list[_Stream], heads: int, step: Step
) -> Moments:
    """Take the original's rows through a layer; return the moments of its context, with itself."""
    width = streams[0].theirs.shape[1]
    moments = Moments.zero(width, 0)
    for stream in streams:
        for rows, batch in stream.batches:
            x = stream.theirs[rows]
            context = context_of(ops, layer, x, batch, heads)
            if stream is streams[0]:
                moments.add(context, context[:, :0])
            stream.attended[rows] = x + ops.linear(context, layer.tail.output)
            stream.theirs[rows] = layer.finish(ops, context, x)
            step(len(batch.ids))
    return moments


def _start(
    weights: dict[str, Floats], i: int, spread: Moments, heads: int, length: float
) -> Anchored:
    """Return a layer's anchors and the projection that fits them, of the original's weights."""
    prefix = BASE_PREFIX + layer_prefix(i)
    mean = spread.x / spread.count
    return anchor(
        weights[f"{prefix}{names.VALUE}.bias"].astype(np.float64),
        weights[f"{prefix}{names.OUTPUT}.weight"].astype(np.float64),
        weights[f"{prefix}{names.OUTPUT}.bias"].astype(np.float64),
        mean,
        spread.centred()[0] / spread.count,
        heads,
        length,
    )


def _context_pass(
    ops: Ops, layer: Layer, stream: _Stream, config: YosoConfig, step: Step
) -> Moments:
    """Compute the new model's context, and its moments with what the projection is to answer."""
    hidden = config.hidden_size
    moments = Moments.zero(hidden, hidden)
    for rows, batch in stream.batches:
        x = stream.ours[rows]
        query, key, value = np.split(ops.linear(x, layer.qkv), 3, axis=1)
        layout = Layout(
            config.num_attention_heads,
            config.hash_code_len,
            batch.offsets,
            batch.offsets,
            np.zeros(len(batch.offsets) - 1, bool),
        )
        context = ops.attention(query, key, value, ops.layout(layout))
        moments.add(context, stream.attended[rows] - x)
        stream.context[rows] = context
        step(len(batch.ids))
    return moments


def _distance(x: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(x - wanted) / max(float(np.linalg.norm(wanted)), 1e-30))
