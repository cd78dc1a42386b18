"""`yosort doctor`: what this machine offers, and what would fix what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from typing import Any

from yosort import __version__
from yosort.errors import DeviceError


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="say what this machine offers, and what would fix what is missing",
        description="Report processor features, threads, libraries, CUDA and CuPy.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    for name, value in report():
        print(f"{name:20}  {value}")
    return 0


def report() -> list[tuple[str, str]]:
    """Return (what, finding) pairs."""
    from yosort._kernels import Kernels, available_instruction_sets
    from yosort.threads import resolve_num_threads

    found = [
        ("yosort", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    for name in ("numpy", "safetensors", "tokenizers", "tqdm", "huggingface_hub"):
        found.append((name, _version(name)))
    kernels = Kernels(None)
    found.append(
        ("instruction sets", f"{', '.join(available_instruction_sets())}; using {kernels.name}")
    )
    if platform.machine() in ("x86_64", "AMD64") and kernels.name == "baseline":
        found.append(("", "no AVX2 here, or not compiled in: expect a quarter of the speed"))
    found.append(("threads", f"{resolve_num_threads(None)} of {os.cpu_count()} cores"))
    for variable in ("YOSORT_NUM_THREADS", "OMP_NUM_THREADS"):
        if variable in os.environ:
            found.append((f"  {variable}", os.environ[variable]))
    found.append(("BLAS", "numpy's is not used by the CPU backend"))
    found += _gpu()
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        hint = "; `pip install 'yosort[hub]'` loads models by hub id" if "hub" in name else ""
        return f"not installed{hint}"


def _gpu() -> list[tuple[str, str]]:
    from yosort.ops.gpu import find_gpu

    try:
        cupy, index = find_gpu()
    except DeviceError as error:
        return [("GPU", f"none usable: {str(error).partition(': ')[2]}")]
    free, total = cupy.cuda.Device(index).mem_info
    capability = int(cupy.cuda.Device(index).compute_capability) / 10
    version = getattr(sys.modules["cupy"], "__version__", "unknown")
    return [
        ("cupy", version),
        ("GPU", f"cuda:{index}, compute capability {capability}"),
        ("  memory", f"{free >> 20:,} of {total >> 20:,} MB free"),
    ]
