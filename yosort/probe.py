"""A built-in input that shows a backend what the activations of a model look like."""

from __future__ import annotations

import numpy as np

from yosort.attention import draw_attention
from yosort.batch import PackedBatch
from yosort.config import YosoConfig
from yosort.model import Encoder, PackedInputs

#: Tokens of the probe: enough that an error averages out, few enough to cost a fraction of loading.
TOKENS = 96


def probe_inputs(config: YosoConfig) -> PackedInputs:
    """Return one text of random tokens from all of the vocabulary; always the same for a config."""
    count = min(TOKENS, config.max_position_embeddings)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, count)
    steps = np.arange(count, dtype=np.int64)
    offsets = np.array([0, count], np.int64)
    batch = PackedBatch((1, count), steps, offsets, steps.astype(np.int32))
    return PackedInputs(batch, ids, steps + 2, np.zeros(count, np.int64))


def settle(encoder: Encoder) -> None:
    """Let the encoder's backend try its maps on the probe, and keep what it finds good."""
    inputs = probe_inputs(encoder.config)
    attention = draw_attention(encoder.config, "expectation", 1, 0)
    encoder.ops.settle(lambda: encoder(inputs.batch, [encoder.begin(inputs)], attention))
