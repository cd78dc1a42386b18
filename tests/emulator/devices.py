"""Devices, streams and memory of the stand-in for CuPy, as strict as CUDA is.

Whatever is launched runs at once, but counts as unfinished until somebody waits for its stream:
to touch an array that another stream may still be writing is an error. Which device is current is
a thread's own matter, and which stream is, a thread's and a device's.
"""

from __future__ import annotations

import itertools
import threading
import time
import types
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: The compute capability of each device there is; tests change it.
capabilities = ["90"]
#: Shared memory that a block of such a device may ask for, KB.
SHARED_KB = {"75": 64, "80": 163, "87": 163, "90": 227, "120": 99}
MULTIPROCESSORS = 132
#: Bytes of a device's memory, and what the pool rounds an allocation up to; tests change them.
total_memory = 1 << 34
granule = 512
#: What the host did so far: waits, uploads, downloads, CuPy's own kernels, products.
counts: Counter[str] = Counter()


class EmulatorError(Exception):
    """A fault that the emulator found in a kernel, or in how the device was used."""


class CUDARuntimeError(RuntimeError):
    """What the runtime raises."""


class CUDADriverError(RuntimeError):
    """What the driver raises."""


class CUBLASError(RuntimeError):
    """What cuBLAS raises."""


class CompileException(Exception):
    """What NVRTC raises."""


class OutOfMemoryError(MemoryError):
    """What the memory pool raises."""


# CuPy's own are told from others by their modules, of which it has two.
for _error in (CUDARuntimeError, CUDADriverError, CUBLASError):
    _error.__module__ = "cupy_backends.cuda"
for _error in (CompileException, OutOfMemoryError):
    _error.__module__ = "cupy.cuda"


class Device:
    """A device, the current one without an index; `with` makes it current."""

    def __init__(self, index: int | None = None) -> None:
        index = _current.devices[-1] if index is None else index
        if index >= len(capabilities):
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = index

    @property
    def compute_capability(self) -> str:
        """Its number, without the point."""
        return capabilities[self.id]

    @property
    def attributes(self) -> dict[str, int]:
        """What the driver says of it."""
        return {"MultiProcessorCount": MULTIPROCESSORS}

    @property
    def mem_info(self) -> tuple[int, int]:
        """Bytes free outside the pool, and all."""
        return total_memory - pools[self.id].held, total_memory

    def __enter__(self) -> Device:
        _current.devices.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        _current.devices.pop()

    def synchronize(self) -> None:
        """Wait for all that was launched there."""
        counts["waits"] += 1
        for stream in _streams:
            if stream.device_id == self.id:
                stream.finish()


