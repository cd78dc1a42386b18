"""The choice of a backend: the only place where one is made."""

from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np

from yosort.arguments import is_integer
from yosort.errors import ConfigError, DeviceError
from yosort.machine import TENSOR_CORES, wants
from yosort.ops.cpu.backend import CpuOps
from yosort.ops.cpu.bfloat16 import Bfloat16Ops
from yosort.ops.cpu.int8 import Int8Ops
from yosort.ops.cuda.backend import CudaOps
from yosort.ops.cuda.finding import find_gpu
from yosort.ops.interface import Ops
from yosort.ops.plain import PlainOps

_log = logging.getLogger("yosort")

#: Compute types of the GPU backend.
GPU_TYPES = ("float32", "float16")
#: Those of the CPU, and the backend of each.
_CPU_OPS = {"float32": CpuOps, "bfloat16": Bfloat16Ops, "int8": Int8Ops}
CPU_TYPES = tuple(_CPU_OPS)
#: What else people call them.
_TYPE_NAMES = {
    "auto": "float32",
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
}


def get_ops(device: str = "auto", *, dtype: str = "float32", num_threads: int | None = None) -> Ops:
    """Return the backend for a device.

    Args:
        device: "auto" (a usable GPU, or the CPU; the choice is logged), "cpu", "cuda", "cuda:N",
            or "reference" (plain NumPy in float64, for tests and study); -1 is the CPU, N cuda:N.
        dtype: compute type: "float32"; "float16" on a GPU; "bfloat16" and "int8" on a CPU.
        num_threads: CPU threads a call may use; None for what environment and machine say.

    Raises:
        ConfigError: no such device name or dtype.
        DeviceError: the device cannot be used, and why.
    """
    device = check_device(device)
    name = check_dtype(dtype)
    # Some types are the CPU's alone, and "auto" need not look further.
    if (device == "auto" and name in GPU_TYPES) or device.startswith("cuda"):
        found = _gpu(device)
        if found is not None:
            if name not in GPU_TYPES:
                wanted = " or ".join(f'"{known}"' for known in GPU_TYPES)
                raise ConfigError.wanted("dtype", f"{wanted} on a GPU", dtype)
            return CudaOps(*found, dtype=name, tensor_cores=wants(TENSOR_CORES) is True)
    if device == "reference":
        if name != "float32":
            raise ConfigError.wanted("dtype", '"float32" of the reference', dtype)
        return PlainOps()
    if name not in CPU_TYPES:
        wanted = " or ".join(f'"{known}"' for known in CPU_TYPES)
        raise ConfigError.wanted("dtype", f"{wanted} on the CPU", dtype)
    return _CPU_OPS[name](num_threads)


def check_device(device: Any) -> str:
    """Return the name of a device; transformers' numbers (-1: the CPU) are names, too.

    Raises:
        ConfigError: no such device.
    """
    if device is None:
        return "auto"
    if isinstance(device, str) and re.fullmatch("-1|[0-9]{1,9}", device):  # as a shell hands it on
        device = int(device)
    if is_integer(device) and device >= -1:
        return "cpu" if device == -1 else f"cuda:{device}"
    name = str(device).lower() if isinstance(device, str) or _is_of_torch(device) else ""
    if name == "cpu:0":  # as torch has it
        return "cpu"
    if name in ("auto", "cpu", "cuda", "reference") or re.fullmatch("cuda:[0-9]{1,9}", name):
        return name
    raise ConfigError.wanted(
        "device", '"auto", "cpu", "cuda", "cuda:N", -1 (the CPU) or N (cuda:N)', device
    )


def check_dtype(dtype: Any) -> str:
    """Return the name of a compute type that some backend has.

    None and "auto" are float32: what every checkpoint may be computed in, wherever it runs. Types
    of NumPy's and torch's count by their names.

    Raises:
        ConfigError: no such type.
    """
    if dtype is None:
        return "float32"
    name = ""
    if isinstance(dtype, (str, np.dtype)) or _is_of_torch(dtype):
        name = str(dtype).lower().removeprefix("torch.")
    elif isinstance(dtype, type) and issubclass(dtype, np.generic):
        name = np.dtype(dtype).name
    name = _TYPE_NAMES.get(name, name)
    if name not in (*CPU_TYPES, *GPU_TYPES):
        known = " or ".join(f'"{name}"' for name in dict.fromkeys((*GPU_TYPES, *CPU_TYPES)))
        raise ConfigError.wanted("dtype", known, dtype)
    return name


def _is_of_torch(value: Any) -> bool:
    """Whether a value is torch's: its devices and types have our names, and torch is not here."""
    return type(value).__module__.split(".")[0] == "torch"


def _gpu(device: str) -> tuple[Any, int] | None:
    """Return (cupy, index); None where "auto" finds no GPU, which is logged with the reason."""
    if device != "auto":
        return find_gpu(device)
    try:
        found = find_gpu()
    except DeviceError as error:
        _log.info("device='auto': using the CPU (%s)", error)
        return None
    # A warning for as long as the answer may be the first that a GPU gives: see docs/gpu.md.
    _log.warning(
        "device='auto': using cuda:%d, where nothing of yosort has run yet; device='cpu' is tried",
        found[1],
    )
    return found
