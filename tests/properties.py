"""How many examples a property is tried on: a few by default, all of them with `-m slow`."""

from __future__ import annotations

import pytest


def examples(few: int, many: int) -> pytest.MarkDecorator:
    """Give a test `examples`, the number that Hypothesis is to try: `few`, or `many` if slow."""
    return pytest.mark.parametrize("examples", [few, pytest.param(many, marks=pytest.mark.slow)])
