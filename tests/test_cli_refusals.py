"""What the command line says of files, options and runs that seldom go wrong; and what it shows."""

from __future__ import annotations

import errno
import inspect
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import make
from tasks.test_sentence import write

from yosort.cli import main, reading
from yosort.conversion import convert


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {
        "embed": make(tmp_path_factory.mktemp("e"), "YosoModel"),
        "wide": make(tmp_path_factory.mktemp("w"), "YosoModel", hidden_size=64),
        "classify": make(tmp_path_factory.mktemp("c"), "YosoForSequenceClassification"),
        "qa": make(tmp_path_factory.mktemp("q"), "YosoForQuestionAnswering"),
    }
    found["int8"] = convert(found["embed"], tmp_path_factory.mktemp("i") / "int8", dtype="int8")
    return found


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(folder: Path, command: str, *arguments: str) -> int:
    return main([command, "--model", str(folder), *arguments])


@pytest.mark.parametrize("text", ["PAR1 signalling in platelets.", "ARROW1", "%PDF is a word"])
def test_texts_that_begin_as_other_files_do(folders: dict[str, Path], text: str) -> None:
    Path("in.txt").write_text(text)
    assert run(folders["embed"], "embed", "--input", "in.txt", "--output", "o.npy") == 0
    assert len(np.load("o.npy")) == 1


class Failing(io.FileIO):
    """A file of a disk that fails behind the first 64 KiB."""

    def readinto(self, buffer: Any, /) -> int | None:
        if self.tell() >= 1 << 16:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readinto(memoryview(buffer)[: 1 << 16])


