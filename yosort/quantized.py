"""A matrix held as 8-bit integers with a scale for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from yosort.widened import Widened


@dataclass(frozen=True, eq=False)
class Quantized:
    """The matrix scales[:, None] * values.

    numpy takes it for the float32 matrix wherever an array is wanted, so a backend that knows
    nothing of integers computes with what they stand for.

    Attributes:
        values: int8 [rows, columns], within -127 and 127.
        scales: float32 [rows].
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """The matrix's shape."""
        return self.values.shape

    @property
    def size(self) -> int:
        """How many values."""
        return self.values.size

    @property
    def dtype(self) -> np.dtype[np.int8]:
        """The type of the values as stored."""
        return self.values.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the float32 matrix (or one of another type)."""
        dense = self.values.astype(np.float32) * self.scales[:, None]
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def __getitem__(self, rows: slice) -> Quantized:
        """Return some of the rows."""
        return Quantized(self.values[rows], self.scales[rows])

    def followed_by(self, other: Quantized) -> Quantized:
        """Return the rows of both."""
        return Quantized(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.scales, other.scales]),
        )

    def take(self, rows: npt.NDArray[np.int64], axis: int = 0) -> npt.NDArray[np.float32]:
        """Return the float32 rows of these numbers, as an array's `take` does along axis 0."""
        taken = self.values[rows].astype(np.float32)
        taken *= self.scales[rows, None]
        return taken


#: A weight, whatever it is held as: all of them count as float arrays.
Weight: TypeAlias = "npt.NDArray[Any] | Quantized | Widened"
