"""The command line over files as people bring them: what is read, what is written, what is kept."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import ENTITIES, make

import yosort
from yosort.cli import main

#: Two texts that every format holds.
GOOD = ["A dog barks", "In the beginning"]


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


def write(name: str, items: list[Any], wrong: int | None) -> Path:
    """Write texts in a file's format, with a wrong item before the `wrong`-th."""
    suffix = Path(name).suffix
    lines: list[bytes] = []
    if suffix in (".csv", ".tsv"):
        between = "," if suffix == ".csv" else "\t"
        lines = [between.join(("id", "text")).encode()]
        lines += [f"{i}{between}{text}".encode() for i, text in enumerate(items)]
        broken = f"9{between}x{between}y".encode()
    elif suffix == ".jsonl":
        lines = [json.dumps({"id": i, "text": text}).encode() for i, text in enumerate(items)]
        broken = b'{"id": 9, "text": '
    elif suffix == ".json":
        values: list[Any] = [{"id": i, "text": text} for i, text in enumerate(items)]
        if wrong is not None:
            values.insert(wrong, {"id": 9, "other": 1})
        Path(name).write_text(json.dumps(values), encoding="utf-8")
        return Path(name)
    else:
        lines, broken = [text.encode() for text in items], "caf\u00e9".encode("latin-1")
    if wrong is not None:
        lines.insert(wrong + (suffix in (".csv", ".tsv")), broken)
    Path(name).write_bytes(b"\n".join(lines) + b"\n")
    return Path(name)


