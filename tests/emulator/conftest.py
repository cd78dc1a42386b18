"""Fixtures of the emulated device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from emulator import build, fake_cupy


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
