"""Inputs that are odd: pipes, zero bytes, numbers that JSON has not, models that are broken."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tasks.models import make

import yosort
from yosort import __main__ as command
from yosort.cli import main
from yosort.cli.reading import read_text
from yosort.errors import InputError


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("m") / "m", "YosoForSequenceClassification", num_labels=2)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no names for what is open")
@pytest.mark.parametrize("option", ["pipe", "-"])
def test_a_whole_text_is_read_once_from_a_pipe_too(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents and contexts; the beginning is looked at, and is not lost."""
    text = "\ufeff" + "a line\r\n" * 20_000
    end, begin = os.pipe()

    def write() -> None:
        with os.fdopen(begin, "wb") as file:
            file.write(text.encode())

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(end, "rb") as source:
        if option == "-":
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=source))
        name = "-" if option == "-" else f"/dev/fd/{source.fileno()}"
        assert read_text(Path(name)) == text.removeprefix("\ufeff")
        writer.join()


def test_a_whole_text_of_standard_input_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content, what in ((b"PK\x03\x04", "a zip archive"), (b"\xe9", "other bytes")):
        (tmp_path / "in").write_bytes(content)
        with (tmp_path / "in").open("rb") as source:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=source))
            with pytest.raises(InputError, match=f"standard input: wanted text in UTF-8.* {what}"):
                read_text(Path("-"))


