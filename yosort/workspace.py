"""Memory that one layer's arrays leave to the next.

The system hands out fresh memory page by page, and the first touch of each 4 KB costs about a
microsecond: for a long text as much as a tenth of a forward. So while a call runs, the memory of
arrays that are gone serves the next array of the same size; when no call runs, nothing is kept.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

#: Bytes below which malloc keeps its memory by itself.
SMALL = 64 << 10
#: Blocks that are kept at most; a layer takes about eight.
KEPT = 16
CACHE_LINE = 64


class Workspace:
    """Uninitialised arrays on cache lines, whose memory is used again within a call.

    Safe from several threads: what is free is taken and returned by single list operations.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}
        self._carriers: dict[int, weakref.ref[Any]] = {}
        self._calls = 0
        self._lock = threading.Lock()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Keep what is freed until the last of the running calls ends."""
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if self._calls == 0:
                    self._free.clear()

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> npt.NDArray[Any]:
        """Return an uninitialised array; its memory comes back when it and its views are gone."""
        size = prod(shape) * np.dtype(dtype).itemsize
        bytes_: npt.NDArray[Any] = self._carrier(size) if size >= SMALL else _on_a_cache_line(size)
        array: npt.NDArray[Any] = bytes_.view(dtype).reshape(shape)
        return array

    def floats(self, count: int) -> npt.NDArray[np.float32]:
        """Return an uninitialised float32 vector [count]."""
        return self.empty((count,))

    def _carrier(self, size: int) -> npt.NDArray[np.uint8]:
        """Return bytes to which all views of an array refer, and whose end is therefore theirs."""
        try:
            block = self._free[size].pop()
        except (KeyError, IndexError):
            block = _on_a_cache_line(size)
        # The memoryview keeps numpy from seeing the array below, to which views would refer.
        carrier = np.frombuffer(block.data, np.uint8)
        self._carriers[id(carrier)] = weakref.ref(carrier, self._give_back(id(carrier), block))
        return carrier

    def _give_back(self, carrier: int, block: npt.NDArray[np.uint8]) -> Any:
        def gone(_: object) -> None:
            self._carriers.pop(carrier, None)
            if self._calls:
                # Calls of many sizes that overlap without end must not pile up what nobody takes.
                if sum(map(len, list(self._free.values()))) >= KEPT:
                    self._free.clear()
                self._free.setdefault(block.size, []).append(block)

        return gone


def _on_a_cache_line(size: int) -> npt.NDArray[np.uint8]:
    whole = np.empty(size + CACHE_LINE, np.uint8)
    skip = -whole.ctypes.data % CACHE_LINE
    return whole[skip : skip + size]
