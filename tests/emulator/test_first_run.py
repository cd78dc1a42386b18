"""The first run on a GPU, rehearsed on the emulator, so that it works when there is one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tolerances import HALF_MODEL, OP

from emulator import build

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "gpu_first_run"

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler")


def rehearse(part: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run a part of it dry, and return its lines by their stage; in order, if all ended well."""
    command = [sys.executable, str(TOOL), part, "--dry", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        said.setdefault(row["stage"], []).append(row)
    return said


@pytest.mark.slow
def test_the_first_part(tmp_path: Path) -> None:
    said = rehearse("first", tmp_path)
    assert said["environment"][0]["device"] == "emulated"
    differences = [row for row in said["smoke"] if "worst" in row]
    assert len(differences) == 24
    for row in differences:
        name, dtype = row["of"].rsplit(", ", 1)
        bound = 0 if name == "code" else OP if dtype == "float32" else HALF_MODEL
        assert row["worst"] <= bound
    loaded = {row["name"] for row in said["attributes"] if "name" in row}
    assert {"hadamard_hash", "lsh_cumulation", "expected_attention", "residual_norm"} <= loaded
    timed = [row for row in said["kernels"] if "gpu_ms" in row]
    assert {row["dtype"] for row in timed} == {"float32", "float16"}
    assert len(timed) == 17
    assert len([row for row in said["forwards"] if "wall_ms" in row]) == 5
    assert said["tests"] == [{"stage": "tests", "left_out": "dry"}]

    command = [sys.executable, str(TOOL), "table", str(tmp_path / "first.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("On one emulated (compute capability 90, 132 multiprocessors)")
    assert "| lsh_cumulation | float16 | 1 x 5 |" in done.stdout


@pytest.mark.slow
def test_the_second_part(tmp_path: Path) -> None:
    said = rehearse("second", tmp_path)
    assert [row["differ"] for row in said["codes"] if "differ" in row] == [0] * 8
    assert [row["wrong"] for row in said["stress"] if "wrong" in row] == [0, 0]
    assert "Out of memory" in said["memory"][0]["message"]
    assert said["memory"][1]["same"]
    captured = {row["name"]: row for row in said["capture"] if "name" in row}
    assert captured["sampled attention, whole"]["same"]
    assert "cuBLAS" in captured["linear, the same with gelu"]["refused"]
    assert said["tiny"][0]["done"]
    assert said["memcheck"] == [{"stage": "memcheck", "left_out": "dry"}]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """Return the driver as a module."""
    spec = importlib.util.spec_from_file_location("gpu_first_run", TOOL / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_first_run"] = module  # where its dataclass looks for its types
    spec.loader.exec_module(module)
    return module


def test_a_stage_that_never_ends_or_fails_stops_nothing(tool: ModuleType, tmp_path: Path) -> None:
    """What it said before is kept, and the end of what it printed told."""
    said = 'print(\'{"what": "a figure", "ms": 1}\', flush=True)'
    endings = {"import time; time.sleep(60)": "out of time", "print(1 / 0)": 1, "": 0}
    for code, status in endings.items():
        seconds = 2 if status == "out of time" else 60
        stage = tool.Stage("one", seconds, (sys.executable, "-c", f"{said}\n{code}"))
        first, last = tool.run(stage, False, tmp_path, dict(os.environ))
        assert first == {"stage": "one", "what": "a figure", "ms": 1}
        assert last["ended"] == status
        assert ("ZeroDivisionError" in last.get("tail", "")) == (code == "print(1 / 0)")
    absent = tool.Stage("two", 1, ("no-such-program",))
    assert list(tool.run(absent, False, tmp_path, {})) == [
        {"stage": "two", "left_out": "no no-such-program"}
    ]


def test_a_part_takes_no_longer_than_it_says(tool: ModuleType) -> None:
    """Even if every stage takes all of its time: seven minutes each, as their help says."""
    for stages in tool.PARTS.values():
        assert sum(stage.seconds for stage in stages) <= 7 * 60
