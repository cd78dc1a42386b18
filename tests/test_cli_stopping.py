"""Runs that stop and go on: torn files, full disks, other runs, signals."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tasks.models import ENTITIES, make

import yosort
from yosort.cli import main, reading, writing
from yosort.cli.stopping import Terminated, heeding_signals


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier."""
    return make(tmp_path_factory.mktemp("m") / "m", "YosoForSequenceClassification", num_labels=3)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger."""
    return make(tmp_path_factory.mktemp("t") / "t", "YosoForTokenClassification", id2label=ENTITIES)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def classify(folder: Path, *arguments: Any) -> int:
    return main(["classify", "--model", str(folder), *map(str, arguments)])


TEXTS = ["A dog barks", "Paris, \u00e9", 'quote " and', "In the end", "x", "\u2028 y", "z z"]


@pytest.fixture(scope="module")
def finished(
    folder: Path, tagger: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[str], bytes]]:
    """Commands by the suffix of their output, and what they write when nothing interrupts."""
    where = tmp_path_factory.mktemp("finished")
    (where / "in.jsonl").write_text(
        "\n".join(json.dumps({"id": f"n{i}", "text": t}) for i, t in enumerate(TEXTS)) + "\n{\n",
        encoding="utf-8",
    )
    base = ["--input", str(where / "in.jsonl"), "--on-error", "collect"]
    commands = {
        ".jsonl": ["ner", "--model", str(tagger), "--keep", "id", *base],
        ".csv": ["classify", "--model", str(folder), "--keep", "id", *base],
        ".npy": ["embed", "--model", str(folder), *base],
    }
    made = {}
    for suffix, command in commands.items():
        output = where / f"out{suffix}"
        assert main([*command, "--output", str(output)]) == 1
        made[suffix] = (command, output.read_bytes())
    return made


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".npy"])
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_cut_anywhere_is_continued_to_the_same_bytes(
    finished: Any, suffix: str, data: st.DataObject
) -> None:
    command, whole = finished[suffix]
    cut = data.draw(st.integers(0, len(whole)))
    torn = whole[:cut] + b"\0" * data.draw(st.sampled_from([0, 0, 3]))
    if suffix == ".npy" and data.draw(st.booleans()):  # its header says how many rows are whole
        rows = data.draw(st.integers(0, len(TEXTS)))
        with open("rows.npy", "wb") as file:
            file.write(whole.replace(b"'shape': (8,", f"'shape': ({rows},".encode(), 1))
        torn = Path("rows.npy").read_bytes()[: 128 + rows * 32 * 4 + cut % 100]
    output = Path(f"cut{suffix}")
    output.write_bytes(torn)
    assert main([*command, "--output", str(output), "--resume"]) in (0, 1)
    assert output.read_bytes() == whole


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_another_file_is_refused_and_stays_as_it_was(
    finished: Any, suffix: str, data: st.DataObject
) -> None:
    command, whole = finished[suffix]
    kind = data.draw(st.sampled_from(["letter", "lines", "nul", "theirs", "seam"]))
    if kind == "letter":  # one letter of a label or an id: numbers may differ in their last bits
        places = [i for i, c in enumerate(whole) if chr(c).isalpha() and chr(c) in "LABEnO"]
        at = data.draw(st.sampled_from(places))
        other = whole[:at] + b"Q" + whole[at + 1 :]
    elif kind == "lines":
        lines = whole.splitlines(keepends=True)
        other = b"".join([*lines[:2], *lines[3:]])
    elif kind == "nul":
        # Before the last record: there it would be the end that a crash leaves behind.
        last = whole.rstrip(b"\n").rfind(b"\n")
        at = data.draw(st.integers(1, last - 2))
        other = whole[:at] + b"\0\0" + whole[at + 2 :]
    elif kind == "seam":
        other = whole + whole[:40].replace(b"\n", b" ")
    else:
        other = data.draw(
            st.sampled_from([b"a,b\n1,2\n3,4", b'{"a": 1}\n{"a": 2}\n{"a"', b"hello"])
        )
    output = Path(f"other{suffix}")
    output.write_bytes(other)
    assert main([*command, "--output", str(output), "--resume"]) == 1
    assert output.read_bytes() == other


def test_the_result_that_is_another_is_named(
    finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command, whole = finished[".jsonl"]
    Path("other.jsonl").write_bytes(whole.replace(b'"n2"', b'"nQ"'))
    assert main([*command, "--output", "other.jsonl", "--resume"]) == 1
    assert "result 3 is {'id': 'nQ'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,  # the same rows, in another order of bytes
        lambda rows: rows.astype(">f4"),
        lambda rows: rows.astype("f8"),
        lambda rows: rows[:, :, None],
        lambda rows: rows.astype(object),
    ],
)
def test_another_array_is_refused_and_stays_as_it_was(finished: Any, change: Any) -> None:
    command, whole = finished[".npy"]
    Path("o.npy").write_bytes(whole)
    np.save("other.npy", change(np.load("o.npy")[:4]))
    before = Path("other.npy").read_bytes()
    assert main([*command, "--output", "other.npy", "--resume"]) == 1
    assert Path("other.npy").read_bytes() == before


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".npy"])
def test_another_model_option_or_input_is_refused(
    finished: Any, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, whole = finished[suffix]
    output = Path(f"o{suffix}")
    inputs = Path(command[command.index("--input") + 1])
    reversed_lines = inputs.read_text(encoding="utf-8").splitlines()[:7][::-1]
    Path("other.jsonl").write_text("\n".join([*reversed_lines, "{"]) + "\n", encoding="utf-8")
    Path("few.jsonl").write_text("\n".join(reversed_lines[:2]) + "\n", encoding="utf-8")
    sampled = ["--attention", "sampled", "--num-hash", "2"]
    for changed in (
        [*command, *sampled],
        [part if part != str(inputs) else "other.jsonl" for part in command],
        [part if part != str(inputs) else "few.jsonl" for part in command],
    ):
        output.write_bytes(whole)
        assert main([*changed, "--output", str(output), "--resume"]) == 1
        error = capsys.readouterr().err
        assert "nothing was changed" in error or "but there are 2 inputs" in error
        assert output.read_bytes() == whole


# --- full disks, other runs, signals


@pytest.mark.skipif(os.name != "posix", reason="bounds files as POSIX does")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".npy"])
def test_a_full_disk_is_said_with_its_file_and_resume_goes_on(
    finished: Any, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    command, whole = finished[suffix]
    output = f"full{suffix}"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for attempt in ((), ("--resume",)):  # it is full at the second, too
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, limits[1]))
        try:
            assert main([*command, "--output", output, *attempt]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        error = capsys.readouterr().err.splitlines()
        assert error[-1] == f"yosort: error: {output}: cannot be written: File too large"
        held = Path(output).read_bytes()
        records = (
            len(np.load(output)) if suffix == ".npy" else held.count(b"\n") - (suffix == ".csv")
        )
        assert error[-2] == f"yosort: {records} results are in {output}"
        assert 0 < records < len(TEXTS)
    assert main([*command, "--output", output, "--resume"]) == 1
    assert Path(output).read_bytes() == whole


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_an_input_larger_than_memory(
    folder: Path, debug: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def loads(text: str, **options: Any) -> Any:
        if text == "2":
            raise MemoryError
        return text if text == "one" else parse(text, **options)

    parse = json.loads
    Path("t.jsonl").write_text("one\n" * 2000 + "2\n", encoding="utf-8")
    monkeypatch.setattr(reading.json, "loads", loads)
    command = [folder, "--input", "t.jsonl", "--output", "o.jsonl"]
    if debug:
        with pytest.raises(MemoryError):
            classify(*command, *debug)
        return
    assert classify(*command) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == ("yosort: error: out of memory; smaller files, or shorter lines, need less")
    written = len(Path("o.jsonl").read_bytes().splitlines())
    assert said[-2] == f"yosort: {written} results are in o.jsonl"
    assert written > 0


@pytest.mark.skipif(writing.fcntl is None, reason="the system has no such locks")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".npy"])
def test_of_two_runs_into_one_file_one_is_refused(
    finished: Any, suffix: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    command, whole = finished[suffix]
    output = Path(f"one{suffix}")
    for attempt, held in (((), b""), (("--resume",), whole[: len(whole) // 2])):
        with writing.open_alone(output) as other:
            other.write(held)
            assert main([*command, "--output", str(output), *attempt]) == 1
            assert "another run is writing it" in capsys.readouterr().err
            assert output.read_bytes() == held
        output.unlink()
    output.write_bytes(b"what came after the command began")
    with pytest.raises(yosort.InputError, match="exists already; --resume"):
        writing.open_new(output)
    output.unlink()

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(writing.fcntl, "flock", flock)  # as over some networks
    assert main([*command, "--output", str(output)]) == 1
    assert output.read_bytes() == whole


@pytest.mark.skipif(os.name != "posix", reason="signals a process as POSIX does")
def test_what_a_termination_is_heeded_by(folder: Path) -> None:
    def send(number: int) -> None:
        os.kill(os.getpid(), number)

    def heed(number: int) -> int:
        try:
            with heeding_signals():
                send(number)
        except Terminated as error:
            return error.number
        return 0

    term, hup = signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (term, hup)}
    assert [heed(term), heed(hup), heed(term)] == [term, hup, term]
    assert [signal.getsignal(term), signal.getsignal(hup)] == [signal.SIG_DFL] * 2
    again = False
    try:
        with heeding_signals():
            try:
                send(term)
            finally:
                send(hup)  # what ends is not ended a second time, and finishes its files
                again = True
    except Terminated:
        assert again
    signal.signal(hup, signal.SIG_IGN)  # as nohup does
    assert heed(hup) == 0
    assert signal.getsignal(hup) == signal.SIG_IGN
    for number, handler in before.items():
        signal.signal(number, handler)
    with ThreadPoolExecutor(1) as pool:  # where no handler can be set
        assert pool.submit(main, ["info", str(folder)]).result() == 0


@pytest.mark.skipif(os.name != "posix", reason="signals a process as POSIX does")
def test_a_terminated_conversion_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """Termination amid the writing: as a batch system does when the time is over."""
    program = (
        "import os, signal, sys; from yosort import replacing; from yosort.cli import main\n"
        "replacing.shutil.copyfile = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "convert", str(folder), "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "yosort: terminated\n")
    assert os.listdir(tmp_path) == []


class Interrupted(io.StringIO):
    """Lines, behind which somebody presses Ctrl-C."""

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        yield from self.getvalue().splitlines(keepends=True)
        raise KeyboardInterrupt


@pytest.mark.parametrize("output", [None, "out.jsonl"])
@pytest.mark.parametrize("count", [0, 400])
def test_ctrl_c_is_told_where_results_are_only_where_there_are_some(
    folder: Path, output: str | None, count: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdin", Interrupted("a dog\n" * count))
    options = ["--output", output] if output else []
    assert classify(folder, *options, "--batch-tokens", "64", "--batch-size", "1") == 130
    shown = capsys.readouterr()
    written = shown.out.count("\n")
    if output and Path(output).exists():
        written = Path(output).read_text(encoding="utf-8").count("\n")
    assert (written > 0) == (count > 0)
    assert Path("out.jsonl").exists() == bool(output and count)
    where = " in out.jsonl; --resume goes on" if output and count else ""
    assert shown.err == f"yosort: interrupted after {written} results{where}\n"
