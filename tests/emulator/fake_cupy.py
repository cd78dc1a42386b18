"""A stand-in for cupy over numpy, stricter than the original: just what yosort uses.

Every array lies in an allocation of its own between guard zones, filled with garbage, with a flag a
byte that tells what was written. numpy arrays are refused where cupy refuses them, and reading what
nobody wrote is an error. Kernels run in the emulator.
"""

from __future__ import annotations

import ctypes
import os
import threading
import types
from typing import Any

import numpy as np

from emulator import build, devices
from emulator.devices import cuda

__version__ = "0 (emulated)"
float16, float32, float64 = np.float16, np.float32, np.float64
int8, int32, int64, uint16, uint32 = np.int8, np.int32, np.int64, np.uint16, np.uint32
newaxis, pi, inf = None, np.pi, np.inf

GUARD = 512
#: Limits of the emulated device: an H100's.
LIMITS = {"threads": 1024, "shared": 48 << 10, "shared_optin": 227 << 10}
#: Seed of thread orders; 0 is in order. Tests change it, results must not.
seed = int(os.environ.get("YOSORT_EMULATOR_SEED", "1"))
#: All launches so far: the kernel and what it counted; and where they ran: (device, stream).
launches: list[tuple[str, dict[str, int]]] = []
places: list[tuple[int, int]] = []
#: The emulator runs one launch at a time.
_running = threading.Lock()


class EmulatorError(Exception):
    """A fault that the emulator found in a kernel, or in how it was launched."""


class _Allocation:
    def __init__(self, nbytes: int) -> None:
        self.nbytes, self.device = nbytes, devices.current_device()
        self.memory = np.full(nbytes + 2 * GUARD + 256, 0xA5, np.uint8)
        # CuPy's pool gives 512-byte boundaries; here at least those of the widest vector load.
        skip = GUARD + (-(self.memory.ctypes.data + GUARD)) % 256
        self.bytes = self.memory[skip : skip + nbytes]
        self.written = np.zeros(nbytes, np.uint8)


