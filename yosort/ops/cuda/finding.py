"""Finding a usable GPU, and saying why there is none, or why a call on it failed."""

from __future__ import annotations

import importlib
import os
from typing import Any

from yosort.errors import DeviceError

#: The oldest compute capability that today's NVRTC compiles for: Turing.
OLDEST = 75
#: How CUDA's runtime, its driver and cuBLAS say that the device's memory is full.
_FULL = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")
#: What helps then.
LESS = "smaller batches, shorter texts or dtype='float16' need less"
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
    """Return what an error of CuPy's says and what helps, where it is one that its user can help.

    Messages, not classes: the runtime, the driver, cuBLAS and the memory pool have one each.
    """
    if is_full(error):
        return f"{error}; {LESS}"
    if isinstance(error, OSError):
        return (
            f"CuPy cannot keep the kernels that it compiles: {error}; "
            "set CUPY_CACHE_DIR to a folder that can be written and has room"
        )
    return None


def is_full(error: BaseException) -> bool:
    """Whether an error says that the device's memory is full."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in _FULL)


def find_gpu(device: str = "cuda") -> tuple[Any, int]:
    """Return the cupy module and the index of a device: "cuda" (the first) or "cuda:N".

    Raises:
        DeviceError: no cupy, a cupy that does not load, no driver or one older than cupy's CUDA, no
            such device, one too old, no NVRTC or no cuBLAS, a full device, a cache of CuPy's that
            cannot be written, a process forked from one that used CUDA; each with what to do.
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
    except PermissionError as error:
        raise DeviceError(f"device={device!r}: {remedy(error)}") from error
    except Exception as error:  # a missing library surfaces as ImportError, OSError, ...
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
        cupy.cuda.nvrtc.getVersion()
        with cupy.cuda.Device(index):
            cupy.cuda.get_cublas_handle()
    except Exception as error:  # cupy loads these late, and their errors have no class in common
        if is_full(error) or isinstance(error, PermissionError):
            raise DeviceError(f"device={device!r}: {remedy(error)}") from error
        raise DeviceError(
            f"device={device!r}: cupy finds no NVRTC or no cuBLAS: {error}; "
            "`pip install '.[cuda13]'` (or '.[cuda12]', as cupy is) brings both"
        ) from error
    _started_in = os.getpid()
    return cupy, index
