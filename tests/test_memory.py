"""Memory does not grow with the number of inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tasks.models import make

#: Kilobytes that the longer run may take more. Its 38,000 further lines are 3 MB as bytes, 5 MB as
#: Python strings, and their vectors 10 MB as arrays and 40 MB as lists: keeping any of them shows.
ALLOWED = 4096
PROGRAM = """
import resource, sys
from yosort.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def peak(folder: Path, model: Path, lines: int, suffix: str) -> int:
    """Return the peak resident kilobytes of `yosort embed` over so many short lines."""
    source, output = folder / "in.txt", folder / f"{lines}.{suffix}"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(
            f"Line {i} of a long file, one of many short ones that all differ.\n"
            for i in range(lines)
        )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "embed", "--model", str(model), "--input", str(source),
         "--output", str(output), "--num-threads", "1"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stderr.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["npy", "jsonl"])
def test_embedding_many_lines_holds_memory_flat(tmp_path: Path, suffix: str) -> None:
    model = make(tmp_path / "model", "YosoModel", num_hidden_layers=1)
    few = peak(tmp_path, model, 2_000, suffix)
    many = peak(tmp_path, model, 40_000, suffix)
    assert many - few < ALLOWED
