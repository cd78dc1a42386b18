"""Compile a .cu source for the emulator, and load it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Set to switch fibers as processors without an assembly switch would.
PORTABLE = ["-DEMU_UCONTEXT"] if os.environ.get("YOSORT_EMULATOR_PORTABLE") else []
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(')


def compiler() -> str | None:
    """Return a C++ compiler whose -fsanitize=thread calls the usual hooks, or None."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    return None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


@cache
def _folder() -> Path:
    """A folder of compiled kernels, named by the emulator's own text and compiler."""
    text = b"".join((HERE / name).read_bytes() for name in ("cuda.h", "runtime.cpp", "build.py"))
    name = compiler() or "none"
    digest = hashlib.sha256(text + " ".join([name, *PORTABLE]).encode()).hexdigest()[:16]
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"yosort-emulator-{user}-{digest}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def _runtime() -> Path:
    target = _folder() / "runtime.o"
    if not target.exists():
        scratch = target.with_suffix(f".{os.getpid()}.o")
        options = ["-std=c++17", "-O2", "-g", "-fPIC", "-Wno-psabi", *PORTABLE]
        _run(str(compiler()), *options, "-c", str(HERE / "runtime.cpp"), "-o", str(scratch))
        scratch.replace(target)
    return target


@cache
def library(source: str, defines: tuple[str, ...]) -> ctypes.CDLL:
    """Compile one specialisation of a source; `defines` are NAME=VALUE."""
    kernels = _KERNEL.findall(source)
    if not kernels:
        raise RuntimeError('the source has no extern "C" __global__ kernel')
    text = "\n".join(
        [
            f'#include "{HERE / "cuda.h"}"',
            *(f"#define {define.replace('=', ' ', 1)}" for define in defines),
            '#line 1 "kernel.cu"',
            source,
            *(f"EMU_EXPORT({kernel})" for kernel in kernels),
        ]
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    target = _folder() / f"{digest}.so"
    if not target.exists():
        stem = _folder() / f"{digest}.{os.getpid()}"
        code, obj, scratch = (stem.with_suffix(s) for s in (".cpp", ".o", ".so"))
        code.write_text(text, encoding="utf-8")
        options = [
            "-std=c++17",
            "-O1",
            "-g",
            "-fPIC",
            "-fsanitize=thread",
            "-fsanitize=bounds,shift,integer-divide-by-zero",
            "-Wno-psabi",
            "-Wno-unknown-pragmas",
            "-Wno-tsan",
        ]
        if "clang" in str(compiler()):
            options.remove("-Wno-tsan")
        _run(str(compiler()), *options, "-c", str(code), "-o", str(obj))
        # Without -fsanitize: the hooks are the emulator's own.
        link = ["-shared", "-Wl,-Bsymbolic", "-o", str(scratch)]
        _run(str(compiler()), str(obj), str(_runtime()), *link)
        scratch.replace(target)
        obj.unlink()
    return ctypes.CDLL(str(target))


def line_of(source: str, defines: tuple[str, ...], pc: int) -> str:
    """Return "kernel.cu:LINE" of an address in a library, or "" where addr2line is not there."""
    if not pc or not shutil.which("addr2line"):
        return ""
    path = library(source, defines)._name
    command = ["addr2line", "-e", path, hex(pc - 1)]
    found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return "" if found.startswith("?") else Path(found.split(" ")[0]).name
