"""Devices and streams of the stand-in for CuPy: which is current is a thread's own matter."""

from __future__ import annotations

import itertools
import threading
import types
from typing import Any

#: How many devices there are; tests change it.
count = 1


class CUDARuntimeError(RuntimeError):
    """What the runtime raises."""


class OutOfMemoryError(MemoryError):
    """What the memory pool raises."""


class Device:
    """A device, the current one without an index; `with` makes it current."""

    def __init__(self, index: int | None = None) -> None:
        index = _current.devices[-1] if index is None else index
        if index >= count:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = index
        self.compute_capability = "90"
        self.mem_info = (1 << 33, 1 << 34)

    def __enter__(self) -> Device:
        _current.devices.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        _current.devices.pop()

    def synchronize(self) -> None:
        """Wait for nothing."""


class Stream:
    """A stream; `with` makes it current."""

    _pointers = itertools.count()

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.ptr = next(self._pointers)

    def __enter__(self) -> Stream:
        _current.streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.streams.pop()

    def synchronize(self) -> None:
        """Wait for nothing: whatever is launched runs at once."""


NULL_STREAM = Stream()


class _Current(threading.local):
    def __init__(self) -> None:
        self.devices = [0]
        self.streams = [NULL_STREAM]


_current = _Current()


def current_device() -> int:
    """Return the index of this thread's current device."""
    return _current.devices[-1]


def current_stream() -> Stream:
    """Return this thread's current stream."""
    return _current.streams[-1]


def load_library(*_: Any) -> tuple[int, int]:
    """Stand for whatever shows that NVRTC or cuBLAS loads."""
    return 13, 0


cuda = types.SimpleNamespace(
    Device=Device,
    Stream=Stream,
    get_current_stream=current_stream,
    is_available=lambda: True,
    get_cublas_handle=load_library,
    nvrtc=types.SimpleNamespace(getVersion=load_library),
    runtime=types.SimpleNamespace(
        getDeviceCount=lambda: count,
        getDeviceProperties=lambda index: {"name": b"emulated"},
        CUDARuntimeError=CUDARuntimeError,
    ),
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
)