NAMES = ("texts.txt", "texts.jsonl", "texts.json", "texts.csv", "texts.tsv")


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read_is_that_item_s_error(
    folder: Path, name: str, wrong: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = yosort.pipeline("text-classification", folder)(GOOD)
    write(name, GOOD, wrong)
    assert classify(folder, "--input", name, "--output", "raised.jsonl") == 1
    error = capsys.readouterr().err
    assert f"{name}, " in error
    raised = Path("raised.jsonl")
    lines = raised.read_text(encoding="utf-8").splitlines() if raised.exists() else []
    assert [json.loads(line) for line in lines] == [[answer] for answer in wanted[:wrong]]
    assert raised.exists() == bool(wrong)  # nothing that blocks the corrected run
    # --resume passes it under "collect".
    again = ("--input", name, "--output", "raised.jsonl", "--on-error", "collect", "--resume")
    assert classify(folder, *again) == 1
    assert "1 of 3 inputs failed" in capsys.readouterr().err
    assert classify(folder, "--input", name, "--output", "o.jsonl", "--on-error", "collect") == 1
    assert raised.read_bytes() == Path("o.jsonl").read_bytes()
    results = [json.loads(line) for line in Path("o.jsonl").read_bytes().splitlines()]
    assert results.pop(wrong).keys() == {"index", "error"}
    assert results == [[answer] for answer in wanted]


def test_one_reader_for_files_input_and_context(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\ufeffA d\u00f6g\rbarks\r\nParis\u2028is\n"
    Path("t.txt").write_bytes(text.encode())
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "yosort", "classify", "--model", str(folder)]
    with open("t.txt", "rb") as file:
        piped = subprocess.run(
            command, stdin=file, capture_output=True, env=environment, check=True,
            cwd=tmp_path_factory.mktemp("elsewhere"),
        ).stdout  # fmt: skip
    assert classify(folder, "--input", "t.txt") == 0
    assert capsys.readouterr().out.encode() == piped
    wanted = yosort.pipeline("text-classification", folder)(["A d\u00f6g\rbarks", "Paris\u2028is"])
    assert [json.loads(line)[0] for line in piped.splitlines()] == wanted
    qa = make(tmp_path_factory.mktemp("q") / "q", "YosoForQuestionAnswering")
    context = "\ufeffMoses went\r\nup into\r\nSinai.\r\n"
    Path("c.txt").write_bytes(context.encode())
    assert main(["qa", "--model", str(qa), "--context-file", "c.txt", "Who?"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert context[1:][found["start"] : found["end"]] == found["answer"]


@pytest.mark.parametrize(
    ("name", "content", "options", "labels", "error"),
    [
        ("a.csv", 'id,text\n1,"A dog\n2,x\n3,y\n', (), [None, "", ""], "quote that closes"),
        ("a.csv", "id,text\n1,x,y\n2,z\n", (), [None, ""], "wanted 2 cells"),
        ("a.csv", "id,text\n1,\n2,z\n", (), [None, ""], "text: wanted a text, got an empty one"),
        ("a.csv", f'text\n"{"a " * 70_000}"\nb\n', ("--overflow", "truncate"), ["", ""], ""),
        ("a.csv", "text\na\0b\nc\n", (), [None, ""], "NUL"),
        ("a.txt", "id;text\n1;x\n", ("--format", "csv", "--delimiter", ";"), [""], ""),
        ("a.txt", "id\ttext\n1\tx\n", ("--format", "csv", "--delimiter", r"\t"), [""], ""),
        ("a.txt", "id\ttext\n1\tx\n", ("--format", "csv", "--delimiter", "\t"), [""], ""),
        ("a.csv", "text;n\nx;1\n", (), [None], "--delimiter ';' parts that"),
        ("a.tsv", "text\tn\nx\t1\n", (), [""], ""),
        ("a.json", '["x", "y"]', (), ["", ""], ""),
        ("a.json", '"x"\n"y"\n', (), ["", ""], ""),
        ("a.json", "[]", (), [], ""),
        ("a.jsonl", '"x"\n5\n""\n', (), ["", None, None], "wanted a text"),
        ("a.ndjson", '{"text": "x"}\nnull\n', (), ["", None], "wanted a text, got None"),
        ("a.csv", 'text\n"x\ny"\nz\n', (), ["", ""], ""),
    ],
)  # fmt: skip
def test_formats_are_read_as_what_they_are(
    folder: Path, name: str, content: str, options: tuple[str, ...], labels: list[Any], error: str
) -> None:
    Path(name).write_text(content, encoding="utf-8", newline="")
    output = ("--output", "o.jsonl", "--on-error", "collect")
    assert classify(folder, "--input", name, *options, *output) == (None in labels)
    results = [json.loads(line) for line in Path("o.jsonl").read_bytes().splitlines()]
    assert [None if "error" in result else "" for result in results] == labels
    assert all(error in result["error"] for result in results if "error" in result)


def test_an_empty_argument_is_no_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert classify(folder, "A dog", " ") == 1
    assert "text 2: wanted a text, got an empty one" in capsys.readouterr().err


def test_kept_columns_go_first(folder: Path) -> None:
    Path("t.csv").write_text("id,text,n\na1,A dog,5\nb2,,6\n", encoding="utf-8")
    wanted = yosort.pipeline("text-classification", folder)("A dog")[0]
    options = ("--input", "t.csv", "--keep", "id", "n", "--on-error", "collect", "--output")
    assert classify(folder, *options, "o.jsonl") == 1
    first, second = map(json.loads, Path("o.jsonl").read_bytes().splitlines())
    assert list(first.items()) == [("id", "a1"), ("n", "5"), *wanted.items()]
    assert (second["id"], second["n"], second["index"]) == ("b2", "6", 1)
    assert classify(folder, *options, "o.csv") == 1
    with open("o.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "n", "label", "score", "truncated", "error"]
    assert rows[1][:3] == ["a1", "5", wanted["label"]]
    assert rows[2][:2] == ["b2", "6"]
    assert "got an empty one" in rows[2][5]


def test_output_is_valid_for_strict_readers(tagger: Path, capsys: Any) -> None:
    Path("t.jsonl").write_text(json.dumps("Paris\u2028is \u0085 a\n") + "\n", encoding="utf-8")
    arguments = ["ner", "--model", str(tagger), "--input", "t.jsonl", "--ignore-labels"]
    assert main([*arguments, "--output", "o.jsonl"]) == 0
    written = Path("o.jsonl").read_text(encoding="utf-8")
    assert len(written.splitlines()) == 1  # which parts at U+2028 and U+0085, too
    assert json.loads(written, parse_constant=pytest.fail)


def test_an_answer_that_is_no_number_is_its_item_s_error(folder: Path) -> None:
    model = yosort.load(folder)
    model._parameters["classifier.out_proj.bias"] = np.full(3, np.nan, np.float32)
    model.save_pretrained("broken")
    Path("t.txt").write_text("A dog\n", encoding="utf-8")
    assert (
        classify(Path("broken"), "--input", "t.txt", "--on-error", "collect", "--output", "o.jsonl")
        == 1
    )
    result = json.loads(Path("o.jsonl").read_text(), parse_constant=pytest.fail)
    assert "not a finite number" in result["error"]


def test_streams_as_outputs(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if os.path.exists("/dev/null"):
        assert classify(folder, "A dog", "--output", "/dev/null") == 0
        assert classify(folder, "A dog", "--output", "/dev/null", "--resume") == 1
        assert "wanted a file to continue" in capfd.readouterr().err
    Path("empty.jsonl").touch()
    assert classify(folder, "A dog", "--output", "empty.jsonl") == 0
    assert len(Path("empty.jsonl").read_bytes().splitlines()) == 1


def test_pairs_under_other_names_and_columns_renamed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mrpc.csv").write_text("label,one,two\n1,A dog,barks\n0,x,\n", encoding="utf-8")
    options = ("--input", "mrpc.csv", "--field", "one", "--field", "two")
    assert classify(folder, *options, "--keep", "label=gold", "--output", "o.jsonl") == 0
    pair, single = map(json.loads, Path("o.jsonl").read_bytes().splitlines())
    run: Any = yosort.pipeline("text-classification", folder)
    assert pair == {"gold": "1", **run({"text": "A dog", "text_pair": "barks"})}
    assert single == {"gold": "0", **run("x")[0]}
    assert classify(folder, *options, "--field", "label") == 1
    error = capsys.readouterr().err
    assert "--field: wanted one for each of text and text_pair, got one, two, label" in error
    assert classify(folder, "--input", "mrpc.csv", "--field", "one", "two") == 0
    wanted = [{name: pair[name] for name in ("label", "score")}]
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == wanted
    assert main(["fill-mask", *options]) == 1
    assert "--field: wanted one, for text, got one, two" in capsys.readouterr().err
    assert classify(folder, *options, "--keep", "label", "--output", "p.csv") == 1
    assert "'label'; NAME=OTHER renames" in capsys.readouterr().err


def test_a_file_s_name_is_a_text_with_a_word(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.txt").write_text("A dog\n", encoding="utf-8")
    assert classify(folder, "a.txt") == 0
    assert "a.txt is taken as a text; --input reads files" in capsys.readouterr().err


def test_words_without_their_option(tagger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("w.jsonl").write_text('{"words": ["Angela", "Merkel"]}\n', encoding="utf-8")
    assert main(["ner", "--model", str(tagger), "--input", "w.jsonl"]) == 1
    assert "got words; --is-split-into-words reads them" in capsys.readouterr().err
    assert main(["ner", "--model", str(tagger), "--input", "w.jsonl", "--is-split-into-words"]) == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [("e.txt", ""), ("e.csv", "text\n"), ("e.jsonl", ""), ("e.json", "[]"), ("e.txt", "\n \n")],
)
def test_of_nothing_to_read_there_is_a_word(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    Path(name).write_text(content, encoding="utf-8")
    assert classify(folder, "--input", name) == 0
    out, error = capsys.readouterr()
    assert out == ""
    assert f"yosort: nothing to answer: there are no texts in {name}\n" in error


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("classify", '{"text": null}', "element 1: text: wanted a text, got null"),
        (
            "qa", '{"data": [{"paragraphs": [{"context": "a", "qas": []}]}], "version": "1.1"}',
            "element 1: wanted question and context, got the keys 'data', 'version'; data holds "
            "objects of its own: wanted is a list, or JSON lines, of objects that have question "
            "and context themselves",
        ),
    ],
)  # fmt: skip
def test_objects_without_a_text_in_its_place(
    capsys: pytest.CaptureFixture[str], command: str, content: str, message: str
) -> None:
    Path("x.json").write_text(content, encoding="utf-8")
    assert main([command, "--allow-random-head", "--input", "x.json"]) == 1
    assert f"yosort: error: x.json, {message}\n" in capsys.readouterr().err


FIRST = "(the first row names them)"
IDS = f"got the columns 'id', 'body' {FIRST}"


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "id,body\n1,a\n", [], f"text (text_pair is optional), {IDS}; --field names an"),
        ("a.csv", "id,body\n1,a\n", ["--field", "text"], f"wanted a field 'text', {IDS}\n"),
        ("a.csv", "id,body\n1,a\n", ["--keep", "nr"], f"wanted a field 'nr' to keep, {IDS}\n"),
        ("a.csv", "id;text\n1;a\n", [], f"'id;text' {FIRST}; --delimiter ';' parts that\n"),
        ("a.csv", "id;text\n1;a, b\n", [], "1 cells, as the first row has, got 2; --delimiter ';'"),
        ("a.csv", "id;a, b;text\n1;2;3\n", [], "has, got 1; --delimiter ';' parts that\n"),
        ("a.csv", "id;a, b\n1,2\n", [], f"'id;a', ' b' {FIRST}; --delimiter ';' parts that\n"),
        ("a.csv", "id\tbody\n1\ta\n", [], rf"'id\tbody' {FIRST}; --delimiter '\t' parts that"),
        ("a.tsv", "id,text\n1,a\n", [], f"'id,text' {FIRST}; --delimiter ',' parts that\n"),
        ("a.csv", "id,text\n1\n", [], "wanted 2 cells, as the first row has, got 1\n"),
        ("a.jsonl", '{"b;c": 1}\n', [], "got the keys 'b;c'; --field names another\n"),
    ],
)  # fmt: skip
def test_a_missing_column_names_those_that_are_there(
    folder: Path,
    name: str,
    content: str,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path(name).write_text(content, encoding="utf-8")
    assert classify(folder, "--input", name, *options) == 1
    assert message in capsys.readouterr().err


def test_a_delimiter_that_is_named_helps(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("a.csv").write_text("id\ttext\n1\ta\n", encoding="utf-8")
    assert classify(folder, "--input", "a.csv", "--delimiter", "\\t") == 0
    settings = ("--num-hashes", "2", "--seeds", "1", "--json", "--delimiter", "\\t")
    assert main(["calibrate", str(folder), "a.csv", *settings]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["texts"] == 1


BINARIES = {
    "a.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0",
    "a.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01",
    "a.jsonl": b"\x80\x04\x95\n\0\0\0\0\0\0\0]",
    "a.csv": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
}


@pytest.mark.parametrize("name", BINARIES)
@pytest.mark.parametrize("reader", ["--input", "--context-file", "calibrate", "<", "pipe"])
def test_what_is_no_text_is_refused_whole(
    folder: Path, name: str, reader: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    Path(name).write_bytes(BINARIES[name] + b"\nA dog barks\n")
    label = "standard input" if reader == "<" else name
    if reader == "--context-file":
        assert main(["qa", "--allow-random-head", "--context-file", name, "Who?"]) == 1
    elif reader == "calibrate":
        assert main(["calibrate", str(folder), name]) == 1
    elif reader == "<":
        with open(name, encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdin", file)
            assert classify(folder, "--on-error", "collect") == 1
    elif reader == "pipe":
        os.mkfifo("fifo")
        label = "fifo"
        with subprocess.Popen(["cp", name, "fifo"]):
            assert classify(folder, "--input", "fifo", "--on-error", "collect") == 1
    else:
        assert classify(folder, "--input", name, "--on-error", "collect") == 1
    captured = capsys.readouterr()
    listed = ".csv, .json, .jsonl, .ndjson, .tsv"
    wanted = f"{label}: wanted text in UTF-8, or {listed}, got a binary file, which holds no text\n"
    assert captured.out == ""
    assert captured.err.endswith(f"yosort: error: {wanted}")


def test_a_line_of_another_encoding_costs_itself(folder: Path) -> None:
    Path("a.csv").write_bytes(b"text,n\nx,1\ncaf\xe9,2\ny,3\n")
    output = ("--output", "o.jsonl", "--on-error", "collect")
    assert classify(folder, "--input", "a.csv", *output) == 1
    results = [json.loads(line) for line in Path("o.jsonl").read_bytes().splitlines()]
    assert ["error" in result for result in results] == [False, True, False]
    assert "UTF-8" in results[1]["error"]


@pytest.mark.skipif(os.name != "posix", reason="closes a stream as a shell of POSIX does")
def test_closed_streams_are_said_so_or_not_missed(tmp_path: Path) -> None:
    """As launchers of services leave them: Python has None in their place."""

    def run(arguments: str, closed: str) -> tuple[int, str]:
        command = f"{sys.executable} -m yosort {arguments} {closed}"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    assert run("embed a", ">&-") == (1, "yosort: error: standard output is closed\n")
    assert run("embed a --output out.jsonl", ">&-") == (0, "")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1
    status, said = run("embed", "<&-")
    assert (status, said.count("there are no texts in standard input")) == (0, 1)
    status, said = run("embed a", "2>&-")
    assert (status, said.count("\n")) == (0, 1)
    assert run("embed a --output err.jsonl", "2>&-") == (0, "")
    assert len((tmp_path / "err.jsonl").read_text().splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="closes a stream as a shell of POSIX does")
@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_stream_that_is_closed(closed: str, tmp_path: Path) -> None:
    """What writes to standard error, as a crash does, would else write into it."""
    code = (
        "import os, sys; from yosort.cli import terminal; terminal.prepare_streams();"
        "os._exit(os.open('results', os.O_CREAT | os.O_WRONLY))"
    )
    command = f'{sys.executable} -c "{code}" {closed}'
    assert subprocess.run(command, shell=True, cwd=tmp_path).returncode in (3, 4)


def test_a_dash_is_standard_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for arguments in (["-"], ["--input", "-"], []):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a dog\na cat\n")))
        assert classify(folder, *arguments) == 0
        found.append(capsys.readouterr().out)
    assert len(found[0].splitlines()) == 2
    assert found == found[:1] * 3


def test_words_of_the_pipelines_on_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Any = yosort.pipeline("text-classification", folder, top_k=None, max_length=5)
    options = ("--top-k", "all", "--max-length", "5", "--batch-size", "1")
    assert classify(folder, "A dog barks at a cat", *options) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == run(["A dog barks at a cat"])[0]
    assert "cut to 5 tokens" in captured.err
    assert main(["fill-mask", "A <mask>", "--samples", "3"]) == 1
    assert capsys.readouterr().err.endswith("--attention sampled or --attention auto\n")
