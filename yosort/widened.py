"""An array in a file's own type, bfloat16 or float64, that stands for float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Widened:
    """The float32 array of a bfloat16 or float64 one, made where it is needed and not kept.

    numpy takes it for that array wherever one is wanted. A checkpoint so lies in memory once, as
    the file has it, and not a second time as float32 beside what a backend makes of it.

    Attributes:
        bits: uint16 of any shape, the upper halves of float32 numbers (bfloat16); or float64.
    """

    bits: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.bits.shape

    @property
    def size(self) -> int:
        """How many values."""
        return self.bits.size

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The type that it stands for."""
        return np.dtype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the float32 array (or one of another type)."""
        return _widen(self.bits) if dtype is None else _widen(self.bits).astype(dtype, copy=False)

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        """Return the float32 values at an index, as an array does."""
        return _widen(self.bits[rows])

    def take(self, rows: npt.NDArray[np.int64], axis: int = 0) -> npt.NDArray[np.float32]:
        """Return the float32 rows of these numbers, as an array's `take` does along axis 0."""
        return _widen(self.bits.take(rows, axis=axis))


def _widen(bits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if bits.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32's range is infinity, as in torch
            return bits.astype(np.float32)
    wide: npt.NDArray[np.uint32] = bits.astype(np.uint32) << np.uint32(16)
    return wide.view(np.float32)