def test_a_file_that_fails_while_it_is_read(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("in.txt").write_text(("word " * 9 + "\n") * 3000)
    monkeypatch.setattr(
        reading, "open", lambda name, _: io.BufferedReader(Failing(name)), raising=False
    )
    assert run(folders["embed"], "embed", "--input", "in.txt", "--output", "o.npy") == 1
    assert f"in.txt: cannot be read: {os.strerror(errno.EIO)}" in capsys.readouterr().err
    assert len(np.load("o.npy")) == (1 << 16) // 46


@pytest.mark.parametrize(
    ("task", "content", "arguments", "message"),
    [
        ("qa", b"a\x80b", "a --context-file in.x", "in.x: wanted text in UTF-8, got other bytes"),
        ("qa", None, "a --context-file in.x", "in.x: cannot be read: No such file"),
        ("embed", b'"a",\xff\n"b"\n', "--input in.csv", "in.csv, line 1: "),
        ("embed", b"a\xff,b\n1,2\n", "--input in.csv", "in.csv, line 1: wanted text in UTF-8"),
        ("embed", b'text\n"a\nb\xff"\n', "--input in.csv --field text", "in.csv, line 2: wanted"),
        ("embed", b'["a", "\xff"]', "--input in.json", "in.json, line 1: wanted text in UTF-8"),
        ("embed", b'"a"\n', "--input in.jsonl --keep id --output o.jsonl",
         "line 1: wanted an object with id, got a text"),
        ("embed", b'{"text": "a", "id": 1}', "--input in.jsonl --keep id --output o.npy",
         "--keep: wanted .jsonl or .csv, got .npy, which holds vectors alone"),
        ("bench", None, "--rounds 0", "rounds: wanted at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_is_refused(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str],
    task: str, content: bytes | None, arguments: str, message: str,
) -> None:  # fmt: skip
    if content is not None:
        name = next(word for word in arguments.split() if word.startswith("in."))
        Path(name).write_bytes(content)
    assert run(folders[task if task in folders else "embed"], task, *arguments.split()) == 1
    assert message in capsys.readouterr().err
    assert not Path("o.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "a", "--top-k", "many"], "--top-k: wanted a number or all, got 'many'"),
        (["serve", "--served-model-name", " "], "wanted a name, got an empty one"),
    ],
)
def test_options_that_are_none(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_all_labels_by_name(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folders["classify"], "classify", "a dog", "--top-k", "All") == 0
    found = json.loads(capsys.readouterr().out)
    assert {answer["label"] for answer in found} == {"LABEL_0", "LABEL_1"}


def test_vectors_of_another_width_are_not_continued(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.txt").write_text("a\nb\n")
    given = ("--input", "in.txt", "--output", "o.npy")
    assert run(folders["wide"], "embed", *given) == 0
    before = Path("o.npy").read_bytes()
    assert run(folders["embed"], "embed", *given, "--resume") == 1
    said = capsys.readouterr().err
    assert "o.npy: cannot be continued: its rows are 64 wide, this model's 32: wanted" in said
    assert Path("o.npy").read_bytes() == before


@pytest.mark.parametrize("output", ["o.npy", "o.jsonl", "o.csv"])
def test_more_results_than_inputs(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], output: str
) -> None:
    command, folder = ("embed", "embed") if output == "o.npy" else ("classify", "classify")
    Path("in.txt").write_text("a\nb\nc\n")
    given = ("--input", "in.txt", "--output", output)
    assert run(folders[folder], command, *given) == 0
    before = Path(output).read_bytes()
    Path("in.txt").write_text("a\nb\n")
    capsys.readouterr()
    assert run(folders[folder], command, *given, "--resume") == 1
    assert f"{output}: holds 3 results, but there are 2 inputs" in capsys.readouterr().err
    assert Path(output).read_bytes() == before


def test_info_of_integers_and_of_what_a_sentence_model_does(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(folders["int8"]), "--int8"]) == 0
    assert "stored so: nothing to try" in capsys.readouterr().out
    folder = write(
        Path(shutil.copytree(folders["embed"], "sentence")),
        "Pooling",
        limits={"max_seq_length": 20, "do_lower_case": True},
        prompts={"prompts": {"query": "ask: "}, "default_prompt_name": "query"},
    )
    assert main(["info", str(folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "mean of its tokens, texts cut at 20 tokens, lower case, 'ask: ' before each" in said


def test_doctor_says_which_blas_numpy_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("BLAS")]
    if "mode" in inspect.signature(np.show_config).parameters:
        shown: Any = np.show_config(mode="dicts")
        blas = shown["Build Dependencies"]["blas"]
        name = f"{blas['name']} {blas['version']};"
    else:  # before NumPy 1.25
        name = "one that it does not name"
    assert f"numpy has {name}" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "t.txt", "--field", "text"],
         "--field: wanted a format with fields (jsonl, json, csv, tsv), got lines"),
        (["--input", "t.txt", "--keep", "id"], "--keep: wanted a format with fields (jsonl, json,"),
        (["--input", "t.jsonl", "--delimiter", ";"],
         "--delimiter: wanted a format with fields (csv, tsv), got jsonl"),
        (["--input", "t.csv", "--delimiter", ";;"], "--delimiter: wanted one character"),
        (["--input", "twice.csv"], "wanted each column once, got 'text' twice"),
        (["--input", "t.txt", "missing.txt"], "missing.txt: cannot be read: no such file"),
        (["--input", "t.txt", "A text"], "A text: cannot be read: no such file (what follows"),
        (["--input", "t.parquet"], "wanted text in UTF-8, or .csv, .json"),
        (["--input", "t.gz"], "got gzip"),
        (["--input", "wide.txt"], "got text in UTF-16"),
        (["--input", "t.txt", "--output", "t.txt"], "wanted another file than what is read"),
        (["--input", "t.jsonl", "--output", "link.jsonl"], "wanted another file than what is read"),
        (["--input", "t.csv", "--output", "o.csv", "--keep", "label"], "wanted other names"),
        (["--input", "t.jsonl", "--output", "o.jsonl", "--keep", "score"], "wanted other names"),
        (["--input", "t.jsonl", "--keep", "index"], "the results', got 'index'"),
        (["--input", "t.jsonl", "--keep", "error"], "the results', got 'error'"),
        (["--input", "t.csv", "--output", "somebodys.csv"], "exists already; --resume"),
        (["x", "--output", "o.txt"], "--output: wanted a name in .jsonl, .csv or .npy"),
        (["x", "--resume"], "--resume: wanted --output FILE"),
    ],
)  # fmt: skip
def test_what_is_refused_leaves_every_file_as_it_was(
    folders: dict[str, Path],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {
        "t.txt": b"A dog\n", "t.jsonl": b'{"text": "A dog", "score": 1}\n', "t.gz": b"\x1f\x8b\x08",
        "t.csv": b"label,text\n1,A dog\n", "twice.csv": b"text,text\na,b\n",
        "t.parquet": b"PAR1\x15\0\x15",
        "wide.txt": "A dog\n".encode("utf-16"), "somebodys.csv": b"a,b\n1,2\n3,4",
    }  # fmt: skip
    for name, content in files.items():
        Path(name).write_bytes(content)
    os.link("t.jsonl", "link.jsonl")
    assert run(folders["classify"], "classify", *arguments) == 1
    assert message in capsys.readouterr().err
    assert {name: Path(name).read_bytes() for name in files} == files
    assert not Path("o.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--input t.gz", "t.gz: wanted text in UTF-8, or .csv"),
        ("--input t.txt t.gz", "t.gz: wanted text in UTF-8, or .csv"),
        ("--input missing.txt", "missing.txt: cannot be read: no such file"),
        ("--input .", ".: wanted a file, got a folder\n"),
        ("--input t.csv --delimiter ;;", "--delimiter: wanted one character"),
        ("--input t.csv --field a b c", "--field: wanted one for each of text and text_pair, got"),
        ("--input t.csv --keep =x", "--keep: wanted NAME or NAME=OTHER, got '=x'"),
        ("--input t.csv t.jsonl t.txt --keep id",
         "--keep: wanted a format with fields (jsonl, json, csv, tsv), got lines\n"),
        ("--resume", "--resume: wanted --output FILE to continue"),
        ("x --output o.txt", "--output: wanted a name in .jsonl, .csv or .npy, got 'o.txt'\n"),
        ("x --output -", "got '-'; standard output is where results go without it\n"),
        ("x --output t.csv", "t.csv: exists already; --resume continues it, or remove it first"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_or_written_is_said_before_a_model_is_looked_for(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("t.gz", b"\x1f\x8b\x08"), ("t.txt", b"a\n"), ("t.csv", b"text\na\n")):
        Path(name).write_bytes(content)
    Path("t.jsonl").write_bytes(b'"a"\n')
    assert main(["classify", "--model", "no/such/model", *arguments.split()]) == 1
    assert message in capsys.readouterr().err


def test_cells_of_two_kinds_of_tables_may_be_parted_alike(folders: dict[str, Path]) -> None:
    for name in ("a.csv", "b.tsv"):
        Path(name).write_text("id;text\n1;a dog\n", encoding="utf-8")
    given = ("--input", "a.csv", "b.tsv", "--delimiter", ";", "--output", "o.npy")
    assert run(folders["embed"], "embed", *given) == 0
    assert len(np.load("o.npy")) == 2


@pytest.mark.parametrize("name", ["index", "start", "end", "vector", "error"])
def test_what_is_kept_has_another_name_than_what_a_part_has(
    name: str, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before the first answer, not at the first that has it: nothing is written."""
    rows = '{"text": "", "id": 0}\n{"text": "a dog", "id": 1}\n'
    Path("t.jsonl").write_text(rows, encoding="utf-8")
    given = ("--input", "t.jsonl", "--chunks", "2", "--keep", f"id={name}", "--output", "o.jsonl")
    assert run(folders["embed"], "embed", *given, "--on-error", "collect") == 1
    assert not Path("o.jsonl").exists()
    assert f"--keep: wanted other names than the results', got '{name}'" in capsys.readouterr().err
