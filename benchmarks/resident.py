"""What a process with a model holds in each type of the CPU's: resident megabytes.

python benchmarks/resident.py FOLDER    # of a YOSO encoder; speed.py --folder makes a YOSO-base
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from worker import ids_of, megabytes

TOKENS = 512


def measure(folder: Path, dtype: str) -> list[float]:
    """Return what this process holds before it loads, after, and after an answer; and its peak."""
    import yosort

    model_class = yosort.YosoModel  # what that imports counts as before
    found = [megabytes("VmRSS")]
    model = model_class.from_pretrained(folder, device="cpu", dtype=dtype)
    found.append(megabytes("VmRSS"))
    model(ids_of(TOKENS, model.config.vocab_size))
    return [*found, megabytes("VmRSS"), megabytes()]


def main() -> None:
    """Print a line for each type, measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", help="measure this one, here")
    arguments = parser.parse_args()
    if arguments.dtype:
        figures = measure(arguments.folder, arguments.dtype)
        print(f"{arguments.dtype:9}" + "".join(f"{figure:9.0f}" for figure in figures))
        return
    print(f"{'':9}{'before':>9}{'loaded':>9}{f'{TOKENS} tok.':>9}{'peak':>9}", flush=True)
    for dtype in ("float32", "bfloat16", "int8"):
        command = [sys.executable, __file__, str(arguments.folder), "--dtype", dtype]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