class Stream:
    """A stream of the current device; `with` makes it current there."""

    _pointers = itertools.count()

    def __init__(self, *, non_blocking: bool = False, null: bool = False) -> None:
        self.ptr = next(self._pointers)
        self.device_id = current_device()
        self.blocking, self.null = not non_blocking, null
        self.issued = self.finished = 0
        self.captures = False
        _streams.append(self)

    def __enter__(self) -> Stream:
        if self.device_id != current_device():
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with "
                f"the current device ({current_device()})"
            )
        _current.streams.setdefault(self.device_id, []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.streams[self.device_id].pop()

    def finish(self) -> None:
        """Let all that was launched here have ended."""
        self.finished = self.issued

    def synchronize(self) -> None:
        """Wait for all that was launched here."""
        counts["waits"] += 1
        self.finish()
        if self.null:
            for other in _streams:
                if other.blocking and other.device_id == self.device_id:
                    other.finish()

    def begin_capture(self) -> None:
        """Record what is launched from now on; here it also runs."""
        self.captures = True

    def end_capture(self) -> types.SimpleNamespace:
        """Return the graph."""
        self.captures = False
        return types.SimpleNamespace(launch=lambda stream=None: None)

    def waits_for(self, other: Stream, moment: int) -> bool:
        """Whether what is launched here now runs after what `other` was given at a moment."""
        legacy = self.blocking and other.blocking and (self.null or other.null)
        return other is self or moment <= other.finished or legacy


class Event:
    """A moment of a stream: here, of the host."""

    def record(self) -> None:
        """Be now."""
        self.moment = time.perf_counter()

    def synchronize(self) -> None:
        """Wait for it, and for all that was launched before."""
        current_stream().synchronize()


def get_elapsed_time(start: Event, stop: Event) -> float:
    """Return milliseconds from one to the other."""
    return (stop.moment - start.moment) * 1e3


@dataclass
class History:
    """Who used an array's memory last: the stream, and the moment of it."""

    write: tuple[Stream, int] | None = None
    reads: dict[Stream, int] = field(default_factory=dict)

    def note(self, stream: Stream, *, writes: bool) -> None:
        """Let a stream read or write; EmulatorError where another one may not be done with it."""
        before = [self.write] if self.write else []
        if writes:
            before += self.reads.items()
        for other, moment in before:
            if not stream.waits_for(other, moment):
                raise EmulatorError(
                    f"{'writes' if writes else 'reads'} on stream {stream.ptr} an array that "
                    f"stream {other.ptr} may still be using: no wait orders them"
                )
        stream.issued += 1
        if writes:
            self.write, self.reads = (stream, stream.issued), {}
        else:
            self.reads[stream] = stream.issued


class Pool:
    """A device's memory pool: what is freed stays held until it is asked to let go."""

    def __init__(self) -> None:
        self.used = self.held = self.limit = 0

    def take(self, size: int) -> int:
        """Reserve memory: the bytes that `give` gets back."""
        size = -(-size // granule) * granule
        limit = self.limit or total_memory
        if self.used + size > limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: {self.used:,} bytes)."
            )
        self.used += size
        self.held = max(self.held, self.used)
        return size

    def give(self, size: int) -> None:
        """Take memory back."""
        self.used -= size

    def free_all_blocks(self) -> None:
        """Return what nobody uses to the device."""
        self.held = self.used

    def free_bytes(self) -> int:
        """Bytes held that nobody uses."""
        return self.held - self.used

    def total_bytes(self) -> int:
        """Bytes held."""
        return self.held

    def set_limit(self, *, size: int) -> None:
        """Let the pool use no more; 0 for all there is."""
        self.limit = size


class PinnedPool:
    """Page-locked memory that uploads went through: powers of two, kept until freed."""

    def __init__(self) -> None:
        self.blocks: list[int] = []

    def stage(self, size: int) -> None:
        """Copy through a block."""
        block = 1 << max(size - 1, 511).bit_length()
        if block not in self.blocks:
            self.blocks.append(block)

    def n_free_blocks(self) -> int:
        """How many there are."""
        return len(self.blocks)

    def free_all_blocks(self) -> None:
        """Let go of them."""
        self.blocks.clear()


class _Current(threading.local):
    def __init__(self) -> None:
        self.devices = [0]
        self.streams: dict[int, list[Stream]] = {}


_current = _Current()
_streams: list[Stream] = []
_nulls: dict[int, Stream] = {}
pools = [Pool() for _ in range(8)]
pinned = PinnedPool()


def current_device() -> int:
    """Return the index of this thread's current device."""
    return _current.devices[-1]


def current_stream(device: int | None = None) -> Stream:
    """Return this thread's current stream on a device."""
    device = current_device() if device is None else device
    streams = _current.streams.get(device)
    if streams:
        return streams[-1]
    if device not in _nulls:
        with Device(device):
            _nulls[device] = Stream(null=True)
    return _nulls[device]


def current_pool() -> Pool:
    """Return the pool of the current device."""
    return pools[current_device()]


def refuse_capture(what: str) -> None:
    """Raise what CuPy does where a stream is captured that cannot record this."""
    if current_stream().captures:
        raise RuntimeError(f"{what} is not supported during stream capture")


def load_library(*_: Any) -> tuple[int, int]:
    """Stand for whatever shows that NVRTC or cuBLAS loads."""
    return 13, 0


cuda = types.SimpleNamespace(
    Device=Device,
    Stream=Stream,
    Event=Event,
    get_elapsed_time=get_elapsed_time,
    set_allocator=lambda allocator=None: None,
    get_current_stream=current_stream,
    is_available=lambda: True,
    get_cublas_handle=load_library,
    nvrtc=types.SimpleNamespace(getVersion=load_library),
    runtime=types.SimpleNamespace(
        getDeviceCount=lambda: len(capabilities),
        getDeviceProperties=lambda index: {"name": b"emulated", "l2CacheSize": 50 << 20},
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        CUDARuntimeError=CUDARuntimeError,
    ),
    memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
)