#: What begins a file of 4,096 bytes and more within its last letter.
CUT = b" " + "\u00e9".encode() * 3000


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "a zip archive (as .docx and .xlsx are)"),
        (b"%PDF-1.7\n", "PDF"), (b"%PDF", None), (b"PAR1\x15\0", "parquet"),
        (b"PAR1 and more", None), (b"PAR1" + CUT, None), (b"PAR1\xff", "parquet"),
        (b"ARROW1\0\0", "Arrow"), (b"ARROW1 and more", None), (b"ARROW1\xff", "Arrow"),
        (b"\x93NUMPY\x01\0", "an array of NumPy's"),
        ("\ufeffa dog".encode("utf-16-le"), "text in UTF-16"),
        ("\ufeffa dog".encode("utf-16-be"), "text in UTF-16"),
        (b"\xff\0\xfe", "a binary file, which holds no text"), (b"\0abcd" + CUT, None),
        # A zero byte in four is what wide letters have; one in more than four is somebody's own.
        (b"abc\0", "zero bytes between or in place of letters, as text in UTF-16 has"),
        (b"abcd\0", None), (b"abcd\0efg\0", None), (b"abcd\0efgh\0\0", "zero bytes between"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_text_is_told_from_what_is_none_by_its_beginning(
    content: bytes, what: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(content)
    if what is None:
        assert read_text(path) == content.decode()
        return
    with pytest.raises(InputError) as caught:
        read_text(path)
    listed = ".csv, .json, .jsonl, .ndjson, .tsv"
    assert f"in.txt: wanted text in UTF-8, or {listed}, got {what}" in str(caught.value)


def test_standard_input_is_utf_8_whatever_the_locale_says(
    classifier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where a program has put a stream of text in its place, that text."""
    found = []
    for stream in (
        io.TextIOWrapper(io.BytesIO("caf\u00e9\n".encode()), encoding="latin-1"),
        io.StringIO("caf\u00e9\n"),
    ):
        monkeypatch.setattr(sys, "stdin", stream)
        assert main(["embed", "--model", str(classifier)]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert main(["embed", "--model", str(classifier), "caf\u00e9"]) == 0
    assert capsys.readouterr().out == found[0]
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n\ud800\n"))
    assert main(["embed", "--model", str(classifier)]) == 1
    said = capsys.readouterr().err
    assert "standard input, line 2: wanted text in UTF-8, got other bytes" in said


def test_a_cell_may_be_as_long_as_a_text(
    tmp_path: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The csv module takes 131,072 characters of itself."""
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(f"id,text\n{'x' * 200_000},a\n", encoding="utf-8")
    csv.field_size_limit(131_072)  # as a fresh process has it
    given = ["--input", "in.csv", "--keep", "id", "--output", "o.jsonl"]
    assert main(["classify", "--model", str(classifier), *given]) == 0
    assert json.loads(Path("o.jsonl").read_text(encoding="utf-8"))["id"] == "x" * 200_000


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_wide_letters_without_a_mark_are_no_lines(
    encoding: str, tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts"
    path.write_bytes("A dog.\nA cat.\n".encode(encoding))
    assert main(["classify", "--model", str(classifier), "--input", str(path)]) == 1
    assert "got zero bytes between or in place of letters" in capsys.readouterr().err
    path.write_bytes(b"A dog barks.\0\n")
    assert main(["classify", "--model", str(classifier), "--input", str(path)]) == 0


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_kept_number_that_json_has_not_is_its_input_s_error(
    suffix: str, tmp_path: Path, classifier: Path
) -> None:
    inputs, output = tmp_path / "in.jsonl", tmp_path / f"out.{suffix}"
    rows = ['"id": 1, "n": 2', '"id": NaN, "n": 3', '"id": [1e999], "n": 4', '"id": 5, "n": 6']
    inputs.write_text("".join(f'{{"text": "a", {row}}}\n' for row in rows), encoding="utf-8")
    arguments = ["classify", "--model", str(classifier), "--input", str(inputs), "--keep", "id"]
    assert main([*arguments, "n", "--on-error", "collect", "--output", str(output)]) == 1
    records = output.read_text(encoding="utf-8").splitlines()[suffix == "csv" :]
    failed = ["a field 'id' to keep: wanted a finite number" in record for record in records]
    assert failed == [False, True, True, False]


def test_a_table_with_a_zero_byte_in_an_answer_can_be_continued(tmp_path: Path) -> None:
    inputs, whole, cut = (tmp_path / name for name in ("in.txt", "whole.csv", "cut.csv"))
    inputs.write_text("A <mask>\0 barks.\nA <mask> barks.\n", encoding="utf-8")
    arguments = ["fill-mask", "--top-k", "1", "--input", str(inputs), "--output"]
    assert main([*arguments, str(whole)]) == 0
    written = whole.read_bytes()
    assert b"\0" not in written
    assert b"\\x00" in written
    for end in (len(written), len(written) - 9):
        cut.write_bytes(written[:end])
        assert main([*arguments, str(cut), "--resume"]) == 0
        assert cut.read_bytes() == written


@pytest.mark.parametrize("keep", [["id=a", "t=a"], ["id=a", "id=b"], ["id", "id"], ["t=id", "id"]])
def test_a_kept_name_stands_once(
    keep: list[str], tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = tmp_path / "in.jsonl"
    inputs.write_text('{"text": "a", "id": 1, "t": 2}\n', encoding="utf-8")
    arguments = ["classify", "--model", str(classifier), "--input", str(inputs), "--keep"]
    assert main([*arguments, *keep]) == 1
    assert "--keep: wanted each name once, got" in capsys.readouterr().err
    assert main([*arguments, "=x"]) == 1
    assert "--keep: wanted NAME or NAME=OTHER, got '=x'" in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_no_numbers_are_none(value: float, tmp_path: Path) -> None:
    """Of a masked LM as of others; and neither is there anything to compare them with."""
    model = yosort.load(make(tmp_path / "whole", "YosoForMaskedLM"), device="cpu")
    bias = model._parameters["cls.predictions.bias"].copy()
    bias[7] = value
    model._parameters |= {f"cls.predictions.{name}bias": bias for name in ("", "decoder.")}
    model.save_pretrained(tmp_path / "broken")
    for options in ({}, {"attention": "sampled", "samples": 2}, {"top_k": 1}):
        pipe = yosort.pipeline("fill-mask", tmp_path / "broken", device="cpu", **options)
        for targets in (None, ["dog", "cat"]):
            with pytest.raises(InputError, match="the model's answer is not a finite number"):
                pipe("A <mask> barks.", targets=targets)
    with pytest.raises(InputError, match="the model's answer is not a finite number"):
        yosort.calibrate(pipe.model, ["A dog barks."] * 3, num_hashes=[8], seeds=1)


@pytest.mark.parametrize("name", ["embed", "classify"])
def test_a_broken_checkpoint_is_no_other_task_s(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoForMaskedLM")
    weights = folder / "model.safetensors"
    for content, said in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (weights.read_bytes()[:-9], "not copied to its end"),
    ):
        weights.write_bytes(content)
        head = ["--allow-random-head"] if name == "classify" else []
        assert main([name, *head, "--model", str(folder), "a"]) == 1
        shown = capsys.readouterr().err
        assert said in shown
        assert "this is a" not in shown


def test_ctrl_c_while_the_command_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("yosort.cli.main", interrupted)
    assert command.run() == 130
    assert capsys.readouterr().err == "yosort: interrupted\n"
    monkeypatch.setattr("yosort.cli.main", lambda: 3)
    assert command.run() == 3


def test_a_list_on_one_of_several_lines(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix, said in (("jsonl", "list of them; --format json reads it"), ("json", "several li")):
        path = tmp_path / f"in.{suffix}"
        path.write_text(json.dumps([{"text": "a"}]) + '\n[{"text": "b"}]\n', encoding="utf-8")
        assert main(["classify", "--model", str(classifier), "--input", str(path)]) == 1
        assert said in capsys.readouterr().err


def test_a_table_may_begin_with_empty_lines(
    tmp_path: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("\n\ntext,id\na,1\n\nb,2\n", encoding="utf-8")
    arguments = ["classify", "--model", str(classifier), "--input", str(path), "--keep", "id"]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert [json.loads(line)["id"] for line in shown.out.splitlines()] == ["1", "2"]
    assert "skipped 3 empty lines; the first is" in shown.err
    path.write_text("text\na\rb\n", encoding="utf-8", newline="")
    assert main(["classify", "--model", str(classifier), "--input", str(path)]) == 1
    assert "in.csv, line 2: wanted lines that end at a line feed" in capsys.readouterr().err
