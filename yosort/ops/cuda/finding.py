"""Finding a usable GPU, and saying why there is none, or why a call on it failed."""

from __future__ import annotations

import errno
import importlib
import os
from typing import Any

from yosort.errors import DeviceError

#: The oldest compute capability that today's NVRTC compiles for: Turing.
OLDEST = 75
#: How CUDA's runtime, its driver and cuBLAS say that the device's memory is full.
_FULL = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")
#: How CUDA says that this process was forked from one that used it.
_FORKED = ("cudaErrorInitializationError", "CUDA_ERROR_NOT_INITIALIZED")
#: What helps where memory is full.
LESS = "smaller batches, shorter texts or dtype='float16' need less"
#: The least that can be compiled.
_PROBE = 'extern "C" __global__ void probe() {}'
#: The process in which CUDA was first used: a child forked from it cannot use it.
_started_in: int | None = None


def check_process(device: str, process: int | None) -> None:
    """Raise DeviceError if CUDA was started in another process than this, from which it forked."""
    if process is not None and process != os.getpid():
        raise DeviceError(
            f"{device}: loaded before a fork, and CUDA does not work in the child of one; "
            "load the model in each worker process, or start workers by spawn"
        )


def remedy(error: BaseException) -> str | None:
    """Return what an error of CuPy's says, and what helps where its user can help it.

    None for what is no error of CuPy's. Messages and modules, not classes: the runtime, the driver,
    cuBLAS, NVRTC and the memory pool have one each, and some are RuntimeErrors of no class at all.
    """
    if is_full(error):
        return f"{error}; {LESS}"
    if isinstance(error, OSError):
        return (
            f"CuPy cannot keep the kernels that it compiles: {error}; "
            "set CUPY_CACHE_DIR to a folder that can be written and has room"
        )
    if any(word in str(error) for word in _FORKED):
        return f"{error}; CUDA was started before a fork: start worker processes by spawn"
    if type(error).__module__.partition(".")[0] in ("cupy", "cupy_backends"):
        return f"{type(error).__name__}: {error}"
    return None


def is_full(error: BaseException) -> bool:
    """Whether an error says that the device's memory is full."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in _FULL)


def _cannot_write(error: BaseException) -> bool:
    """Whether a file could not be written; a library that does not load is an OSError as well."""
    return isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.ENOSPC)


def find_gpu(device: str = "cuda") -> tuple[Any, int]:
    """Return the cupy module and the index of a device: "cuda" (the first) or "cuda:N".

    Raises:
        DeviceError: no cupy, a cupy that does not load, no driver or one older than cupy's CUDA, no
            such device, one too old, no NVRTC, no headers of CUDA's or no cuBLAS, a full device, a
            cache of CuPy's that cannot be written, a process forked from one that used CUDA; each
            with what to do.
    """
    global _started_in
    check_process(f"device={device!r}", _started_in)
    index = int(device[5:]) if device.startswith("cuda:") else 0
    try:
        cupy = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise DeviceError(f"device={device!r}: cupy does not load: {error}") from error
        raise DeviceError(
            f"device={device!r}: cupy is not installed; `pip install '.[cuda13]'` brings it "
            "for drivers of CUDA 13, '.[cuda12]' for those of CUDA 12"
        ) from None
    except Exception as error:  # a missing library surfaces as ImportError, OSError, ...
        if _cannot_write(error):
            raise DeviceError(f"device={device!r}: {remedy(error)}") from error
        raise DeviceError(
            f"device={device!r}: cupy does not load; is its wheel for another CUDA version? {error}"
        ) from error
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"device={device!r}: CUDA cannot start: {error}; wanted an NVIDIA driver as new as "
            "the cupy wheel (`nvidia-smi` shows its CUDA version; `pip install '.[cuda12]'` "
            "brings a cupy for drivers of CUDA 12)"
        ) from error
    if index >= count:
        raise DeviceError(f"device={device!r}: this machine has {count} CUDA device(s)")
    capability = int(cupy.cuda.Device(index).compute_capability)
    if capability < OLDEST:
        raise DeviceError.wanted(
            f"device={device!r}", f"compute capability {OLDEST / 10} or newer", got=capability / 10
        )
    try:
        with cupy.cuda.Device(index):
            cupy.cuda.get_cublas_handle()
            # Only compiling shows whether NVRTC loads, knows the device, and has the headers that
            # CuPy wants for every source, even for ours, which include nothing.
            cupy.RawModule(code=_PROBE, options=("--std=c++14",)).compile()
    except Exception as error:  # cupy loads these late, and their errors have no class in common
        if is_full(error) or _cannot_write(error):
            raise DeviceError(f"device={device!r}: {remedy(error)}") from error
        raise DeviceError(
            f"device={device!r}: cupy lacks NVRTC, CUDA's headers or cuBLAS: {error}; "
            "`pip install '.[cuda13]'` (or '.[cuda12]', as cupy is) brings all"
        ) from error
    _started_in = os.getpid()
    return cupy, index
