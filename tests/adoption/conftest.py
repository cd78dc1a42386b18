"""What tests of adoption share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A test's own numbers, the same whichever tests ran before it."""
    return np.random.default_rng(4)
