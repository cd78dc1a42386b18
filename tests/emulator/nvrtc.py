"""NVRTC without a GPU: the compiler of the nvidia-cuda-nvrtc wheel, through ctypes.

    PYTHONPATH=tests python -m emulator.nvrtc

prints what every kernel takes of a multiprocessor, as a Markdown table.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from yosort.activations import ACTIVATIONS
from yosort.ops.cuda import attention as cuda_attention
from yosort.ops.cuda.launcher import SIGNATURES, source
from yosort.ops.hashing import hash_dim

#: Turing, Ampere, Orin, Hopper, Blackwell.
ARCHITECTURES = (75, 80, 87, 90, 120)

#: What CuPy adds to the launcher's options; of two settings of one thing the last counts.
CUPYS_OWN = ("-ftz=true", "--device-as-default-execution-space")

FORMULAS = sorted({*ACTIVATIONS.values()})

#: file -> the specialisations that models ask for
SPECIALISATIONS: dict[str, list[dict[str, int | str]]] = {
    "hadamard_hash": [
        {"WIDTH": hash_dim(dim, length), "CODE_LEN": length, "VECTOR": vector}
        for dim in (8, 32, 48, 64, 128, 256)
        for length in (1, 8, 9, 16)
        for vector in (1, 4)
    ],
    "sign_codes": [{}],
    "lsh_cumulation": [
        {"TABLES": cuda_attention.TABLES, "SLICE": cuda_attention.SLICE, "BUCKETS": buckets}
        for buckets in (2, 256, cuda_attention.BUCKETS)
    ],
    "normalize_heads": [{}],
    "expected_attention": [
        {"CODE_LEN": length, "CHUNK": chunk}
        for length in (1, 8, 9, 16)
        for chunk in (8, 16, 32, 64)
    ],
    "tensor_attention": [
        {"CODE_LEN": length, "DIM": dim, "COLUMNS": columns}
        for length in (1, 8, 9, 16)
        for dim, columns in ((16, 8), (64, 64), (80, 64), (128, 64))
    ],
    "layer": [
        *(
            {"ACTIVATION": f"activate_{a}", "PER_THREAD": 1}
            for a in sorted({*ACTIVATIONS.values()})
        ),
        *({"ACTIVATION": "activate_linear", "PER_THREAD": count} for count in (3, 4, 16)),
    ],
    "convolution": [{}],
}


#: Threads of a block, where they are not 256.
THREADS = {
    "expected_attention": cuda_attention.EXPECT_THREADS,
    "tensor_attention": cuda_attention.TENSOR_THREADS,
}


def types(file: str, architecture: int) -> tuple[bool, ...]:
    """Return for which types a source is compiled: whether for float16."""
    if file == "tensor_attention":
        return (True,) if architecture >= 80 else ()
    return (False, True)


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
    target = (f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v")
    return _parse(_compile(source, (*target, *options))[0])


def ptx(source: str, architecture: int, options: tuple[str, ...]) -> str:
    """Return the assembly of a source for compute_`architecture`."""
    return _compile(source, (f"--gpu-architecture=compute_{architecture}", *options))[1]


def machine_code(source: str, flags: tuple[str, ...]) -> bytes:
    """Return the binary of a source, for the sm_N that a flag names."""
    return _compile(source, flags)[2]


def _compile(source: str, flags: tuple[str, ...]) -> tuple[str, str, bytes]:
    """Return the log, the assembly and the binary, which may be empty.

    RuntimeError with the log if it fails.
    """
    nvrtc = library()
    if nvrtc is None:
        raise RuntimeError("the nvidia-cuda-nvrtc wheel is not installed")
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    flags += CUPYS_OWN
    array = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    status = nvrtc.nvrtcCompileProgram(program, len(flags), array)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(max(size.value, 1))
    nvrtc.nvrtcGetProgramLog(program, log)
    text = log.value.decode(errors="replace")
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    assembly = ctypes.create_string_buffer(max(size.value, 1))
    nvrtc.nvrtcGetPTX(program, assembly)
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    binary = ctypes.create_string_buffer(max(size.value, 1))
    nvrtc.nvrtcGetCUBIN(program, binary)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if status != 0:
        raise RuntimeError(f"NVRTC, {' '.join(flags)}: {text}")
    return text, assembly.value.decode(errors="replace"), binary.raw


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


def options(defines: Mapping[str, int | str], half: bool) -> tuple[str, ...]:
    """Return what the launcher passes to the compiler."""
    return ("--std=c++14", *(f"-D{k}={v}" for k, v in defines.items()), *(["-DHALF"] * half))


def table() -> str:
    """Return the largest figures of each kernel over its specialisations and both float types."""
    head = [
        "kernel",
        *(f"sm_{a}" for a in ARCHITECTURES),
        "spilled bytes",
        "bytes of shared memory",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for kernel, (file, _) in SIGNATURES.items():
        found = {
            architecture: [
                compile_kernels(source(file), architecture, options(defines, half))[kernel]
                for defines in SPECIALISATIONS[file]
                for half in types(file, architecture)
            ]
            for architecture in ARCHITECTURES
        }
        registers = [
            str(max((c.registers for c in compiled), default="")) for compiled in found.values()
        ]
        every = [c for compiled in found.values() for c in compiled]
        spilled = max(c.spilled_bytes for c in every)
        shared = max(c.static_shared_bytes for c in every)
        lines.append(f"| `{kernel}` | {' | '.join(registers)} | {spilled} | {shared:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
