"""The choice of what is computed in integers, by a built-in input that shows activations."""

from __future__ import annotations

import numpy as np

from yosort._dense import quantize
from yosort.checkpoint.names import BASE_PREFIX, DECODER_WEIGHT, SCALE, WORD_EMBEDDINGS
from yosort.checkpoint.stored import State, Tensor
from yosort.config import YosoConfig
from yosort.errors import CheckpointError, quote
from yosort.model.attention import draw_attention
from yosort.model.batch import PackedBatch
from yosort.model.encoder import Encoder, PackedInputs
from yosort.ops.cpu.int8 import Int8Ops

TABLES = (
    WORD_EMBEDDINGS,
    BASE_PREFIX + "embeddings.position_embeddings.weight",
    DECODER_WEIGHT,
)
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


def quantize_state(state: State, config: YosoConfig, *, where: str) -> State:
    """Quantise the encoder's products and the large tables of a whole model.

    What the probe finds out of bounds keeps its type, and so does all that is small.

    Args:
        state: every weight of the model, under canonical names.
        config: the model's.
        where: what messages call the checkpoint.

    Raises:
        CheckpointError: a weight is NaN or infinite: no scale fits its row.
    """
    for name in state:
        if not np.isfinite(state[name]).all():
            raise CheckpointError(
                f"{where}: {quote(name)}: wanted finite weights for int8, got NaN or infinity"
            )
    ops = Int8Ops()
    with ops.running():
        settle(Encoder(config, state, ops))
    good = tuple(f"{name}." for name in ops.errors if name not in ops.left)
    tensors: dict[str, Tensor] = {}
    for name in state:
        tensor = state.tensor(name)
        if name in TABLES or (name.startswith(good) and len(tensor.shape) == 2):
            small = quantize(ops.kernels, state[name])
            tensors |= {name: Tensor("I8", small.values), name + SCALE: Tensor("F32", small.scales)}
        else:
            tensors[name] = tensor
    return State(tensors)
