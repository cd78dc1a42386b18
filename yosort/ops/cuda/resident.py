"""Small host arrays that every layer's kernels ask for: copied to the device once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

#: Arrays (offsets, signs) whose copies are kept, all streams together.
KEPT = 256


class Resident:
    """Copies of host arrays on the current device, by content.

    Each stream has its own: CuPy reuses freed memory in a stream's order, and what another stream
    still reads must not be overwritten.
    """

    def __init__(self, cupy: Any) -> None:
        self.xp = cupy
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(
        self,
        array: npt.NDArray[Any],
        prepare: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    ) -> Any:
        """Return prepare(array) on the device."""
        key = (
            self.xp.cuda.get_current_stream().ptr,
            prepare,
            array.dtype,
            array.shape,
            array.tobytes(),
        )
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        placed = place(self.xp, prepare(array))
        with self._lock:
            self._kept[key] = placed
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return placed

    def indices(self, array: npt.NDArray[Any]) -> Any:
        """Return row numbers as int32 on the device."""
        return self(array, _as_int32)

    def __len__(self) -> int:
        """How many copies are kept."""
        return len(self._kept)


def place(cupy: Any, array: npt.NDArray[Any]) -> Any:
    """Return a host array on the current device, there for every stream."""
    placed = cupy.asarray(np.ascontiguousarray(array))
    cupy.cuda.get_current_stream().synchronize()
    return placed


def _as_int32(array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(array, np.int32)
