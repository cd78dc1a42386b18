"""The choice of what is computed in integers, by a built-in input that shows activations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort._dense import PackedLinear, quantize
from yosort.checkpoint.names import SCALE
from yosort.checkpoint.stored import State, Tensor
from yosort.config import YosoConfig
from yosort.errors import CheckpointError, quote
from yosort.model.architectures import BASE_PREFIX, DECODER_WEIGHT, WORD_EMBEDDINGS
from yosort.model.attention import draw_attention
from yosort.model.encoder import Encoder, PackedInputs, Parameters, Scope
from yosort.model.inputs import pack_texts
from yosort.ops.cpu.backend import CpuOps, Floats
from yosort.ops.cpu.int8 import Int8Ops
from yosort.quantized import Quantized, Weight

_log = logging.getLogger("yosort")

TABLES = (
    WORD_EMBEDDINGS,
    BASE_PREFIX + "embeddings.position_embeddings.weight",
    DECODER_WEIGHT,
)
#: The largest error of a map's products on the probe, root mean square relative to the exact ones.
#: Rows and columns without outliers give about 0.01; at 0.05, a map adds as much noise as all 48 of
#: a YOSO-base together should at most (0.01 * sqrt(48) = 0.07).
ERROR_BOUND = 0.05
#: Tokens of the probe: enough that an error averages out, few enough to cost a fraction of loading.
TOKENS = 96


def probe_inputs(config: YosoConfig) -> PackedInputs:
    """Return one text of random tokens from all of the vocabulary; always the same for a config."""
    count = min(TOKENS, config.max_position_embeddings)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, count).tolist()
    return pack_texts([ids], [[0] * count], config, padding="masked")


@dataclass(frozen=True)
class Pair:
    """One map in both types, and what it was made of."""

    name: str
    parts: list[tuple[int, npt.NDArray[Any]]]
    exact: PackedLinear
    quantized: PackedLinear


class ComparingOps(CpuOps):
    """The operations of an int8 backend, with float32 answers and the errors that int8 would make.

    Attributes:
        errors: of each map that was measured: its products' root mean square, relative to the exact
            ones; the largest of its parts'. NaN where values are not finite.
    """

    def __init__(self, ops: Int8Ops) -> None:
        self.ops = ops
        self.pool, self.workspace, self.kernels = ops.pool, ops.workspace, ops.kernels
        self.errors: dict[str, float] = {}

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> Any:
        """Return both maps; integers that the file holds have no other."""
        quantized = self.ops.linear_map(weights, biases)
        if any(isinstance(weight, Quantized) for weight in weights):
            return quantized
        parts = [(weight.shape[0], bias) for weight, bias in zip(weights, biases, strict=True)]
        return Pair(name, parts, self.ops.pack(weights, biases, "float32"), quantized)

    def table(self, array: Weight) -> Any:
        """See `Int8Ops.table`."""
        return self.ops.table(array)

    def linear(self, x: Floats, linear_map: Any, activation: str = "linear") -> Floats:
        """Measure a map's error on x, and return the exact answer."""
        if not isinstance(linear_map, Pair):
            return super().linear(x, linear_map, activation)
        wanted, got = super().linear(x, linear_map.exact), super().linear(x, linear_map.quantized)
        self.errors[linear_map.name] = _error(linear_map.parts, wanted, got)
        return wanted if activation == "linear" else super().linear(x, linear_map.exact, activation)

    def chosen(self, linear_map: Pair | PackedLinear) -> PackedLinear:
        """Return the one of both maps that is to be kept."""
        if isinstance(linear_map, PackedLinear):
            return linear_map
        within = self.errors[linear_map.name] <= ERROR_BOUND  # which NaN is not
        return linear_map.quantized if within else linear_map.exact


def prepare_int8(
    config: YosoConfig, parameters: Parameters, ops: Int8Ops
) -> tuple[Encoder, dict[str, float]]:
    """Prepare an encoder whose products are of integers where their error is within bounds.

    The probe walks up the layers with the exact answer of each map; it is made in both types,
    compared on what reaches it, and kept in one.

    Args:
        config: the architecture.
        parameters: the weights by canonical name.
        ops: the backend.

    Returns:
        The encoder, and the error of each map that was measured, by name.
    """
    comparing = ComparingOps(ops)
    scope = Scope(config, parameters, comparing)
    tables, layers = scope.tables(), []
    inputs = probe_inputs(config)
    attention = draw_attention(ops, config, "expectation", 1, 0)
    plan = attention.plan(ops, inputs.batch, None)
    x = ops.embed(tables, inputs.words, inputs.positions, inputs.token_types)
    for i in range(config.num_hidden_layers):
        layer = scope.layer(i)
        qkv = comparing.linear(x, layer.qkv)
        context = attention.context(ops, qkv, i, plan, layer.conv_weight)
        x = layer.finish(comparing, context, x)
        layers.append(layer.map(comparing.chosen))
    _report(comparing.errors)
    return Encoder(config, ops, tables, layers), comparing.errors


def left_in_float(errors: Mapping[str, float]) -> list[str]:
    """Return the names of the maps whose error is out of bounds."""
    return [name for name, error in errors.items() if not error <= ERROR_BOUND]


def _report(errors: Mapping[str, float]) -> None:
    left = left_in_float(errors)
    for name in left:
        _log.warning(
            "int8: %s stays float32: an error of %.3f on the probe, over the bound of %g",
            name,
            errors[name],
            ERROR_BOUND,
        )
    if errors:
        _log.info(
            "int8: %d of %d maps; largest error of a product %.4f",
            len(errors) - len(left),
            len(errors),
            max((error for name, error in errors.items() if name not in left), default=0.0),
        )


def _error(parts: list[tuple[int, npt.NDArray[Any]]], wanted: Floats, got: Floats) -> float:
    """Return the largest relative error among a map's parts; NaN where values are not finite."""
    errors, start = [], 0
    for width, bias in parts:
        part = slice(start, start + width)
        # Weights that take values beyond float32 make the error NaN or infinite, not a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            size = float(np.linalg.norm(wanted[:, part] - bias))
            off = float(np.linalg.norm(got[:, part] - wanted[:, part]))
        errors.append(off / size if size else off)
        start = part.stop
    return float(np.max(errors))  # unlike max(), NaN if any is


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
            raise CheckpointError.wanted(
                f"{where}: {quote(name)}", "finite weights for int8", got="NaN or infinity"
            )
    ops = Int8Ops()
    with ops.running():
        _, errors = prepare_int8(config, state, ops)
    left = left_in_float(errors)
    good = tuple(f"{name}." for name in errors if name not in left)
    tensors: dict[str, Tensor] = {}
    for name in state:
        tensor = state.tensor(name)
        if name in TABLES or (name.startswith(good) and len(tensor.shape) == 2):
            small = quantize(ops.kernels, state[name])
            tensors |= {name: Tensor("I8", small.values), name + SCALE: Tensor("F32", small.scales)}
        else:
            tensors[name] = tensor
    return State(tensors)
