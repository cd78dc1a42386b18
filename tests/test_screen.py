"""What a person sees: exact screens, through a real pseudo-terminal and for texts of every kind."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from tasks.models import make

import yosort
from yosort.cli import main, screen, terminal
from yosort.tasks.stream import Failure

pty = pytest.importorskip("pty", reason="no pseudo-terminals here")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands where no checkout hides the installed yosort."""
    monkeypatch.chdir(tmp_path)


def on_terminal(columns: int, *arguments: str, **environment: str) -> str:
    """Return what `yosort ARGUMENTS` shows on a terminal of so many columns."""
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "yosort", *arguments]
    process = subprocess.Popen(
        command, stdin=writing, stdout=writing, stderr=writing, env=clean | environment
    )
    os.close(writing)
    shown = b""
    while True:
        try:
            block = os.read(reading, 1 << 16)
        except OSError:  # EIO: the other side is closed
            break
        if not block:
            break
        shown += block
    os.close(reading)
    process.wait()
    return shown.decode(errors="replace").replace("\r\n", "\n")


def answers(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Any]:
    assert main(list(arguments)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_first_command_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Paris is the <mask> of France."
    (found,) = answers(capsys, "fill-mask", text)
    wanted = [f"{a['score']:7.2%}  {a['token_str'].strip():<16} {a['sequence']}\n" for a in found]
    assert on_terminal(80, "fill-mask", text) == "".join(wanted)


def test_a_file_gets_records_on_a_terminal_too(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal shows how far it is; what is no terminal is shown nothing."""
    text = "Paris is the <mask> of France."
    wanted = answers(capsys, "fill-mask", text)
    shown = on_terminal(80, "fill-mask", text, "--output", "terminal.jsonl")
    assert "\r1 inputs [" in shown
    assert "capital" not in shown
    assert main(["fill-mask", text, "--output", "none.jsonl"]) == 0
    assert capsys.readouterr() == ("", "")
    for name in ("terminal.jsonl", "none.jsonl"):
        lines = Path(name).read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == wanted


def test_each_text_stands_above_its_answers(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ("A <mask> barks.", "The <mask> and the <mask>.")
    one, two = answers(capsys, "fill-mask", "--top-k", "1", *texts)

    def line(answer: Any) -> str:
        return f"{answer['score']:7.2%}  {answer['token_str'].strip():<16} {answer['sequence']}"

    wanted = [
        texts[0], line(one[0]), "", texts[1],
        "  mask 1 of 2", line(two[0][0]), "  mask 2 of 2", line(two[1][0]),
    ]  # fmt: skip
    assert on_terminal(80, "fill-mask", "--top-k", "1", *texts).splitlines() == wanted


@pytest.mark.parametrize("columns", [60, 80])
def test_nothing_passes_the_width(columns: int, tmp_path: Path) -> None:
    long = {i: f"{i} a label of many words that says {'very ' * 20}much" for i in range(3)}
    folder = str(make(tmp_path / "m", "YosoForSequenceClassification", id2label=long))
    texts = ["日本語の文章です。" * 9, "e\u0301" * 70, "😀" * 45, "word " * 40]
    draws = ("--attention", "sampled", "--num-hash", "4", "--samples", "2")
    for arguments in [
        ("classify", "--model", folder, "--top-k", "3", "--overflow", "truncate", *draws, *texts),
        ("info", "--model", folder, "--int8"),
        ("doctor",),
        ("bench", "--model", folder, "--lengths", "8", "--rounds", "1"),
    ]:
        shown = on_terminal(columns, *arguments).splitlines()
        assert len(shown) > 3
        messages = [line for line in shown if line.startswith("yosort: ")]  # of stderr, for logs
        assert max(terminal.cells(line) for line in shown if line not in messages) <= columns
        if arguments[0] == "classify":
            assert sum(" ± " in line for line in shown) == 3 * len(texts)


def write(show: Any, texts: list[str], *results: Any) -> None:
    page = screen.Screen(show, texts)
    for result in results:
        page.write(result, {})
    page.close(complete=True)


SCREEN = """\
one
 50.00%  PER              Ada\\nLove\\x1b[
                          31mlace
 25.00%  B-LOC            倫敦倫敦倫敦倫
                          敦

none
  nothing found
"""


def test_a_screen_of_entities(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    entity = {"entity_group": "PER", "score": 0.5, "word": " Ada\nLove\x1b[31mlace"}
    token = {"entity": "B-LOC", "score": 0.25, "word": "倫敦倫敦倫敦倫敦"}
    write(screen.show_entities, ["one", "none"], [entity, token], [])
    assert capsys.readouterr().out == SCREEN


def test_labels_answers_and_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    label = {"label": "spam", "score": 1.25, "standard_error": 0.0123}
    failure = Failure(1, yosort.InputError("text too long: wanted at most 64 tokens"))
    write(screen.show_labels, ["a" * 50, "b"], [label], failure)
    assert capsys.readouterr().out == (
        f"{'a' * 37}...\n  1.2500 ± 0.0123  spam\n\n"
        "b\n  error  text too long: wanted at most\n         64 tokens\n"
    )
    answer = {"score": 0.5, "start": 0, "end": 3, "answer": "Ada"}
    nothing = {"score": 0.125, "start": 0, "end": 0, "answer": "", "standard_error": 0.01}
    write(screen.show_answers, ["Who?"], [answer, nothing])
    assert capsys.readouterr().out == " 50.00%  Ada\n 12.50% ±  1.00%  no answer\n"
    ranked = [{"index": 1, "score": 2.5, "text": "b"}, {"index": 0, "score": -0.125, "text": "a"}]
    write(screen.show_ranks, ["Who?"], ranked)
    assert capsys.readouterr().out == "  2.5000  b\n -0.1250  a\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("abc", 3), ("日本", 4), ("e\u0301", 1), ("\u200d", 0), ("😀", 2), ("❤\ufe0f", 2), ("é", 1),
        ("1\u20dd", 1), ("\uff21", 2), ("\uff71", 1), ("", 0),
    ],
)  # fmt: skip
def test_cells(text: str, wanted: int) -> None:
    assert terminal.cells(text) == wanted


def test_escape_sequences_are_shown_not_sent() -> None:
    sent = "a\x1b]0;title\x07\r\n\u202egnp.exe\u2028\x85b\t\ud800"
    assert terminal.printable(sent) == (
        "a\\x1b]0;title\\x07\\r\\n\\u202egnp.exe\\u2028\\x85b\\t\\ud800"
    )
    assert terminal.printable("नमस्ते \u200d é 日本 😀\u00a0") == "नमस्ते \u200d é 日本 😀\u00a0"


def test_lines_part_at_blanks_and_lose_nothing() -> None:
    assert terminal.wrap("one two  three", 7) == ["one two", "three"]
    assert terminal.wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert terminal.wrap("日本語", 5) == ["日本", "語"]
    assert terminal.wrap("", 5) == [""]
    assert terminal.wrap("xe\u0301e\u0301", 2) == ["xe\u0301", "e\u0301"]
    assert terminal.wrap("  abcdef gh", 7) == ["  abcde", "f gh"]  # not within the indentation
    assert terminal.wrap("  ab cd", 6) == ["  ab", "cd"]


@pytest.mark.parametrize(
    ("columns", "wanted"), [(None, 80), ("1", 20), ("19", 20), ("20", 20), ("21", 21), ("300", 300)]
)
def test_a_page_has_the_terminal_s_columns_but_no_fewer_than_twenty(
    columns: str | None, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    with open(os.devnull, "w") as nowhere:  # where there is no terminal, there are 80
        monkeypatch.setattr(sys, "__stdout__", nowhere)
        assert terminal.width() == wanted


def test_what_hangs_has_ten_columns_at_least() -> None:
    assert list(terminal.hang("a long head ", "one two three", 15)) == [
        "a long head one two", " " * 12 + "three"
    ]  # fmt: skip
    assert list(terminal.hang("ab  ", "0123456789ab", 14)) == ["ab  0123456789", "    ab"]
    assert list(terminal.hang("ab   ", "0123456789ab", 14)) == ["ab   0123456789", "     ab"]


#: Runs commands one after another, and prints the status of each: an interpreter starts slowly.
IN_TURN = """
import json, sys
from yosort.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    print(f"\\n== {arguments[0]} {status}", flush=True)
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_no_command_dies_of_a_code_page(environment: dict[str, str], tmp_path: Path) -> None:
    labels = {0: "日本", 1: "naïve ±"}
    folder = str(make(tmp_path / "m", "YosoForSequenceClassification", id2label=labels))
    (tmp_path / "texts.txt").write_text("日本語\nb\n", encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], **environment}
    commands = [
        ("info", folder),
        ("info", folder, "--json"),
        ("doctor",),
        ("bench", "--model", folder, "--lengths", "8", "--rounds", "1"),
        ("calibrate", folder, str(tmp_path / "texts.txt"), "--num-hashes", "2", "--seeds", "1"),
        ("classify", "--help"),
        ("--help",),
    ]
    command = [sys.executable, "-c", IN_TURN, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.split(b"\n") if line.startswith(b"== ")] == [
        b"== " + arguments[0].encode() + b" 0" for arguments in commands
    ]
    assert b"Traceback" not in done.stderr
    for name in (b"\xff\xfe", "日本".encode()):
        out = os.path.join(os.fsencode(tmp_path), name)
        command = [sys.executable, "-m", "yosort", "convert", folder, out]
        done = subprocess.run(command, capture_output=True, env={**os.environ, **environment})
        assert (done.returncode, done.stdout) == (0, out + b"\n")
    page = on_terminal(80, "classify", "--model", folder, "--top-k", "2", "日", "b", **environment)
    assert page.count("\n") == 7


def test_a_long_name_takes_the_line_and_its_text_follows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = {"entity_group": "CORPORATION_OF_THE_STATE", "score": 0.5, "word": " Ada and Co"}
    fits = {"entity_group": "A" * 16, "score": 0.25, "word": "Ada"}
    over = {"entity_group": "A" * 17, "score": 0.25, "word": "Ada"}
    write(screen.show_entities, ["one"], [long, fits, over])
    assert capsys.readouterr().out == (
        " 50.00%  CORPORATION_OF_THE_STATE  Ada\n         and Co\n"
        f" 25.00%  {'A' * 16} Ada\n"
        f" 25.00%  {'A' * 17}  Ada\n"
    )


def test_a_text_that_fits_is_shown_whole() -> None:
    assert terminal.shorten("abcdef", 6) == "abcdef"
    assert terminal.shorten("abcdefg", 6) == "abc..."
    assert terminal.shorten("日本語", 6) == "日本語"
    assert terminal.shorten("日本語x", 6) == "日..."
    assert list(terminal.hang("ab  ", "one two three", 14)) == ["ab  one two", "    three"]
    assert list(terminal.hang("ab  ", "", 14)) == ["ab"]


def test_what_stands_beside_a_name_stands_under_it_where_columns_are_few() -> None:
    """Names are padded to a column of their own as long as 14 columns are left beside it."""
    row = ("0.500", "name", "one two three four")
    padded = ["0.500  name             one two three", " " * 24 + "four"]
    for columns, wanted in ((38, padded), (37, ["0.500  name  one two three four"])):
        assert list(screen._table([row], columns)) == wanted
