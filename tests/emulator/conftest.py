"""Fixtures of the emulated device."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from emulator import build, fake_cupy
from yosort.kernels import launch


@pytest.fixture(scope="session", autouse=True)
def mutant() -> Iterator[None]:
    """Put a mutant's text in a kernel file's place: tools/mutate_kernels.py."""
    path = os.environ.get("YOSORT_MUTANT")
    with pytest.MonkeyPatch.context() as patch:
        if path:
            texts = json.loads(Path(path).read_text(encoding="utf-8"))
            original = launch.read
            patch.setattr(launch, "read", lambda name: texts.get(name) or original(name))
        yield


@pytest.fixture(params=[0, 1, 2], ids=["in order", "order 1", "order 2"])
def any_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run under several orders of threads and blocks."""
    before = fake_cupy.seed
    fake_cupy.seed = request.param
    yield
    fake_cupy.seed = before


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Put the stand-in in cupy's place."""
    if build.compiler() is None:
        pytest.skip("no C++ compiler")
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    return fake_cupy
