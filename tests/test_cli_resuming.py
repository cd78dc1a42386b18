"""Which results of a file are this run's: the same but for the last bits of numbers."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import make

from yosort.cli import main
from yosort.cli.resuming import _begins, _same

NAN = float("nan")


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        ("a", "a"), (3, 3), (True, True), (None, None), ([], []), ({}, {}), (1.5, 1.5),
        ([1.0, 2.0], [1.0009, 2.0]), ([1000.0, 1e-9], [1000.0, 0.9]), ([0.0], [0.0]),
        ([1.0, NAN], [1.0, NAN]), ([NAN, NAN], [NAN, NAN]), ([-5.0, 1.0], [-5.004, 1.0]),
        ({"a": 0.5, "b": "x", "c": 7}, {"a": 0.5004, "b": "x", "c": 7}),
        ({"a": [{"b": 0.25, "c": [1, 2]}]}, {"a": [{"b": 0.25001, "c": [1, 2]}]}),
        ([5.0, "a", None, True], [5.0, "a", None, True]), ([[1, 2.0], "a"], [[1, 2.001], "a"]),
        ([1, 2.0], [1.0, 2]),  # JSON may have 1.0 as 1
        ([float("inf"), 1.0], [float("inf"), 1.0]),
    ],
)  # fmt: skip
def test_results_that_are_the_same(got: Any, wanted: Any) -> None:
    assert _same(got, wanted)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        ("a", "b"), (3, 4), (True, 1), (1, True), (None, ""), ([], {}), (1, 1.5), ([1], [1, 2]),
        ({"a": 1}, {"b": 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": 1, "b": 2}),
        ([1.0, 2.0], [1.0, 2.003]), ([1.0, 2.0], [1.0021, 2.0]), ([1.0], [1.0011]),
        ([1.0, NAN], [1.0, 2.0]), ([1.0, 2.0], [1.0, NAN]), ([0.0, 1.0], [0.0011, 1.0]),
        # The largest of this run's floats counts; what is whole is compared as it is.
        ({"a": 0.5, "n": 10_000}, {"a": 0.6, "n": 10_000}),
        ({"a": 0.5, "n": 10_000}, {"a": 0.5, "n": 10_001}),
        ([0.5, NAN], [0.6, NAN]), ([10_000.0, 0.5], [0.5, 0.5]),
        ([5.0, True], [5.0, 1]), ([5.0, "a"], [5.0, "b"]), ([5.0, [1]], [5.0, [2]]),
        ([0.9999], [1]), ([5.0, "a"], [5.0, 3.0]), ([5.0, 3.0], [5.0, "a"]),
        ([5.0, None], [5.0, 0.0]), ([0.5, float("inf")], [0.6, float("inf")]),
        ({"a": [{"b": 0.25}]}, {"a": [{"b": 0.26}]}),
    ],
)  # fmt: skip
def test_results_that_are_not(got: Any, wanted: Any) -> None:
    assert not _same(got, wanted)


RECORD = b'{"label": "yes", "score": -0.25, "n": 7}\n'


@pytest.mark.parametrize("end", range(1, len(RECORD) + 1))
def test_any_beginning_of_a_record_begins_it_whatever_its_last_bits(end: int) -> None:
    assert _begins(RECORD, RECORD[:end])
    assert _begins(RECORD, RECORD[:end].replace(b"-0.25", b"-0.2500001"))


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"[",
        b'{"label": "no',
        b'{"label": "yes", "score": "',
        b'{"label": "yes", "n',
        2 * RECORD,
    ],
)
def test_what_begins_no_record_of_this_run(tail: bytes) -> None:
    assert not _begins(RECORD, tail)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two classifiers of one label, whose scores differ."""
    make_one = [tmp_path_factory.mktemp(name) for name in "ab"]
    return [
        make(folder, "YosoForSequenceClassification", num_labels=1, initializer_range=size)
        for folder, size in zip(make_one, (0.2, 0.4), strict=True)
    ]


#: What stands beside a text: a large number, and what a table's reader may take for one.
KEPT = {"when": 1700000000.5, "id": "61e53012", "code": "007", "body": "x" * 150_000}


