"""Fixtures of the emulated device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator import fake_cupy


@pytest.fixture(params=[0, 1, 2], ids=["in order", "order 1", "order 2"])
def any_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run under several orders of threads and blocks."""
    before = fake_cupy.seed
    fake_cupy.seed = request.param
    yield
    fake_cupy.seed = before
