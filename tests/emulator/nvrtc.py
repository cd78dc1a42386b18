"""NVRTC without a GPU: the compiler of the nvidia-cuda-nvrtc wheel, through ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Turing, Ampere, Orin, Hopper, Blackwell.
ARCHITECTURES = (75, 80, 87, 90, 120)


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of one kernel."""

    registers: int
    spilled_bytes: int
    static_shared_bytes: int


@cache
def library() -> ctypes.CDLL | None:
    """Return libnvrtc from the wheel, or None where it is not installed."""
    found = importlib.util.find_spec("nvidia")
    for root in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(root).glob("**/libnvrtc.so.*")) + sorted(
            Path(root).glob("**/nvrtc64_*.dll")
        ):
            if "alt" not in path.name:
                return ctypes.CDLL(str(path))
    return None


def compile_kernels(
    source: str, architecture: int, options: tuple[str, ...]
) -> dict[str, Compiled]:
    """Compile to machine code for sm_`architecture`; RuntimeError with the log if that fails."""
    nvrtc = library()
    if nvrtc is None:
        raise RuntimeError("the nvidia-cuda-nvrtc wheel is not installed")
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    flags = [f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *options]
    array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    status = nvrtc.nvrtcCompileProgram(program, len(flags), array)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(max(size.value, 1))
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    text = log.value.decode(errors="replace")
    if status != 0:
        raise RuntimeError(f"NVRTC, sm_{architecture}, {' '.join(options)}: {text}")
    return _parse(text)


def _parse(log: str) -> dict[str, Compiled]:
    """Read the assembler's report, one paragraph a kernel."""
    kernels = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        name = part.partition("'")[0]
        registers = re.search(r"Used (\d+) registers", part)
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        shared = re.search(r"(\d+) bytes smem", part)
        if registers is None or spills is None:
            raise RuntimeError(f"no report of registers and spills for {name}: {part}")
        kernels[name] = Compiled(
            int(registers[1]),
            int(spills[1]) + int(spills[2]),
            int(shared[1]) if shared else 0,
        )
    return kernels
