"""The CPU backend with products of 8-bit integers in the encoder.

Weights have a scale for each output column, activations one for each token (and each 1,024 of the
depth). `definitions.quantized_linear` defines the product. The expectation's products are of
bfloat16 (ops/cpu/bfloat16.py), everything else is float32; a large head, which is the decoder of a
vocabulary, holds its weights as int8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yosort import _dense
from yosort.files import release_pages
from yosort.ops.cpu.backend import LARGE_HEAD, CpuOps, Floats
from yosort.quantized import Quantized, Weight

#: A table of fewer rows than this stays float32.
FEW_ROWS = 64


class Table:
    """An embedding table of integers; where the decoder is tied to it, the decoder's panels."""

    def __init__(self, held: Quantized) -> None:
        self.held: Quantized | _dense.PackedLinear = held

    def take(self, rows: npt.NDArray[np.int64], axis: int = 0) -> Floats:
        """Return float32 rows [len(rows), hidden]."""
        held = self.held
        return held.take(rows) if isinstance(held, Quantized) else held.rows(rows)


class Int8Ops(CpuOps):
    """See the module; `tuning.int8` chooses which of the encoder's products are of integers."""

    compute_type = "int8"
    attention_type = "bfloat16"

    def linear_map(
        self,
        weights: list[Weight],
        biases: list[npt.NDArray[Any]],
        *,
        name: str = "",
        head: bool = False,
        table: Any = None,
    ) -> _dense.PackedLinear:
        """See `Ops.linear_map`."""
        if not head:
            return self.pack(weights, biases, "int8")
        stored = any(isinstance(weight, Quantized) for weight in weights)
        if not stored and sum(weight.size for weight in weights) <= LARGE_HEAD:
            return self.pack(weights, biases, "float32")
        if not isinstance(table, Table):
            return self.pack(weights, biases, "narrow")
        assert isinstance(table.held, Quantized)
        table.held = packed = self.pack([table.held], biases, "narrow")
        return packed

    def table(self, array: Weight) -> Any:
        """See `Ops.table`: integers, but for the few rows of token types."""
        if array.shape[0] < FEW_ROWS:
            return self.parameter(array)
        table = Table(_dense.quantize(self.kernels, array))
        release_pages([array])
        return table
