"""`yosort doctor`: what this machine offers, and what would fix what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from typing import Any

from yosort import __version__
from yosort.cli import terminal
from yosort.errors import DeviceError, YosortError, one_line

#: Optional packages, and what brings them and what for.
_EXTRAS = {
    "huggingface_hub": "`pip install '.[hub]'` loads models by hub id",
    "starlette": "`pip install '.[serve]'` answers over HTTP",
    "shtab": "`pip install '.[completion]'` completes commands in shells",
}


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        parents=[common],
        help="say what this machine offers, and what would fix what is missing",
        description="Report processor features, threads, libraries, CUDA and CuPy, and let the "
        "bundled model answer.",
        epilog="example: yosort doctor",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    terminal.print_facts(report())
    return 0


def report() -> list[tuple[str, str]]:
    """Return (what, finding) pairs."""
    from yosort._dense import Kernels, available_instruction_sets
    from yosort.machine import TENSOR_CORES, TILES, TILES_REFUSED, resolve_num_threads
    from yosort.ops.cpu.backend import request_tiles

    found = [
        ("yosort", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]
    for name in ("numpy", "safetensors", "tokenizers", "tqdm", *_EXTRAS):
        found.append((name, _version(name)))
    granted = request_tiles()
    kernels = Kernels(None)
    found.append(
        ("instruction sets", f"{', '.join(available_instruction_sets())}; using {kernels.name}")
    )
    if platform.machine() in ("x86_64", "AMD64") and kernels.name == "baseline":
        found.append(("", "no AVX2 here, or not compiled in: expect a quarter of the speed"))
    if granted is False:
        found.append(("", TILES_REFUSED))
    found.append(("number types", _number_types(kernels)))
    found.append(("threads", f"{resolve_num_threads(None)} of {os.cpu_count()} cores"))
    for variable in ("YOSORT_NUM_THREADS", "OMP_NUM_THREADS", TILES, TENSOR_CORES):
        if variable in os.environ:
            found.append((f"  {variable}", os.environ[variable]))
    found.append(("BLAS", f"numpy has {_blas()}; the CPU backend has its own kernels"))
    found += _gpu()
    found.append(("models", _models()))
    found.append(("self-test", _self_test()))
    return found


def _number_types(kernels: Any) -> str:
    """Say which types products can have, and which are no faster here than float32."""
    from yosort.ops.choice import CPU_TYPES

    words = {True: "", False: " (smaller; no faster on this processor)"}
    return ", ".join(f"{name}{words[kernels.multiplies(name)]}" for name in CPU_TYPES)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        hint = _EXTRAS.get(name)
        return f"not installed; {hint}" if hint else "not installed"


def _blas() -> str:
    import numpy as np

    try:
        blas: Any = np.show_config(mode="dicts")
        return " ".join(str(blas["Build Dependencies"]["blas"][key]) for key in ("name", "version"))
    except (TypeError, KeyError):  # before numpy 1.25
        return "one that it does not name"


def _models() -> str:
    """Say which models can be had by name."""
    from yosort.checkpoint.installed import find_installed, installed_models

    found = ["bundled"]
    for offer in installed_models():
        try:
            find_installed(offer.name)
            found.append(f"{offer.name} ({offer.package})")
        except YosortError as error:
            found.append(one_line(error))
    return ", ".join(found)


def _self_test() -> str:
    """Let the bundled model answer; report its first answer and the time from loading on."""
    from yosort.tasks import pipeline

    start = time.perf_counter()
    try:
        answer = pipeline("fill-mask", device="cpu")("Paris is the <mask> of France.", top_k=1)
    except YosortError as error:
        return f"FAILED: {one_line(error)}; reinstall yosort"
    seconds = time.perf_counter() - start
    return (
        f"the bundled model loads and answers {answer[0]['token_str'].strip()!r} in {seconds:.2f} s"
    )


def _gpu() -> list[tuple[str, str]]:
    from yosort.ops.cuda.finding import find_gpu

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
