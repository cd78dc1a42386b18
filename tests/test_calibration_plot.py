"""What a calibration's plot shows: the settings' own figures, each where it belongs.

What draws them, matplotlib, is in the way here: its figures are asked to be pictures, not numbers.
So something that writes down what it is asked stands in for it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import yosort
from yosort.tuning.calibration import Calibration, Setting, check_plot
from yosort.tuning.costs import Costs

SETTINGS = (Setting(None, 1.0, 0.0, 0.03), Setting(8, 0.9, 0.3, 0.01), Setting(16, 0.95, 0.2, 0.02))
FOUND = Calibration(SETTINGS, 2, 10.0, 0.01, None, Costs(1, 1, 1), "auto:7")


class Axes:
    """One of a figure's charts."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.names: dict[tuple[float, float], str] = {}
        self.lines: dict[str, float] = {}
        self.said: dict[str, Any] = {}
        self.explained = False

    def plot(self, x: Any, y: Any, **_: Any) -> None:
        self.points = list(zip(x, y, strict=True))

    def annotate(self, text: str, at: tuple[float, float], *_: Any, **__: Any) -> None:
        self.names[at] = text

    def axvline(self, x: float, label: str, **_: Any) -> None:
        self.lines[label] = x

    def set(self, **said: Any) -> None:
        self.said = said

    def legend(self) -> None:
        self.explained = True


class Figure:
    """The last one that was made."""

    last: Figure

    def __init__(self, **_: Any) -> None:
        self.charts: list[Axes] = []
        Figure.last = self

    def subplots(self, rows: int, columns: int) -> list[Axes]:
        self.charts = [Axes() for _ in range(rows * columns)]
        return self.charts

    def savefig(self, path: Path) -> None:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        path.write_text("drawn", encoding="utf-8")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"svg": "Scalable Vector Graphics", "png": "Portable Network Graphics"}
    canvas = SimpleNamespace(get_supported_filetypes=lambda: kinds)
    modules = {
        "matplotlib": SimpleNamespace(),
        "matplotlib.figure": SimpleNamespace(Figure=Figure),
        "matplotlib.backend_bases": SimpleNamespace(FigureCanvasBase=canvas),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_disagreement_and_error_stand_over_the_time_of_a_text(tmp_path: Path) -> None:
    FOUND.plot(tmp_path / "dial.svg")
    assert (tmp_path / "dial.svg").read_text(encoding="utf-8") == "drawn"
    disagreement, error = Figure.last.charts
    assert disagreement.points == [pytest.approx(p) for p in ((10.0, 10.0), (20.0, 5.0))]
    assert error.points == [pytest.approx(p) for p in ((10.0, 0.3), (20.0, 0.2))]
    assert "%" in disagreement.said["ylabel"]
    assert "error" in error.said["ylabel"]
    for each in (disagreement, error):
        assert each.names == dict(zip(each.points, ("8", "16"), strict=True))
        assert each.lines == {"expectation": pytest.approx(30.0)}
        assert each.said["xlabel"] == "ms a text"
        assert each.said["ylim"] == (0, None)  # neither chart makes small differences look large
        assert each.explained


def test_a_place_that_takes_no_plot_is_known_before_any_work(tmp_path: Path) -> None:
    assert check_plot(tmp_path / "dial.SVG") == tmp_path / "dial.SVG"
    assert check_plot(str(tmp_path / "dial.png")) == tmp_path / "dial.png"
    for name, message in (
        ("dial.exe", "plot: wanted a name in png, svg, got '.*dial.exe'"),
        ("dial", "plot: wanted a name in png, svg"),
        ("no/dial.svg", "plot: wanted a folder that exists, got '.*no'"),
    ):
        with pytest.raises(yosort.InputError, match=message):
            check_plot(tmp_path / name)


def test_a_plot_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "dial.svg").mkdir()
    with pytest.raises(yosort.InputError, match=r"dial.svg: cannot be written: .* is a folder"):
        FOUND.plot(tmp_path / "dial.svg")
