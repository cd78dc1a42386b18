"""What the adding loop of lsh_cumulation is as machine code: `python -m emulator.machine_code`.

Needs the wheels nvidia-cuda-nvrtc and nvidia-cuda-nvdisasm; PYTHONPATH=tests.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from emulator import nvrtc
from yosort.ops.cuda.launcher import source

KERNEL = "lsh_cumulation"


def loops(architecture: int) -> list[tuple[int, int, int]]:
    """Return (instructions, loads, stores of shared memory) of each loop without another in it."""
    options = nvrtc.options(nvrtc.SPECIALISATIONS[KERNEL][-1], half=False)
    flags = (f"--gpu-architecture=sm_{architecture}", *options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(nvrtc.machine_code(source(KERNEL), flags))
        text = subprocess.run(
            [disassembler(), "-c", path], check=True, capture_output=True, text=True
        ).stdout
    found = []
    for label, body in re.findall(r"^(\.L_x_\d+):\n((?:(?!\.L_x_\d+:).*\n)+)", text, re.M):
        lines = [line for line in body.splitlines() if re.match(r"\s+/\*[0-9a-f]{4,}\*/\s", line)]
        ends = [i for i, line in enumerate(lines) if "BRA" in line and f"`({label})" in line]
        if ends:
            loop = lines[: ends[0] + 1]
            counts = (sum(name in line for line in loop) for name in (" LDS", " STS"))
            found.append((len(loop), *counts))
    return found


def disassembler() -> Path:
    """Return nvdisasm of its wheel."""
    import nvidia

    return next(p for root in nvidia.__path__ for p in Path(root).glob("**/bin/nvdisasm"))


if __name__ == "__main__":
    print("| architecture | instructions | loads | stores |\n|---|---|---|---|")
    for number in nvrtc.ARCHITECTURES:
        # The adding loop stores a sum a key; loops that fill a tile store once.
        most = max(loops(number), key=lambda loop: loop[2])
        print(f"| sm_{number} | {' | '.join(map(str, most))} |")
