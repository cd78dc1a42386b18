"""Messages in the words of the command line, whatever the library calls things."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tasks.models import make

import yosort
from yosort.cli import build_parser, main
from yosort.cli.converting import convert_main
from yosort.cli.messages import Places, Words

LONG = "word " * 200


def words(command: str, *places: str) -> Words:
    known = Places()
    for place in places:
        known.note(place)
    return Words(build_parser().parse_args([command]).parser, known)


@pytest.mark.parametrize(
    ("command", "message", "wanted"),
    [
        ("classify", "overflow='truncate' cuts it", "--overflow truncate cuts it"),
        ("fill-mask", 'load with attention="sampled"', "load with --attention sampled"),
        ("qa", "allow_random_head=True draws it", "--allow-random-head draws it"),
        ("qa", "allow_random_head=False leaves it", "no --allow-random-head leaves it"),
        ("qa", "align_to_words=False", "--no-align-to-words"),
        ("qa", "align_to_words=True", "no --no-align-to-words"),
        ("doctor", "top_k: wanted 1, with batch_tokens of 3", None),
        ("qa", "max_seq_len: wanted 64, got 99", "--max-seq-len: wanted 64, got 99"),
        ("qa", "inputs[1]: top_k: wanted 1", "b: --top-k: wanted 1"),
        ("embed", "with batch_tokens of 3", "with --batch-tokens of 3"),
        ("embed", "my_batch_tokens, 'batch_tokens', x/batch_tokens", None),
        ("embed", "a text: wanted one, model's dtype", None),
        ("embed", "inputs[0]: cut to 64 tokens", "a: cut to 64 tokens"),
        ("embed", "this is it: pipeline('text-classification')", "this is it: yosort classify"),
        (
            "embed",
            'pipeline("multiple-choice")',
            'pipeline("multiple-choice") in Python',
        ),
    ],
)  # fmt: skip
def test_options_and_inputs_are_named_as_typed(
    command: str, message: str, wanted: str | None
) -> None:
    assert words(command, "a", "b")(message) == (message if wanted is None else wanted)


def test_one_text_needs_no_name() -> None:
    assert words("embed", "")("inputs[0]: cut to 3 tokens") == "cut to 3 tokens"
    assert words("embed", "")("of inputs[0], cut") == "of the text, cut"


def test_places_keep_the_last() -> None:
    places = Places(keep=2)
    for place in "abc":
        places.note(place)
    assert [places.of(i) for i in range(4)] == ["text 1", "b", "c", "text 4"]
    places, every = Places(), Places(keep=None)
    for number in range(4097):
        places.note(f"line {number}")
        every.note(f"line {number}")
    assert [places.of(i) for i in (0, 1, 4096)] == ["text 1", "line 1", "line 4096"]
    assert every.of(0) == "line 0"


def test_texts_are_named_by_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(make(tmp_path / "m", "YosoForSequenceClassification"))
    count = len(yosort.load(folder).tokenizer.encode(LONG))
    hint = f"text too long: wanted at most 64 tokens, got {count}; --overflow truncate cuts it"

    def error(*arguments: str) -> str:
        assert main(["classify", "--model", folder, *arguments]) == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert error(LONG) == f"yosort: error: {hint}"
    assert error("a", LONG) == f"yosort: error: text 2: {hint}"
    source = tmp_path / "a.txt"
    source.write_text(f"a\n\n{LONG}\n", encoding="utf-8")
    assert error("--input", str(source)) == f"yosort: error: {source}, line 3: {hint}"
    source = tmp_path / "a.csv"
    source.write_text(f'text\n"a\nb"\n{LONG}\n', encoding="utf-8")
    assert error("--input", str(source)) == f"yosort: error: {source}, line 4: {hint}"
    assert main(["classify", "--model", folder, "--overflow", "truncate", "a", LONG]) == 0
    assert capsys.readouterr().err == "yosort: text 2: cut to 64 tokens\n"


@pytest.mark.parametrize(
    ("name", "command", "options", "answer"),
    [
        ("YosoForSequenceClassification", "qa", ["--context", "a"], "yosort classify"),
        ("YosoForTokenClassification", "classify", ["--allow-random-head"], "yosort ner"),
        ("YosoForMultipleChoice", "ner", [], 'pipeline("multiple-choice") in Python'),
        ("YosoForQuestionAnswering", "fill-mask", [], "yosort qa"),
    ],
)
def test_a_model_of_another_task_says_what_it_is_for(
    name: str,
    command: str,
    options: list[str],
    answer: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make(tmp_path / "m", name, num_labels=3)
    assert main([command, "--model", str(folder), *options, "a"]) == 1
    shown = capsys.readouterr().err
    assert f"this is a {name}: {answer}" in shown
    assert "random" not in shown


def test_in_python_it_names_the_pipeline(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForTokenClassification")
    with pytest.raises(yosort.CheckpointError, match=r'pipeline\("token-classification"\)'):
        yosort.pipeline("text-classification", folder)


@pytest.mark.parametrize(
    ("command", "shape"),
    [
        *((name, " [text ...]") for name in ("fill-mask", "classify", "rerank", "ner", "qa")),
        ("embed", " [text ...]"), ("calibrate", " [FILE ...]"), ("doctor", ""),
        *((name, " [MODEL]") for name in ("info", "bench", "serve")),
        *((name, " source out") for name in ("convert", "adopt")),
    ],
)  # fmt: skip
def test_usage_says_what_stands_without_an_option(command: str, shape: str) -> None:
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    usage = commands.choices[command].format_usage()
    assert usage == f"usage: yosort {command} [OPTION ...]{shape}\n"


def test_help_and_version_load_no_numpy() -> None:
    for arguments in (["--version"], ["--help"], ["calibrate", "--help"], ["convert", "--help"]):
        code = f"""
