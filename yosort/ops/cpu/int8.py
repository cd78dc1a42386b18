"""The CPU backend with products of 8-bit integers in the encoder; everything else is float32.

Weights have a scale for each output column, activations one for each token (and each 1,024 of the
depth). `definitions.quantized_linear` defines the product. Heads stay in float32; a large one,
which is the decoder of a vocabulary, holds its weights as int8.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort import _dense
from yosort.files import release_pages
from yosort.ops.cpu.backend import CpuOps, Floats
from yosort.ops.interface import LayerTail
from yosort.quantized import Quantized, Weight

_log = logging.getLogger("yosort")

#: The largest error of a map's products on the probe, root mean square relative to the exact ones.
#: Rows and columns without outliers give about 0.01; at 0.05, a map adds as much noise as all 48 of
#: a YOSO-base together should at most (0.01 * sqrt(48) = 0.07).
ERROR_BOUND = 0.05
#: A head's map of more weights than this is held as int8.
LARGE_HEAD = 1 << 20
#: A table of fewer rows than this stays float32.
FEW_ROWS = 64


@dataclass(frozen=True)
class _Trial:
    """A map whose error has yet to be measured, and what it was made of."""

    name: str
    weights: list[Weight]
    biases: list[npt.NDArray[Any]]


class _Table:
    """An embedding table of integers; where the decoder is tied to it, the decoder's panels."""

    def __init__(self, held: Quantized) -> None:
        self.held: Quantized | _dense.PackedLinear = held

    def take(self, rows: npt.NDArray[np.int64], axis: int = 0) -> Floats:
        """Return float32 rows [len(rows), hidden]."""
        held = self.held
        return held.take(rows) if isinstance(held, Quantized) else held.rows(rows)


class Int8Ops(CpuOps):
    """See the module.

    Args:
        num_threads: as for `CpuOps`.
        instruction_set: as for `CpuOps`.

    Attributes:
        errors: after `settle`, the error of each map measured there, by name.
    """

    dtype: np.dtype[Any] = np.dtype(np.int8)

    def __init__(self, num_threads: int | None = None, instruction_set: str | None = None) -> None:
        super().__init__(num_threads, instruction_set)
        self.errors: dict[str, float] = {}
        self._tables: list[tuple[Weight, _Table]] = []
        self._trials: dict[_dense.PackedLinear, _Trial] = {}

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
    ) -> _dense.PackedLinear:
        """See `Ops.linear_map`."""
        stored = any(isinstance(weight, Quantized) for weight in weights)
        if head:
            large = sum(weight.size for weight in weights) > LARGE_HEAD
            packed = self._pack(weights, biases, "narrow" if stored or large else "float32")
            for source, table in self._tables:
                if packed.kind == "narrow" and len(weights) == 1 and weights[0] is source:
                    table.held = packed
        else:
            packed = self._pack(weights, biases, "int8")
            if not stored:
                self._trials[packed] = _Trial(name, weights, biases)
        return packed

    def _pack(
        self, weights: list[Weight], biases: list[npt.NDArray[Any]], kind: str
    ) -> _dense.PackedLinear:
        packed = _dense.PackedLinear(self.kernels, weights, biases, kind)
        # Here, not at the end of loading: the file's floats are four times what is kept of them.
        release_pages(weights)
        return packed

    def table(self, array: Weight) -> Any:
        """See `Ops.table`: integers, but for the few rows of token types."""
        if array.shape[0] < FEW_ROWS:
            return self.parameter(array)
        table = _Table(_dense.quantize(self.kernels, array))
        release_pages([array])
        self._tables.append((array, table))
        return table

    def settle(self, run: Callable[[], object]) -> None:
        """See `Ops.settle`: maps whose error is out of bounds become float32."""
        self._tables.clear()
        if not self._trials:
            return
        run()
        for trial in self._trials.values():
            _log.warning("int8: %s is no part of the probe: its error is not known", trial.name)
        self._trials.clear()
        left = self.left
        for name in left:
            _log.warning(
                "int8: %s stays float32: an error of %.3f on the probe, over the bound of %g",
                name,
                self.errors[name],
                ERROR_BOUND,
            )
        _log.info(
            "int8: %d of %d maps; largest error of a product %.4f",
            len(self.errors) - len(left),
            len(self.errors),
            max((e for name, e in self.errors.items() if name not in left), default=0.0),
        )

    @property
    def left(self) -> list[str]:
        """The names of the maps that stay float32."""
        return [name for name, error in self.errors.items() if not error <= ERROR_BOUND]

    def linear(
        self, x: Floats, linear_map: _dense.PackedLinear, activation: str = "linear"
    ) -> Floats:
        """See `Ops.linear`."""
        trial = self._trials.pop(linear_map, None) if self._trials else None
        if trial is None:
            return super().linear(x, linear_map, activation)
        exact = self._pack(trial.weights, trial.biases, "float32")
        wanted, got = super().linear(x, exact), super().linear(x, linear_map)
        error = _error(trial, wanted, got)
        self.errors[trial.name] = error
        if not error <= ERROR_BOUND:  # so NaN is out of bounds
            linear_map.become(exact)
        return super().linear(x, exact, activation)

    def layer_tail(
        self, context: Floats, x: Floats, tail: LayerTail, following: _dense.PackedLinear | None
    ) -> tuple[Floats, Floats | None]:
        """See `Ops.layer_tail`."""
        if self._trials:
            return self._tail_by_steps(context, x, tail, following)
        return super().layer_tail(context, x, tail, following)


def _error(trial: _Trial, wanted: Floats, got: Floats) -> float:
    """Return the largest relative error among a map's parts; NaN where values are not finite."""
    errors, start = [], 0
    for weight, bias in zip(trial.weights, trial.biases, strict=True):
        part = slice(start, start + weight.shape[0])
        # Weights that take values beyond float32 make the error NaN or infinite, not a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            size = float(np.linalg.norm(wanted[:, part] - bias))
            off = float(np.linalg.norm(got[:, part] - wanted[:, part]))
        errors.append(off / size if size else off)
        start = part.stop
    return float(np.max(errors))  # unlike max(), NaN if any is
