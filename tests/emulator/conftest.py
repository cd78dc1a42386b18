"""Fixtures of the emulated device."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from emulator import build, devices, fake_cupy
from yosort.ops.cuda import launcher

#: Processor seconds that a mutant may take of one test: no test takes a quarter of it.
MUTANT_SECONDS = 30


@pytest.fixture(scope="session", autouse=True)
def mutant() -> Iterator[None]:
    """Put a mutant's text in a kernel file's place: tools/mutate_kernels.py."""
    path = os.environ.get("YOSORT_MUTANT")
    with pytest.MonkeyPatch.context() as patch:
        if path:
            texts = json.loads(Path(path).read_text(encoding="utf-8"))
            original = launcher.read
            patch.setattr(launcher, "read", lambda name: texts.get(name) or original(name))
        yield


@pytest.fixture(autouse=True)
def ending() -> Iterator[None]:
    """Let a mutant that loops for ever kill the process."""
    if os.environ.get("YOSORT_MUTANT"):
        signal.setitimer(signal.ITIMER_PROF, MUTANT_SECONDS)
        yield
        signal.setitimer(signal.ITIMER_PROF, 0)
    else:
        yield


@pytest.fixture(autouse=True)
def record(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Note how long a test takes and which kernels it launches: tools/mutate_kernels.py."""
    path = os.environ.get("YOSORT_RECORD")
    if not path:
        yield
        return
    launched = set()
    original = fake_cupy.RawKernel.__call__

    def noting(self: Any, *arguments: Any, **options: Any) -> None:
        launched.add((launcher.SIGNATURES[self.name][0], self.module.defines))
        original(self, *arguments, **options)

    monkeypatch.setattr(fake_cupy.RawKernel, "__call__", noting)
    begin = time.process_time()
    yield
    seconds = time.process_time() - begin
    files = Counter(file for file, _ in launched)
    with open(path, "a", encoding="utf-8") as out:
        out.write(
            json.dumps({"name": request.node.nodeid, "seconds": seconds, "files": files}) + "\n"
        )


@pytest.fixture(params=[0, 1, 2], ids=["in order", "order 1", "order 2"])
def any_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run under several orders of threads and blocks."""
    before = fake_cupy.seed
    fake_cupy.seed = request.param
    yield
    fake_cupy.seed = before


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Start with nothing counted and no page-locked memory."""
    devices.counts.clear()
    devices.pinned.free_all_blocks()


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Put the stand-in in cupy's place."""
    if build.compiler() is None:
        pytest.skip("no C++ compiler")
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    return fake_cupy
