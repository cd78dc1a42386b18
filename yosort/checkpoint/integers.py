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
from yosort.checkpoint.stored import State
from yosort.errors import CheckpointError, quote
from yosort.quantized import Quantized, Weight
from yosort.widened import Widened

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
        tensor = state.tensor(name)
        if tensor.dtype != "I8" or name + SCALE not in state:
            joined[name] = tensor.weight()
            continue
        array = tensor.array()
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


def split_scales(parameters: Mapping[str, Weight]) -> dict[str, npt.NDArray[Any] | Widened]:
    """Return weights as a file holds them: `join_scales` the other way round."""
    split: dict[str, npt.NDArray[Any] | Widened] = {}
    for name, weight in parameters.items():
        if isinstance(weight, Quantized):
            split |= {name: weight.values, name + SCALE: weight.scales}
        else:
            split[name] = weight
    return split
