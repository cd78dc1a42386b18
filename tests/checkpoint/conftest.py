"""Fixtures of the checkpoint tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def golden() -> Path:
    """The folder of files that torch wrote; see make_golden.py."""
    return Path(__file__).parent / "golden"
