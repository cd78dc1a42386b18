"""Arguments as people write them: nothing is swallowed or passed over in silence."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tasks.models import ENTITIES, make

import yosort
from yosort.cli import main

TEXT = "Moses went up into Sinai"
OWN = "all words behind {} are its own: texts go before it, or behind --"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model of each command."""
    folder = tmp_path_factory.mktemp("models")
    made = {
        "classify": ("YosoForSequenceClassification", {"num_labels": 2}),
        "ner": ("YosoForTokenClassification", {"id2label": ENTITIES}),
        "qa": ("YosoForQuestionAnswering", {}),
        "embed": ("YosoModel", {}),
        "fill-mask": ("YosoForMaskedLM", {}),
    }
    return {c: str(make(folder / c, name, **fields)) for c, (name, fields) in made.items()}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


def answers(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command line that cannot be parsed is told, its usage before it."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("ner", ["--ignore-labels", "O", "B", TEXT], "got 'B'; "),
        ("ner", ["--ignore-labels", "O", TEXT], f"got {TEXT!r}; "),
        ("ner", ["--ignore-labels", "O"], "no texts in standard input; "),
        ("fill-mask", ["--targets", "cat", "A <mask> barks"], "got 'A <mask> barks', which is"),
        ("fill-mask", ["--targets", "cat", "dog"], "no texts in standard input; "),
    ],
)
def test_a_text_that_an_option_took_is_said_so(
    models: dict[str, str],
    command: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([command, "--model", models[command], *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.endswith(f"; {OWN.format(arguments[0])}\n")


def test_where_an_option_of_several_words_ends(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["--ignore-labels", "O", "PER"]
    found = []
    for arguments in (
        [TEXT, *labels],
        [*labels, "--", TEXT],
        ["--ignore-labels", "O", "--ignore-labels", "PER", "--seed", "0", TEXT],
    ):
        assert main(["ner", "--model", models["ner"], *arguments]) == 0
        found += answers(capsys)
    own = yosort.pipeline("ner", models["ner"])
    wanted = own(TEXT, aggregation_strategy="simple", ignore_labels=["O", "PER"])
    assert found == [wanted] * 3
    sys.stdin = io.StringIO("A <mask> barks")  # the fixture puts the old one back
    assert main(["fill-mask", "--targets", "cat", "dog"]) == 0
    assert {answer["token_str"] for answer in answers(capsys)[0]} == {" cat", " dog"}


def test_a_number_that_is_none_may_be_another_argument(capsys: pytest.CaptureFixture[str]) -> None:
    for command, option in (("bench", "--lengths"), ("calibrate", "--num-hashes")):
        error = usage_error(capsys, command, option, "8", "mails")
        assert "invalid int value: 'mails'; " in error
        assert f"all words behind {option} are its own: other arguments go before it" in error
        error = usage_error(capsys, command, option, "8,16")
        assert error.endswith("invalid int value: '8,16'; blanks part them\n")


@pytest.mark.parametrize(
    ("strategy", "label"), [("simple", "B-PER"), ("none", "PER"), ("first", "I-LOC")]
)
def test_labels_of_another_strategy_leave_nothing_out(
    models: dict[str, str], strategy: str, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ner", "--model", models["ner"], TEXT, "--aggregation-strategy", strategy]
    assert main([*arguments, "--ignore-labels", label]) == 0
    captured = capsys.readouterr()
    assert f"--ignore-labels: '{label}' leaves nothing out, for --aggregation-strategy" in (
        captured.err
    )
    assert ("['O', 'PER', 'LOC']" in captured.err) == (strategy != "none")
    assert main([*arguments, "--ignore-labels"]) == 0
    assert capsys.readouterr() == (captured.out, "")


def test_texts_stand_anywhere(models: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["classify", "--model", models["classify"]]
    assert main([*command, "a", "b", "--weird c"]) == 0
    wanted = answers(capsys)
    assert len(wanted) == 3
    for arguments in (
        ["a", "--top-k", "1", "b", "--seed", "0", "--weird c"],
        ["a", "--top-k", "1", "--", "b", "--weird c"],
        ["a", "--top-k", "1", "b", "--", "--weird c"],
    ):
        assert main([*command, *arguments]) == 0
        assert answers(capsys) == wanted
    assert main([*command, "-5", "--top-k", "1", "-5"]) == 0
    assert len(answers(capsys)) == 2
    for text in ("--weird", "--weird=a b"):
        assert main([*command, "a", "--top-k", "1", "--", text]) == 0
        assert len(answers(capsys)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "a", "--weird", "5"], "--weird 5; a text that begins with - goes"),
        (["classify", "--weird"], "--weird; a text that begins with - goes behind --"),
        (["classify", "a", "--seed", "1", "b", "--weird"], "--weird; a text that begins with -"),
        (["embed", "-weird"], "-weird; a text that begins with - goes behind --"),
        (["classify", "a", "--lengths", "5"], "--lengths 5; did you mean --max-length?\n"),
        (["bench", "--length", "5", "--text", "x"], "unrecognized arguments: --text\n"),
        (["bench", "--max-answer-length", "5"], "--max-answer-length\n"),
        (["doctor", "some/model"], "unrecognized arguments: some/model\n"),
        (["qa", "--question=Who went up?"], "--question; a question stands without an option\n"),
        (["classify", "--text", "a"], "--text; a text stands without an option\n"),
        (["rerank", "--query=a"], "--query; a query stands without an option\n"),
        (["qa", "--context", "--dashes", "Who?"], "is written --context=VALUE\n"),
    ],
    ids=str,
)
def test_a_command_judges_its_own_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = usage_error(capsys, *arguments)
    assert error.startswith(f"usage: yosort {arguments[0]} [OPTION ...]")
    assert error.count("\n") == 2
    assert message in error


def test_options_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    error = usage_error(capsys, "--model", "some/model", "classify", "a")
    assert error.endswith("; options go behind the command\n")


@pytest.mark.parametrize("command", ["info", "bench"])
def test_the_model_stands_alone_or_behind_its_option(
    models: dict[str, str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = models["embed"]
    own = ["--lengths", "8", "--rounds", "1", "--dtype", "int8"] if command == "bench" else []
    for name in ([folder], ["--model", folder]):
        assert main([command, *name, *own, "--json"]) == 0
        (found,) = answers(capsys)
        assert found["folder" if command == "info" else "model"] == folder
    assert main([command, folder, "--model", folder]) == 1
    assert f"--model: wanted one, got {folder} and {folder}" in capsys.readouterr().err


def test_the_bundled_model_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for arguments in (["info"], ["info", "bundled"], ["info", "--model", "bundled"]):
        assert main([*arguments, "--json"]) == 0
        found += answers(capsys)
    assert found == found[:1] * 3
    assert main(["bench", "bundled", "--lengths", "8", "--rounds", "1", "--json"]) == 0
    assert answers(capsys)[0]["parameters"] == found[0]["parameters"]
    assert main(["fill-mask", "A <mask> barks", "--model", "bundled"]) == 0
    assert len(answers(capsys)[0]) == 5


@pytest.mark.parametrize("command", ["info", "bench", "embed"])
def test_an_empty_name_is_no_model(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = ["a"] if command == "embed" else []
    assert main([command, "--model", "", *text]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_calibrate_of_a_model_alone_wants_texts(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", models["fill-mask"]]) == 1
    assert "FILE: wanted a file of texts, got none" in capsys.readouterr().err


def test_a_context_that_is_a_file_is_said_so(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("notes.txt").write_text("in Sinai", encoding="utf-8")
    assert main(["qa", "--model", models["qa"], "--context", "notes.txt", "Where?"]) == 0
    assert "notes.txt is taken as a text; --context-file reads files" in capsys.readouterr().err
    options = ["--label", "LABEL_1", "--documents", "a dog", "notes.txt"]
    assert main(["rerank", "Where?", "--model", models["classify"], *options]) == 0
    note = "yosort: notes.txt is taken as a text; --documents-file reads files\n"
    assert capsys.readouterr().err == note


@pytest.mark.parametrize("count", [1, 2])
def test_a_list_in_json_lines_names_the_format_that_reads_it(
    count: int, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.dumps([{"text": "a"}, {"text": "b"}][:count])
    Path("a.jsonl").write_text(f"{listed}\n", encoding="utf-8")
    command = ["classify", "--model", models["classify"], "--input", "a.jsonl"]
    assert main(command) == 1
    assert "wanted one input, got a list of them; --format json reads it" in (
        capsys.readouterr().err
    )
    assert main([*command, "--format", "json"]) == 0
    assert len(answers(capsys)) == count


@pytest.mark.parametrize("line", ["[]", '["a", "b"]', '[3, {"text": "a"}]'])
def test_another_list_in_json_lines_is_no_list_of_inputs(
    line: str, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.jsonl").write_text(f"{line}\n", encoding="utf-8")
    assert main(["classify", "--model", models["classify"], "--input", "a.jsonl"]) == 1
    said = capsys.readouterr().err
    assert "a.jsonl, line 1: " in said
    assert "--format json" not in said


def test_the_keyboard_is_waited_for_with_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert main(["fill-mask", "--targets", "cat", "<mask>"]) == 1
    assert f"keyboard; Ctrl-D ends; {OWN.format('--targets')}\n" in capsys.readouterr().err


def test_what_is_a_folder_is_named_as_one(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = models["embed"]
    assert main(["embed", folder, "--output", "v.npy"]) == 0
    assert f"{folder} is taken as a text; --model names a model's folder" in (
        capsys.readouterr().err
    )
    assert main(["embed", "--input", folder]) == 1
    error = capsys.readouterr().err
    assert f"{folder}: wanted a file, got a folder; --model names a model's\n" in error


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["--attention", "expectation", "--num-hash", "8"], "--num-hash: without effect on --att"),
        (["--attention", "EXPECTATION", "--seed", "0"], "--seed: without effect on --attention e"),
        (["--num-hash", "8", "--seed", "3"], "--num-hash and --seed: without effect on this mod"),
        (["--revision", "v2"], "--revision: without effect on a folder; it chooses"),
        (["--attention", "sampled", "--num-hash", "8", "--seed", "3"], None),
        (["--attention", "auto:3", "--num-hash", "8", "--seed", "3"], None),
        (["--attention", "expectation"], None),
    ],
    ids=str,
)
def test_options_without_effect_are_said_so(
    models: dict[str, str],
    arguments: list[str],
    note: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = str(make(Path("exact"), "YosoModel", use_expectation=True))
    assert main(["embed", TEXT, "--model", folder, *arguments]) == 0
    error = capsys.readouterr().err
    assert error == "" if note is None else error.startswith(f"yosort: {note}")
    assert error.count("\n") == (note is not None)
    timed = ["bench", folder, "--lengths", "8", "--rounds", "1", "--json"]
    assert main([*timed, *arguments]) == 0
    both = "--attention" not in arguments and "--revision" not in arguments
    assert capsys.readouterr().err == ("" if both else error)


@pytest.mark.parametrize("arguments", [["info"], ["fill-mask", "A <mask> barks"]])
def test_the_bundled_model_has_no_revisions(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--revision", "v2"]) == 0
    note = "yosort: --revision: without effect on a folder; it chooses a version of a hub id\n"
    assert capsys.readouterr().err == note
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_a_seed_draws_a_random_head(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for seed in ("1", "2"):
        options = ["--allow-random-head", "--attention", "expectation", "--seed", seed]
        assert main(["classify", TEXT, "--model", models["embed"], *options]) == 0
        captured = capsys.readouterr()
        assert "without effect" not in captured.err
        found.append(captured.out)
    assert found[0] != found[1]


def test_a_format_is_of_what_is_read(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", models["embed"], "--format", "jsonl", '{"text": "a"}']
    assert main(["embed", *options]) == 1
    assert "--format: wanted --input or standard input to read, got texts" in (
        capsys.readouterr().err
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["fill-mask", "A <mask> barks"], "standard output"),
        (["info"], "standard output"),
        (["embed", "a"], "standard output"),
        (["bench", "--lengths", "8", "--rounds", "1"], "standard output"),
        (["embed", "a", "--output", "/dev/full"], "/dev/full"),
    ],
    ids=str,
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_names_what_could_not_be_written(
    arguments: list[str], target: str, unbuffered: str
) -> None:
    """Once: what Python still holds at its end has nowhere to go, either."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "yosort", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    wanted = f"yosort: error: {target}: cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr.decode()) == (1, wanted)


@pytest.mark.parametrize("option", ["--context", "--context-file"])
def test_a_context_beside_one_of_its_own_is_refused(
    models: dict[str, str], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, context = tmp_path / "q.jsonl", tmp_path / "c.txt"
    source.write_text('{"question": "Who?", "context": "A dog."}\n', encoding="utf-8")
    context.write_text("A cat.", encoding="utf-8")
    said = str(context) if option == "--context-file" else "A cat."
    arguments = ["qa", "--model", models["qa"], "--input", str(source), option, said]
    assert main(arguments) == 1
    assert "wanted context once, got its own and that of all" in capsys.readouterr().err
    assert main([*arguments, "--field", "question"]) == 0


@pytest.mark.parametrize(
    ("word", "hint"),
    [("text-classification", "classify"), ("Question-Answering", "qa"), ("clasify", "classify")],
)
def test_a_task_in_a_commands_place_names_the_command(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([word, "a text"])
    assert capsys.readouterr().err.endswith(f"; did you mean {hint}?\n")


@pytest.mark.parametrize(("positions", "lengths"), [(600, [128, 512]), (64, [64])])
def test_bench_takes_the_usual_lengths_that_a_model_has(
    positions: int, lengths: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoModel", max_position_embeddings=positions)
    arguments = ["bench", str(folder), "--rounds", "1", "--json", "--dtype", "float32"]
    assert main(arguments) == 0
    rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["tokens"] for row in rows] == lengths
