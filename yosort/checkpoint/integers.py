"""Checkpoints of 8-bit integers: `NAME.weight` is I8 [out, in], `NAME.weight_scale` F32 [out].

The file has a name of its own, `yosort-int8.safetensors`: transformers would take the integers for
the weights themselves, and so finds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import FLOAT32_MAX
from yosort.checkpoint.names import SCALE
from yosort.checkpoint.stored import State, Tensor, quote
from yosort.config import YosoConfig
from yosort.errors import CheckpointError
from yosort.quantized import Quantized, Weight
from yosort.weights import BASE_PREFIX, DECODER_WEIGHT, WORD_EMBEDDINGS

TABLES = (
    WORD_EMBEDDINGS,
    BASE_PREFIX + "embeddings.position_embeddings.weight",
    DECODER_WEIGHT,
)
#: A larger scale times -128 is beyond float32.
MAX_SCALE = FLOAT32_MAX / 128


def is_integers(names: Mapping[str, object]) -> bool:
    """Whether a checkpoint of these names holds integers with scales."""
    return any(name.endswith(".weight" + SCALE) for name in names)


def join_scales(state: State, *, where: str) -> dict[str, Weight]:
    """Return the weights by name, integers and their scales as one `Quantized`.

    Raises:
        CheckpointError: scales that do not fit; `where` names the checkpoint.
    """
    joined: dict[str, Weight] = {}
    for name in state:
        owner = name.removesuffix(SCALE)
        if owner != name and owner in state:
            continue
        tensor, array = state.tensor(name), state[name]
        if tensor.dtype != "I8" or name + SCALE not in state:
            joined[name] = array
            continue
        scales: npt.NDArray[Any] = state[name + SCALE]
        if array.ndim != 2 or scales.shape != array.shape[:1] or scales.dtype != np.float32:
            raise CheckpointError(
                f"{where}: {quote(name + SCALE)}: wanted float32 {list(array.shape[:1])} for "
                f"int8 {list(array.shape)}, got {scales.dtype} {list(scales.shape)}"
            )
        if not ((scales >= 0) & (scales <= MAX_SCALE)).all():  # NaN is neither
            raise CheckpointError(
                f"{where}: {quote(name + SCALE)}: wanted scales from 0 to {MAX_SCALE:.3g}, by "
                f"which every integer is a finite float32, got {scales.min()} to {scales.max()}"
            )
        joined[name] = Quantized(array.astype(np.int8, copy=False), scales)
    return joined


def split_scales(parameters: Mapping[str, Weight]) -> dict[str, npt.NDArray[Any]]:
    """Return weights as a file holds them: `join_scales` the other way round."""
    split: dict[str, npt.NDArray[Any]] = {}
    for name, weight in parameters.items():
        if isinstance(weight, Quantized):
            split |= {name: weight.values, name + SCALE: weight.scales}
        else:
            split[name] = weight
    return split


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
    # Not above: the ops and the model import this package.
    from yosort._dense import quantize
    from yosort.model import Encoder
    from yosort.ops.cpu_int8 import Int8Ops
    from yosort.probe import settle

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