def run_kept(folder: Path, suffix: str, kept: dict[str, Any], *options: str) -> int:
    rows = [{"text": f"text number {i}", **kept} for i in range(4)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--input", "in.jsonl", "--keep", *kept, "--output", f"o.{suffix}", *options]
    return main(["classify", "--model", str(folder), *given])


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_what_is_kept_is_compared_as_it_is(
    folders: list[Path], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No large number beside a score makes another score near, and no id is a number."""
    monkeypatch.chdir(tmp_path)
    output = Path(f"o.{suffix}")
    assert run_kept(folders[0], suffix, KEPT) == 0
    csv.field_size_limit(131_072)  # as a fresh process has it
    whole = output.read_bytes()
    assert run_kept(folders[0], suffix, KEPT, "--resume") == 0
    assert output.read_bytes() == whole
    for folder, kept in (
        (folders[1], KEPT), (folders[0], {**KEPT, "code": "7"}),
        (folders[0], {**KEPT, "when": 1700000001.5}),
    ):  # fmt: skip
        assert run_kept(folder, suffix, kept, "--resume") == 1
        assert output.read_bytes() == whole


@pytest.mark.parametrize(
    ("suffix", "record", "message"),
    [
        ("csv", '"x"y,LABEL_0,0.5,,\n', "result 1 cannot be read: ',' expected after '\"'"),
        ("jsonl", "[" * sys.getrecursionlimit() * 60 + "\n", "result 1 cannot be read"),
    ],
)
def test_a_record_that_is_none_is_named(
    folders: list[Path], suffix: str, record: str, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    kept = {"id": "a"}
    assert run_kept(folders[0], suffix, kept) == 0
    lines = Path(f"o.{suffix}").read_text().splitlines(keepends=True)
    at = suffix == "csv"
    Path(f"o.{suffix}").write_text("".join([*lines[:at], record, *lines[at + 1 :]]))
    assert run_kept(folders[0], suffix, kept, "--resume") == 1
    assert f"cannot be continued: {message}" in capsys.readouterr().err


def run_twenty(folder: Path, command: str, output: Path) -> tuple[list[str], bytes]:
    """Write answers to twenty texts; return the command that continues, and what it wrote."""
    Path("in.txt").write_text("".join(f"text number {i}\n" for i in range(20)), encoding="utf-8")
    given = [command, "--model", str(folder), "--input", "in.txt", "--output", str(output)]
    assert main(given) == 0
    return [*given, "--resume"], output.read_bytes()


def resumed(again: list[str], output: Path, begun: bytes) -> tuple[int, bytes]:
    """Continue what is there; return the status, and what is there then."""
    output.write_bytes(begun)
    return main(again), output.read_bytes()


@pytest.mark.parametrize("back", [1, 16, 17])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_the_last_sixteen_results_are_compared(
    suffix: str, back: int, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/many-inputs.md says; those before them have to be records, and no more."""
    monkeypatch.chdir(tmp_path)
    output = Path(f"o.{suffix}")
    again, whole = run_twenty(folders[0], "classify", output)
    lines = whole.splitlines(keepends=True)
    lines[-back] = lines[-back].replace(b"LABEL_0", b"LABEL_7")
    other = b"".join(lines)
    assert resumed(again, output, other) == (0 if back > 16 else 1, other)


@pytest.mark.parametrize("back", [1, 16, 17])
def test_the_last_sixteen_rows_are_compared(
    back: int, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = Path("o.npy")
    again, whole = run_twenty(folders[0], "embed", output)
    rows = np.load(output)
    rows[-back] += 1
    other = whole[:128] + rows.tobytes()
    assert resumed(again, output, other) == (0 if back > 16 else 1, other)


def test_a_table_s_header_half_written_is_begun_anew(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros, which file systems leave behind a crash, are nothing; other bytes are another's."""
    monkeypatch.chdir(tmp_path)
    output = Path("o.csv")
    again, whole = run_twenty(folders[0], "classify", output)
    assert whole.startswith(b"label,score,truncated,error\n")
    for torn in (whole[:1], whole[:27], whole[:28], whole[:5] + b"\0" * 90, b"\0" * 90):
        assert resumed(again, output, torn) == (0, whole)
    for other in (whole[:5] + b"\0" * 90 + b"x", whole[:5] + b"x", b"x", b"\0" * 90 + b"x"):
        assert resumed(again, output, other) == (1, other)
    record = whole.index(b"\n", 40)  # a zero byte within a record is none of a crash's
    broken = whole[:record] + b"\0" + whole[record:]
    assert resumed(again, output, broken) == (1, broken)


@pytest.mark.parametrize("lost", [1, 2, 20])
def test_rows_of_zeros_that_a_crash_left_are_written_anew(
    lost: int, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = Path("o.npy")
    again, whole = run_twenty(folders[0], "embed", output)
    end = len(whole) - lost * 32 * 4
    for torn in (whole[:end] + bytes(lost * 32 * 4), whole[:end], whole[: end + 4 * 32 - 1]):
        assert resumed(again, output, torn) == (0, whole)


def test_an_array_s_header_half_written_is_begun_anew(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = Path("o.npy")
    again, whole = run_twenty(folders[0], "embed", output)
    for torn in (whole[:1], whole[:60], whole[:127], whole[:60] + bytes(500), bytes(500)):
        assert resumed(again, output, torn) == (0, whole)
    odd = whole[:127] + b" "  # as long as a header, and none
    for other in (odd, odd + whole[128:], whole[:60] + bytes(500) + b"x", b"x" + whole[1:60]):
        assert resumed(again, output, other) == (1, other)
