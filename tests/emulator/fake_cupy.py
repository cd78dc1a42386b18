"""A stand-in for cupy over numpy, stricter than the original: just what yosort uses.

Every array lies in an allocation of its own between guard zones, filled with garbage, with a flag a
byte that tells what was written. numpy arrays are refused where cupy refuses them, and reading what
nobody wrote, or what another stream may still be writing, is an error. Kernels run in the emulator.
"""

from __future__ import annotations

import os
import types
from typing import Any

import numpy as np

from emulator import devices
from emulator.devices import EmulatorError, cuda

__version__ = "0 (emulated)"
float16, float32, float64 = np.float16, np.float32, np.float64
int8, int32, int64, uint16, uint32 = np.int8, np.int32, np.int64, np.uint16, np.uint32
newaxis, pi, inf = None, np.pi, np.inf

GUARD = 512
#: Seed of thread orders; 0 is in order. Tests change it, results must not.
seed = int(os.environ.get("YOSORT_EMULATOR_SEED", "1"))
#: Whether launches count what a warp's lanes access together: banks of shared memory, sectors.
by_warps = False
#: All launches so far: the kernel and what it counted; and where they ran: (device, stream).
launches: list[tuple[str, dict[str, int]]] = []
places: list[tuple[int, int]] = []


class _Allocation:
    def __init__(self, nbytes: int) -> None:
        self.nbytes, self.device, self.pool = nbytes, devices.current_device(), None
        self.taken = devices.current_pool().take(nbytes)
        self.pool = devices.current_pool()
        self.history = devices.History()
        self.memory = np.full(nbytes + 2 * GUARD + 256, 0xA5, np.uint8)
        # CuPy's pool gives 512-byte boundaries; here at least those of the widest vector load.
        skip = GUARD + (-(self.memory.ctypes.data + GUARD)) % 256
        self.bytes = self.memory[skip : skip + nbytes]
        self.written = np.zeros(nbytes, np.uint8)

    def __del__(self) -> None:
        if self.pool is not None:
            self.pool.give(self.taken)

    def note(self, *, writes: bool) -> None:
        """Let the current stream read or write."""
        self.history.note(devices.current_stream(self.device), writes=writes)


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
    data = property(lambda self: types.SimpleNamespace(ptr=self._a.ctypes.data))
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
        self._allocation.note(writes=False)
        return self._a

    def get(self) -> np.ndarray:
        """Return a copy on the host, which waits for it."""
        copy = self._read().copy()
        devices.counts["downloads"] += 1
        devices.current_stream(self._allocation.device).synchronize()
        return copy

    def item(self) -> Any:
        """Return the one element."""
        return self.get().item()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __getitem__(self, index: Any) -> ndarray:
        if isinstance(index, ndarray) and index.dtype == bool:
            devices.current_stream().synchronize()  # how many there are is asked of the device
        plain = self._a[_unwrap(index)]
        if isinstance(plain, np.ndarray) and np.shares_memory(plain, self._a):
            return ndarray(plain, self._allocation)
        return _computed(self._read()[_unwrap(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._allocation.note(writes=True)
        devices.counts["kernels"] += 1
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


_VIEWS = {"reshape", "transpose", "swapaxes", "ravel", "view"}
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
        return _computed(getattr(self._read(), _name)(*map(_unwrap, others)))

    setattr(ndarray, f"__{_operator}__", _method)
ndarray.__module__ = "cupy"


def _new(values: np.ndarray) -> ndarray:
    out = empty(values.shape, values.dtype)
    out._a[...] = values
    out._allocation.written[:] = 1
    out._allocation.note(writes=True)
    return out


def _computed(result: Any) -> ndarray:
    """Return what one of CuPy's own kernels made."""
    devices.counts["kernels"] += 1
    return _new(np.asarray(result))


def _uploaded(values: np.ndarray) -> ndarray:
    """Copy from the host, through page-locked memory: nobody waits for it."""
    devices.refuse_capture("a copy from the host")
    if values.ndim:
        devices.counts["uploads"] += 1
        devices.pinned.stage(values.nbytes)
    return _new(values)


def _wrap(result: Any, source: ndarray) -> Any:
    if isinstance(result, np.ndarray) and np.may_share_memory(result, source._a) and result.size:
        return ndarray(result, source._allocation)
    return _computed(result)


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
    return _uploaded(np.asarray(values, dtype))


def array(values: Any, dtype: Any = None) -> ndarray:
    """Copy to the device, always."""
    if isinstance(values, ndarray):
        return _computed(np.array(values._read(), dtype))
    return _uploaded(np.array(values, dtype))


def copyto(target: ndarray, source: ndarray) -> None:
    """Copy on the device."""
    target[...] = source


def asnumpy(values: Any) -> np.ndarray:
    """Copy to the host."""
    return values.get() if isinstance(values, ndarray) else np.asarray(values)


def matmul(left: ndarray, right: ndarray) -> ndarray:
    """Multiply by cuBLAS, which adds in float32; one row by one column, by an elementwise sum."""
    devices.refuse_capture("cuBLAS")
    a, b = _unwrap(left), _unwrap(right)
    if a.ndim == b.ndim == 2 and a.shape[0] == b.shape[1] == 1:
        devices.counts["elementwise products"] += 1
        products = a[0] * b[:, 0]  # in float16 each one is rounded
        return _new(products.sum(dtype=np.float32).astype(a.dtype).reshape(1, 1))
    devices.counts["products"] += 1
    return _new(np.matmul(a, b, dtype=np.float32).astype(a.dtype))


_FUNCTIONS = {
    "take", "where", "exp", "log", "log1p", "abs", "maximum", "concatenate", "arange",
    "ascontiguousarray", "ones",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"the stand-in for cupy has no {name!r}")

    def function(*arguments: Any, **options: Any) -> ndarray:
        plain = {key: _unwrap(value) for key, value in options.items()}
        return _computed(getattr(np, name)(*map(_unwrap, arguments), **plain))

    return function


def get_default_memory_pool() -> devices.Pool:
    """Return the pool of the current device."""
    return devices.current_pool()


def get_default_pinned_memory_pool() -> devices.PinnedPool:
    """Return the pool of page-locked memory."""
    return devices.pinned


from emulator.fake_kernels import RawKernel, RawModule  # noqa: E402, F401
