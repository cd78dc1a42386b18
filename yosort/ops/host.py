"""What backends over numpy's arrays share: arrays are where they are wanted already."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.machine import host_memory
from yosort.ops.interface import Array, Layout


class HostOps:
    """The part of `Ops` that moves and prepares nothing."""

    device = "cpu"
    xp: Any = np

    def available_memory(self) -> int | None:
        """See `Ops.available_memory`."""
        return host_memory()

    def from_host(self, array: npt.NDArray[Any]) -> Array:
        """See `Ops.from_host`."""
        return array

    def to_host(self, array: Array) -> npt.NDArray[Any]:
        """See `Ops.to_host`."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """See `Ops.synchronize`."""

    def layout(self, layout: Layout) -> Layout:
        """See `Ops.layout`: there is nothing to prepare."""
        return layout

    def take(self, x: Array, rows: Array) -> Array:
        """See `Ops.take`."""
        return np.take(x, rows, axis=0)

    def put(self, x: Array, rows: Array, total: int) -> Array:
        """See `Ops.put`."""
        out = np.zeros((total, *x.shape[1:]), x.dtype)
        out[rows] = x
        return out
