"""The matrix unit of Intel's processors: who asks for it, and what is said where it is refused."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import yosort
from yosort.cli import doctor
from yosort.tasks import bundled_model

#: Loads and answers in a thread's signal stack of 8 KB, which AMX does not fit on.
SMALL_STACK = """
import ctypes, numpy, yosort
from yosort import _dense
from yosort.tasks import bundled_model

class Stack(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

memory = ctypes.create_string_buffer(8192)
stack = Stack(ctypes.addressof(memory), 0, 8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
model = yosort.load(bundled_model(), device="cpu", dtype="int8")
answer = model([[0, 5, 6, 2]])
print(_dense.request_tiles())
assert numpy.isfinite(answer.logits).all()
assert "amx" not in _dense.available_instruction_sets()
"""


@pytest.mark.parametrize(
    ("value", "granted", "level", "said"),
    [
        (None, True, [], ""),
        (None, None, [], ""),
        (None, False, ["INFO"], "the system grants no AMX"),
        ("", False, ["INFO"], "the system grants no AMX"),
        ("1", True, [], ""),
        ("1", None, ["WARNING"], "YOSORT_AMX=1: no AMX here, or not compiled in"),
        ("1", False, ["WARNING"], "the system grants no AMX"),
    ],
)
def test_the_matrix_unit_is_asked_for_by_what_it_multiplies(
    value: str | None,
    granted: bool | None,
    level: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[bool] = []

    def request_tiles() -> bool | None:
        asked.append(True)
        return granted

    monkeypatch.setattr("yosort._dense.request_tiles", request_tiles)
    monkeypatch.delenv("YOSORT_AMX", raising=False)
    if value is not None:
        monkeypatch.setenv("YOSORT_AMX", value)
    caplog.set_level(logging.INFO, "yosort")
    yosort.load(bundled_model(), device="cpu")
    assert not asked
    assert "AMX" not in caplog.text
    for dtype in ("bfloat16", "int8"):
        caplog.clear()
        yosort.load(bundled_model(), device="cpu", dtype=dtype)
        assert asked
        assert [r.levelname for r in caplog.records if "AMX" in r.message] == level
        assert said in caplog.text
        asked.clear()
    report = doctor.report()
    assert asked
    assert dict(report).get("  YOSORT_AMX") == value
    assert any("grants no AMX" in finding for _, finding in report) == (granted is False)


def test_the_matrix_unit_may_be_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yosort._dense.request_tiles", lambda: pytest.fail("asked"))
    monkeypatch.setenv("YOSORT_AMX", "0")
    for dtype in ("float32", "bfloat16", "int8"):
        yosort.load(bundled_model(), device="cpu", dtype=dtype)
    assert dict(doctor.report())["  YOSORT_AMX"] == "0"
    monkeypatch.setenv("YOSORT_AMX", "true")
    with pytest.raises(yosort.ConfigError, match='YOSORT_AMX: wanted "1" or "0", got \'true\''):
        yosort.load(bundled_model(), device="cpu", dtype="int8")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux grants AMX")
def test_a_small_signal_stack_does_without(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SMALL_STACK],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "YOSORT_AMX": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    said = {"False": "the system grants no AMX", "None": "no AMX here, or not compiled in"}
    assert said[ran.stdout.strip()] in ran.stderr
