"""One short run on a machine with a GPU: does it work, is it right, how fast is it.

    python tools/gpu_first_run first --out FOLDER    # 7 minutes: works, right, fast; torch beside
    python tools/gpu_first_run second --out FOLDER   # 7 minutes: edges, threads, memory, tools
    python tools/gpu_first_run table FOLDER/*.jsonl  # their lines as the tables of docs/gpu.md
    python tools/gpu_first_run first --dry           # what an emulator can rehearse of it

Each stage is a process of its own with its own limit; none stops the next. What they say are JSON
lines, in FOLDER/PART.jsonl and on the screen; what else they print is in FOLDER/STAGE.log.

Nothing is fetched. Where the machine has no compiler, build the wheel elsewhere for its Python
(`pip wheel --no-deps -w wheels .`), beside those of pytest and hypothesis if it lacks them, and add
`--wheels wheels`. It needs CuPy; torch, transformers, compute-sanitizer and ncu where they are.

Expected: cuBLAS refuses stream capture under CuPy. Anything else that fails or differs is news.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

Row = dict[str, Any]
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KERNELS = "hadamard_hash|lsh_cumulation|expected_attention|normalize_heads"
SECTIONS = "SpeedOfLight Occupancy LaunchStats WarpStateStats MemoryWorkloadAnalysis"


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        name: of the stage; also of the function in stages.py, where there is no `command`.
        seconds: after which it is ended.
        command: a program of the machine's; it is left out where that is not there, and dry.
        telling: a pattern of the lines of the program's that are kept.
    """

    name: str
    seconds: int
    command: tuple[str, ...] = ()
    telling: str = ""

    def arguments(self, dry: bool) -> list[str]:
        """Return the command line."""
        if self.command:
            return list(self.command)
        return [sys.executable, str(HERE), "stage", self.name, *(["--dry"] if dry else [])]


def _tests(name: str, seconds: int, folder: str) -> Stage:
    settings = (
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(ROOT),
        "-p",
        "no:cacheprovider",
    )
    command = (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--tb=short", *settings)
    command += (str(ROOT / "tests" / folder),)
    return Stage(name, seconds, command, "passed|failed|^(FAILED|ERROR)")


def _sanitizer(tool: str) -> Stage:
    command = ("compute-sanitizer", "--tool", tool, "--print-limit", "20")
    stage = (sys.executable, str(HERE), "stage", "tiny")
    return Stage(tool, 40, command + stage, r"ERROR SUMMARY|RACECHECK SUMMARY|=+ (Error|Invalid)")


_NCU = ("ncu", "--clock-control", "none", "--kernel-name", f"regex:{KERNELS}")
_NCU += ("--launch-skip", "10", "--launch-count", "8")
PARTS = {
    "first": (
        Stage("environment", 30),
        Stage("smoke", 50),
        Stage("attributes", 30),
        _tests("tests", 90, "gpu"),
        Stage("kernels", 60),
        Stage("forwards", 60),
        Stage("peers", 90),
    ),
    "second": (
        Stage("codes", 30),
        Stage("stress", 30),
        Stage("memory", 20),
        Stage("capture", 20),
        Stage("tiny", 20),
        *(_sanitizer(tool) for tool in ("memcheck", "racecheck", "initcheck", "synccheck")),
        Stage(
            "counters",
            50,
            (
                *_NCU,
                *(word for section in SECTIONS.split() for word in ("--section", section)),
                *(sys.executable, str(HERE), "stage", "hot"),
            ),
            "Duration|Throughput|Achieved|conflict|^ +[a-z_]+ \\(",
        ),
        _tests("cases", 90, "ops"),
    ),
}


def run(stage: Stage, dry: bool, folder: Path, environment: dict[str, str]) -> Iterator[Row]:
    """Run a stage, and yield its lines and, last, how it ended."""
    if stage.command and (dry or not shutil.which(stage.command[0])):
        yield {"stage": stage.name, "left_out": "dry" if dry else f"no {stage.command[0]}"}
        return
    begin = time.perf_counter()
    with (folder / f"{stage.name}.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            stage.arguments(dry),
            cwd=folder,  # not the checkout, whose yosort is not compiled
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | str = process.wait(stage.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = "out of time"
        log.seek(0)
        lines = log.readlines()
        for line in lines:
            if line.startswith('{"what"'):
                yield {"stage": stage.name, **json.loads(line)}
            elif stage.telling and re.search(stage.telling, line):
                yield {"stage": stage.name, "line": line.strip()[:300]}
    took = round(time.perf_counter() - begin, 1)
    end = {"stage": stage.name, "ended": status, "seconds": took, "limit": stage.seconds}
    yield {**end, "tail": "".join(lines)[-600:]} if status else end


def prepare(wheels: Path | None) -> dict[str, str]:
    """Return the environment of all stages: their own caches, no network, and the wheels."""
    scratch = Path(tempfile.mkdtemp(prefix="gpu-first-run-"))
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "CUPY_CACHE_DIR": str(scratch / "kernels"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        "HF_HUB_OFFLINE": "1",
    }
    if wheels is not None:
        site = scratch / "site"
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        subprocess.run(
            [*command, "--target", str(site), *map(str, wheels.glob("*.whl"))], check=True
        )
        environment["PYTHONPATH"] = str(site)
    return environment


def tell(line: Row, *files: TextIO) -> None:
    """Write a line to each file."""
    for file in files:
        print(json.dumps(line), file=file, flush=True)


def main() -> int:
    """Run a part; the exit status is 1 where a stage failed or ran out of time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in PARTS:
        part = commands.add_parser(name)
        part.add_argument("--out", type=Path, help="where lines and logs go")
        part.add_argument("--wheels", type=Path, help="a folder of wheels to install first")
        part.add_argument("--dry", action="store_true", help="rehearse on the emulator")
        part.add_argument("--only", nargs="+", help="these stages alone")
    stage = commands.add_parser("stage")
    stage.add_argument("name")
    stage.add_argument("--dry", action="store_true")
    table = commands.add_parser("table")
    table.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "table":
        from tables import tables

        print(tables(arguments.files))
        return 0
    if arguments.command == "stage":
        from stages import run_stage

        run_stage(arguments.name, dry=arguments.dry)
        return 0
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="gpu-first-run-"))
    folder.mkdir(parents=True, exist_ok=True)
    environment = prepare(arguments.wheels)
    failed = False
    with (folder / f"{arguments.command}.jsonl").open("w", encoding="utf-8") as out:
        for one in PARTS[arguments.command]:
            if arguments.only and one.name not in arguments.only:
                continue
            for line in run(one, arguments.dry, folder, environment):
                tell(line, out, sys.stdout)
                failed |= bool(line.get("ended")) or "error" in line
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