class ndarray:
    """An array on the emulated device."""

    __array_priority__ = 100

    def __init__(self, view: np.ndarray, allocation: _Allocation) -> None:
        self._a, self._allocation = view, allocation

    # What numpy answers for it.
    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: self._a.flags)
    device = property(lambda self: cuda.Device(self._allocation.device))
    T = property(lambda self: _wrap(self._a.T, self))

    def __len__(self) -> int:
        return len(self._a)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def _flags(self) -> np.ndarray:
        """The flag of each element's first byte, as a view of the array's shape."""
        allocation = self._allocation
        offset = self._a.__array_interface__["data"][0] - allocation.bytes.ctypes.data
        if self.size == 0:
            return np.ones(self.shape, np.uint8)
        return np.ndarray(self.shape, np.uint8, allocation.written, offset, self.strides)

    def _read(self) -> np.ndarray:
        if not self._flags().all():
            raise EmulatorError("reads device memory that nobody wrote")
        return self._a

    def get(self) -> np.ndarray:
        """Return a copy on the host."""
        return self._read().copy()

    def item(self) -> Any:
        """Return the one element."""
        return self._read().item()

    def __bool__(self) -> bool:
        return bool(self._read())

    def __float__(self) -> float:
        return float(self._read())

    def __int__(self) -> int:
        return int(self._read())

    def __getitem__(self, index: Any) -> ndarray:
        plain = self._a[_unwrap(index)]
        if isinstance(plain, np.ndarray) and np.shares_memory(plain, self._a):
            return ndarray(plain, self._allocation)
        return _new(np.asarray(self._read()[_unwrap(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._a[_unwrap(index)] = _unwrap(value)
        self._flags()[_unwrap(index)] = 1

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:
            raise AttributeError(f"the stand-in for cupy.ndarray has no {name!r}")

        def method(*arguments: Any, **options: Any) -> Any:
            plain = self._a if name in _VIEWS else self._read()
            result = getattr(plain, name)(*map(_unwrap, arguments), **options)
            return _wrap(result, self)

        return method


_VIEWS = {"reshape", "transpose", "swapaxes", "ravel"}
_METHODS = {
    *_VIEWS,
    "astype",
    "repeat",
    "sum",
    "max",
    "min",
    "mean",
    "any",
    "all",
    "copy",
    "argmax",
}
_OPERATORS = (
    "add radd sub rsub mul rmul truediv rtruediv pow neg abs eq ne lt le gt ge and or invert matmul"
)
for _operator in _OPERATORS.split():

    def _method(self: ndarray, *others: Any, _name: str = f"__{_operator}__") -> ndarray:
        return _new(np.asarray(getattr(self._read(), _name)(*map(_unwrap, others))))

    setattr(ndarray, f"__{_operator}__", _method)
ndarray.__module__ = "cupy"


def _new(values: np.ndarray) -> ndarray:
    out = empty(values.shape, values.dtype)
    out._a[...] = values
    out._allocation.written[:] = 1
    return out


def _wrap(result: Any, source: ndarray) -> Any:
    if isinstance(result, np.ndarray) and np.may_share_memory(result, source._a) and result.size:
        return ndarray(result, source._allocation)
    return _new(np.asarray(result))


def _unwrap(value: Any) -> Any:
    """Return what numpy may compute with: a device array's memory, or a plain number."""
    if isinstance(value, ndarray):
        return value._read()
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}: a host array among device arrays")
    if isinstance(value, (tuple, list)):
        return type(value)(_unwrap(v) for v in value)
    return value


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """An array of garbage."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    allocation = _Allocation(count * dtype.itemsize)
    return ndarray(allocation.bytes.view(dtype).reshape(shape), allocation)


def zeros(shape: Any, dtype: Any = float) -> ndarray:
    """An array of zeros."""
    return _new(np.zeros(shape, dtype))


def asarray(values: Any, dtype: Any = None) -> ndarray:
    """Copy to the device what is not there."""
    if isinstance(values, ndarray):
        return values if dtype is None or values.dtype == dtype else values.astype(dtype)
    return _new(np.asarray(values, dtype))


def array(values: Any, dtype: Any = None) -> ndarray:
    """Copy to the device, always."""
    plain = values._read() if isinstance(values, ndarray) else values
    return _new(np.array(plain, dtype))


def asnumpy(values: Any) -> np.ndarray:
    """Copy to the host."""
    return values.get() if isinstance(values, ndarray) else np.asarray(values)


_FUNCTIONS = {
    "matmul", "take", "where", "exp", "log", "log1p", "abs", "maximum", "concatenate", "arange",
    "ascontiguousarray", "ones",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"the stand-in for cupy has no {name!r}")

    def function(*arguments: Any, **options: Any) -> ndarray:
        plain = {key: _unwrap(value) for key, value in options.items()}
        return _new(np.asarray(getattr(np, name)(*map(_unwrap, arguments), **plain)))

    return function


class _Region(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("written", ctypes.c_void_p),
        ("item", ctypes.c_uint64),
    )


class _Counters(ctypes.Structure):
    names = ("read_bytes", "written_bytes", "shared_accesses", "barriers", "warp_ops", "atomics")
    _fields_ = tuple((name, ctypes.c_uint64) for name in names)


class _Launch(ctypes.Structure):
    _fields_ = (
        ("call", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("regions", ctypes.c_void_p),
        ("region_count", ctypes.c_uint64),
        ("counters", _Counters),
        ("fault_pc", ctypes.c_uint64),
        ("error", ctypes.c_char * 400),
    )


class RawModule:
    """A source for the emulator."""

    def __init__(self, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        self.code = code
        self.defines = tuple(
            option[2:] if "=" in option else f"{option[2:]}=1"
            for option in options
            if option.startswith("-D")
        )

    def get_function(self, name: str) -> RawKernel:
        """Compile, and return one kernel."""
        return RawKernel(self, name)


class RawKernel:
    """A kernel, called as (grid, block, arguments, shared_mem)."""

    def __init__(self, module: RawModule, name: str) -> None:
        self.module, self.name = module, name
        with _running:
            self.library = build.library(module.code, module.defines)
        kinds = ctypes.create_string_buffer(256)
        getattr(self.library, f"emu_kinds_{name}")(kinds)
        text = kinds.value.decode()
        self.kinds = [text[i : i + 2] for i in range(0, len(text), 2)]
        self.library.emu_static_shared.restype = ctypes.c_uint64
        self.max_dynamic_shared_size_bytes = 48 << 10

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None:
        grid, block = (tuple((*size, 1, 1)[:3]) for size in (grid, block))
        self._check_limits(grid, block, shared_mem)
        regions: list[_Region] = []
        seen: dict[int, _Allocation] = {}
        pointers, _kept = self._arguments(arguments, regions, seen)
        launch = _Launch(
            call=ctypes.cast(getattr(self.library, f"emu_call_{self.name}"), ctypes.c_void_p),
            arguments=ctypes.cast(pointers, ctypes.c_void_p),
            grid=(ctypes.c_uint32 * 3)(*grid),
            block=(ctypes.c_uint32 * 3)(*block),
            shared_bytes=shared_mem,
            seed=seed,
            region_count=len(regions),
        )
        table = (_Region * max(len(regions), 1))(*regions)
        launch.regions = ctypes.cast(table, ctypes.c_void_p)
        with _running:
            failed = self.library.emu_launch(ctypes.byref(launch))
            counters = {name: getattr(launch.counters, name) for name in _Counters.names}
            launches.append((self.name, counters))
            places.append((devices.current_device(), devices.current_stream().ptr))
        if failed:
            line = build.line_of(self.module.code, self.module.defines, launch.fault_pc)
            raise EmulatorError(f"{self.name}: {launch.error.decode()} [{line}]")

    def _arguments(
        self, arguments: tuple[Any, ...], regions: list[_Region], seen: dict[int, _Allocation]
    ) -> Any:
        if len(arguments) != len(self.kinds):
            raise EmulatorError(
                f"{self.name}: wanted {len(self.kinds)} arguments, got {len(arguments)}"
            )
        kept = []
        pointers = (ctypes.c_void_p * len(arguments))()
        for i, (kind, value) in enumerate(zip(self.kinds, arguments, strict=True)):
            if isinstance(value, ndarray):
                got, raw = "p8", np.uint64(value._a.__array_interface__["data"][0])
                allocation = value._allocation
                if allocation.device != devices.current_device():
                    raise EmulatorError(
                        f"{self.name}: argument {i} lies on device {allocation.device}, "
                        f"the launch is on {devices.current_device()}"
                    )
                if id(allocation) not in seen and allocation.nbytes:
                    seen[id(allocation)] = allocation
                    regions.append(
                        _Region(
                            allocation.bytes.ctypes.data,
                            allocation.nbytes,
                            allocation.written.ctypes.data,
                            value.itemsize,
                        )
                    )
            elif isinstance(value, np.uintp) and kind == "p8" and value == 0:
                got, raw = "p8", np.uint64(0)
            elif isinstance(value, (int, float)) and not isinstance(value, np.generic):
                # CuPy passes these as 8 bytes, whatever the kernel takes.
                got, raw = ("f8" if isinstance(value, float) else "i8"), np.array(value)
            elif isinstance(value, np.generic):
                got, raw = ("f" if value.dtype.kind == "f" else "i") + str(value.itemsize), value
            else:
                raise TypeError(f"{self.name}: argument {i}: unsupported type {type(value)}")
            if got != kind:
                raise EmulatorError(
                    f"{self.name}: argument {i}: the kernel takes {kind}, got {got}"
                )
            held = np.array([raw])
            kept.append(held)
            pointers[i] = held.ctypes.data
        return pointers, kept

    def _check_limits(self, grid: Any, block: Any, shared: int) -> None:
        threads = int(np.prod(block))
        static = int(self.library.emu_static_shared())
        faults = (
            (min(grid) < 1 or min(block) < 1, f"an empty launch, grid {grid}, block {block}"),
            (threads > LIMITS["threads"], f"{threads} threads a block"),
            (max(grid[1:]) > 65535, f"a grid of {grid}"),
            (static > LIMITS["shared"], f"{static} bytes of static shared memory"),
            (
                static + shared > LIMITS["shared_optin"]
                or shared > max(self.max_dynamic_shared_size_bytes, 48 << 10),
                f"{static} + {shared} bytes of shared memory, "
                f"{self.max_dynamic_shared_size_bytes} of it asked for",
            ),
        )
        for wrong, what in faults:
            if wrong:
                raise EmulatorError(f"{self.name}: no device launches {what}")


def get_default_memory_pool() -> Any:
    """Return a pool that holds nothing back."""
    return types.SimpleNamespace(free_all_blocks=lambda: None, free_bytes=lambda: 0)
