"""The mutants that tools/mutate_python.py plants: of every file, and where they run."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = """
LIMITS = (
    1,
    2,
)

@decorate(
    3,
)
def call(a=4, *,
         b=5):
    if a < 6:
        return (b +
                7)
    try:
        return 8
    except ValueError:
        return 9


class Held:
    field: int = 10
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "mutants.py"
    if not path.exists():
        pytest.skip("tools are of a checkout")
    spec = importlib.util.spec_from_file_location("mutants", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["mutants"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_is_read_and_what_is_planted_compiles(tool: ModuleType) -> None:
    found = {path: tool.Spots(path.read_bytes()).found for path in (ROOT / "yosort").rglob("*.py")}
    assert sum(map(len, found.values())) > 5_000
    path = "yosort/arguments.py"
    mutants = tool.mutants(path)
    assert all(mutant.text != (ROOT / path).read_bytes() for mutant in mutants)
    assert sum(map(tool.compiles, mutants)) > 0.95 * len(mutants)


@pytest.mark.parametrize(
    ("number", "lines", "called"),
    [
        (2, range(2, 6), False),
        (3, range(7, 12), False),
        (4, range(7, 12), False),
        (5, range(7, 12), False),
        (6, range(12, 13), True),
        (7, range(13, 15), True),
        (8, range(16, 17), True),
        (9, range(18, 19), True),
        (10, range(22, 23), False),
    ],
)
def test_a_mutants_statement_and_when_it_runs(
    tool: ModuleType, number: int, lines: range, called: bool
) -> None:
    place = next(n for n, line in enumerate(SOURCE.split("\n"), 1) if str(number) in line)
    assert tool.statement(ast.parse(SOURCE), place) == (lines, called)