import sys
from yosort.cli import main
try:
    main({arguments!r})
except SystemExit:
    pass
assert not {{"numpy", "tokenizers", "safetensors"}} & set(sys.modules)
"""
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_enumerations_in_capitals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(make(tmp_path / "m", "YosoForSequenceClassification"))
    options = ["--function-to-apply", "SIGMOID", "--dtype", "FLOAT32", "--device", "CPU"]
    assert main(["classify", "--model", folder, *options, "a"]) == 0
    capitals = capsys.readouterr().out
    assert main(["classify", "--model", folder, "--function-to-apply", "sigmoid", "a"]) == 0
    assert capsys.readouterr().out == capitals


def test_one_way_to_name_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(make(tmp_path / "m", "YosoForSequenceClassification"))
    texts = tmp_path / "a.txt"
    texts.write_text("a\nb\n", encoding="utf-8")
    settings = ("--num-hashes", "2", "--seeds", "1", "--json")
    for one, other in [
        (["info", folder, "--json"], ["info", "--model", folder, "--json"]),
        (
            ["calibrate", folder, str(texts), *settings],
            ["calibrate", "--model", folder, "--input", str(texts), *settings],
        ),
    ]:
        found = []
        for arguments in (one, other):
            assert main(arguments) == 0
            found.append(json.loads(capsys.readouterr().out))
        assert found[0].keys() == found[1].keys()
        assert found[0].get("folder") == found[1].get("folder")
        assert found[0].get("texts") == found[1].get("texts")
    assert main(["info", folder, "--model", folder]) == 1
    assert "--model: wanted one" in capsys.readouterr().err


def test_bench_and_info_count_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "m", "YosoForMaskedLM")
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == yosort.load(folder).num_parameters()
    assert facts["stored_as"] == {"float32": facts["parameters"]}
    assert facts["bytes"]["float32"] == 4 * facts["parameters"]
    maps = 2 * 32 * (4 * 32 + 2 * 48)  # two layers, 32 and 48 wide
    assert facts["bytes"]["bfloat16"] == facts["bytes"]["float32"] - 2 * maps
    table = 66 + yosort.load(folder).config.vocab_size  # positions and words
    rows, small = 2 * (4 * 32 + 48 + 32) + table, maps + 32 * table
    assert facts["bytes"]["int8"] == facts["bytes"]["float32"] - 3 * small + 4 * rows
    assert (facts["layers"], facts["heads"], facts["head_dim"]) == (2, 2, 16)
    assert main(["bench", "--model", str(folder), "--lengths", "8", "--rounds", "1", "--json"]) == 0
    row, *others = map(json.loads, capsys.readouterr().out.splitlines())
    assert [other["dtype"] for other in others] == ["bfloat16", "int8"]
    assert row["parameters"] == facts["parameters"]
    assert row["tokens"] == 8
    assert set(row["seconds"]) == {"expectation", "sampled"}


def test_every_command_has_an_example_that_parses() -> None:
    import shlex

    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        example = shlex.split((command.epilog or "").partition(": ")[2])
        assert example[:2] == ["yosort", name]
        parser.parse_args(example[1:])


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["classify", "x", "--topk", "3"], "--top-k"),
        (["classify", "x", "--top_k", "3"], "--top-k"),
        (["clasify", "x"], "classify"),
        (["ner", "x", "--aggregation-strategy", "simpel"], "simple"),
    ],
)
def test_a_word_that_is_none_is_named_with_the_nearest(
    arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(f"did you mean {nearest}?")


def test_a_task_without_a_command_is_one_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["multiple-choice", "x"])
    expected = '; in Python it is yosort.pipeline("multiple-choice")'
    assert capsys.readouterr().err.rstrip().endswith(expected)


@pytest.mark.parametrize(
    ("command", "noun"),
    [(name, "texts") for name in ("fill-mask", "classify", "ner", "embed")]
    + [("qa", "questions"), ("rerank", "queries")],
)
def test_help_says_what_is_asked(
    command: str, noun: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert f"{noun}; without any, --input or lines" in " ".join(shown.split())
    headings = re.findall(r"^(\S.*):$", shown, re.M)
    assert headings == ["positional arguments", "options", "input", "output", "model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "a", "--attention", "exact"], '--attention: wanted "expectation", "sampled", '),
        (["embed", "a", "--num-hash", "0"], "--num-hash: wanted an integer of at least 1, got 0"),
        (["embed", "a", "--num-threads", "0"], "--num-threads: wanted an integer from 1 to 4096"),
        (["embed", "a", "--seed", "-3"], "--seed: wanted a non-negative integer, got -3"),
        (["embed", "a", "--device", "gpu"], '--device: wanted "auto", "cpu", '),
        (["embed", "a", "--output", "a.jsonl/b.jsonl"], "b.jsonl: cannot be written: a.jsonl is a"),
        (["embed", "a", "--output", "no/b.jsonl"], "cannot be written: there is no folder no"),
        (["embed", "a", "--output", "."], "--output: wanted a file, got the folder ."),
        (["embed", "a", "--output", "a.jsonl"], "a.jsonl: exists already; --resume continues it"),
        (["convert", "m", "a.jsonl"], "a.jsonl: wanted a folder to write, got a file"),
        (["convert", "m", "a.jsonl/b/c"], "a.jsonl is a file\n"),
        (["convert", "m", "m"], "got one with 5 files; --overwrite replaces it"),
        (["convert", "m", "o", "--config", "no.json"], "cannot be opened: No such file or dir"),
        (["convert", "m", "/proc/o"], "/proc/o: cannot be written: No such file or directory"),
    ],
    ids=str,
)  # fmt: skip
def test_no_message_speaks_python(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "m", "YosoModel")
    (tmp_path / "a.jsonl").write_text('"a"\n', encoding="utf-8")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    error = error.replace(str(tmp_path), "")
    assert not any(word in error for word in ("None", "Errno", "=", "_"))
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == '"a"\n'


def test_the_script_speaks_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(make(tmp_path / "m", "YosoModel"))
    assert convert_main([folder, folder]) == 1
    assert capsys.readouterr().err.endswith("; --overwrite replaces it\n")
    with pytest.raises(SystemExit):
        convert_main([folder])
    usage, said = capsys.readouterr().err.split("\n", 1)
    assert usage.startswith("usage: convert_weights [")
    assert said.splitlines()[-1].startswith("convert_weights: error: ")


def test_a_folder_without_permission_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def access(path: Path, mode: int) -> bool:
        asked.append(path)
        return mode != os.W_OK

    monkeypatch.setattr(os, "access", access)
    target = tmp_path / "x.jsonl"
    for place in (tmp_path, target):  # of a file that is there, itself
        assert main(["embed", "a", "--model", "no/such/model", "--output", str(target)]) == 1
        assert f"error: {target}: cannot be written: no permission\n" in capsys.readouterr().err
        assert asked == [place]
        asked.clear()
        target.touch()
