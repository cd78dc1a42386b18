"""Finding a usable GPU, and saying why there is none."""

from __future__ import annotations

import importlib
from typing import Any

from yosort.errors import DeviceError

#: The oldest compute capability that today's NVRTC compiles for: Turing.
OLDEST = 75


def find_gpu(device: str = "cuda") -> tuple[Any, int]:
    """Return the cupy module and the index of a device: "cuda" (the first) or "cuda:N".

    Raises:
        DeviceError: no cupy, a cupy that does not load, no driver or one older than cupy's CUDA, no
            such device, one too old, no NVRTC or no cuBLAS; each with what to do about it.
    """
    index = int(device[5:]) if device.startswith("cuda:") else 0
    try:
        cupy = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise DeviceError(f"device={device!r}: cupy does not load: {error}") from error
        raise DeviceError(
            f"device={device!r}: cupy is not installed; `pip install 'yosort[cuda13]'` brings it "
            "for drivers of CUDA 13, 'yosort[cuda12]' for those of CUDA 12"
        ) from None
    except Exception as error:  # a missing library surfaces as ImportError, OSError, ...
        raise DeviceError(
            f"device={device!r}: cupy does not load; is its wheel for another CUDA version? {error}"
        ) from error
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"device={device!r}: CUDA cannot start: {error}; wanted an NVIDIA driver as new as "
            "the cupy wheel (`nvidia-smi` shows its CUDA version; `pip install 'yosort[cuda12]'` "
            "brings a cupy for drivers of CUDA 12)"
        ) from error
    if index >= count:
        raise DeviceError(f"device={device!r}: this machine has {count} CUDA device(s)")
    capability = int(cupy.cuda.Device(index).compute_capability)
    if capability < OLDEST:
        raise DeviceError(
            f"device={device!r}: wanted compute capability {OLDEST / 10} or newer, "
            f"got {capability / 10}"
        )
    try:
        cupy.cuda.nvrtc.getVersion()
        with cupy.cuda.Device(index):
            cupy.cuda.get_cublas_handle()
    except Exception as error:  # cupy loads these late, and their errors have no class in common
        raise DeviceError(
            f"device={device!r}: cupy finds no NVRTC or no cuBLAS: {error}; "
            "`pip install 'yosort[cuda13]'` (or 'yosort[cuda12]', as cupy is) brings both"
        ) from error
    return cupy, index
