"""Every option of every task's command reaches the call that it is for."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from tasks.models import make

import yosort.adoption.adopting
import yosort.cli.running
import yosort.conversion
import yosort.model.base
import yosort.model.loading
import yosort.tuning.calibration
from yosort import YosortError
from yosort.cli import build_parser, main
from yosort.model.architectures import TASKS, Task
from yosort.tasks import bundled_model, pipeline_class

#: A line of JSON that has a text under two names.
ROW = '{"text": "the moon", "body": "a bird"}'
COMMANDS = tuple(task.command for task in TASKS.values() if task.command)
#: What the command line itself does something with; tested in test_cli_files.py,
#: test_cli_inspecting.py and beside them.
OWN = {
    "help", "debug", "text", "input", "format", "field", "output", "resume", "context",
    "context_file", "documents", "documents_file", "model", "delimiter", "keep", "spans",
}  # fmt: skip
#: Values that are nobody's default, where the kind of the option does not give one.
VALUES = {
    "device": "cuda:7", "dtype": "int8", "attention": "auto:9", "revision": "v2",
    "top_k": 3, "targets": ["one", "two"], "ignore_labels": ["X"], "label": "positive",
}  # fmt: skip


#: Where a command answers otherwise than a call that says nothing: one row or one vector a text.
#: None of embed's is a default: what the files beside a model say is, else one vector.
OTHERWISE = {
    ("classify", "top_k"): 1,
    ("ner", "aggregation_strategy"): "simple",
    ("embed", "pooling"): None,
    ("embed", "normalize"): None,
}


class Stop(Exception):
    """Raised when all is known."""


def options_of(command: str) -> list[argparse.Action]:
    return [a for a in build_parser().parse_args([command]).parser._actions if a.dest not in OWN]


def typed(action: argparse.Action) -> tuple[list[str], Any]:
    """Return an option as a user types it, and the value that must arrive."""
    flag = action.option_strings[0 if action.nargs == 0 else -1]
    if action.nargs == 0:
        return [flag], not action.default
    if action.choices:
        value: Any = [c for c in action.choices if c != action.default][-1]
    elif action.type is int:
        value = 41 + (action.default or 0)
    else:
        value = VALUES[action.dest]
    return [flag, *(map(str, value) if isinstance(value, list) else [str(value)])], value


@pytest.mark.parametrize(
    ("command", "name"), [(c, a.dest) for c in COMMANDS for a in options_of(c)]
)
def test_an_option_arrives(command: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Fake:
        class model:
            attention = "sampled"
            sentence = None

            class config:
                hidden_size = 4

        def numbered_from(self, first: int) -> Any:
            return self

        def __call__(self, inputs: Any, **options: Any) -> Any:
            seen.update(options)
            raise Stop

    def build(task: str, model: Any, **options: Any) -> Any:
        seen.update(options)
        return Fake()

    monkeypatch.setattr(yosort.cli.running, "pipeline", build)
    (action,) = (a for a in options_of(command) if a.dest == name)
    arguments, value = typed(action)
    context = ["--context", "c"] if command == "qa" else []
    with pytest.raises(Stop):
        main([command, "text", *context, *arguments])
    assert seen[name] == value != action.default


@pytest.mark.parametrize(
    ("command", "name"), [(c, a.dest) for c in COMMANDS for a in options_of(c) if a.choices]
)
def test_a_choice_is_one_of_the_pipelines(command: str, name: str, tmp_path: Path) -> None:
    """A command shows and takes what its pipeline does: the error of another value lists it."""
    task = next(task for task in TASKS.values() if task.command == command)
    folder = make(tmp_path, task.model, num_labels=1)
    call = yosort.pipeline(task.name, folder, device="cpu")
    value = dict.fromkeys(task.keys, "a") if command in ("qa", "rerank") else "a"
    with pytest.raises(YosortError, match=f"{name}: wanted one of ") as caught:
        call(value, **{name: "nope"})
    known = re.search("wanted one of (.*?), got", str(caught.value))
    (action,) = (a for a in options_of(command) if a.dest == name)
    assert known
    assert sorted(known[1].split(", ")) == sorted(action.choices or ())


@pytest.mark.parametrize("command", ["info", "convert", "adopt", "bench", "calibrate"])
def test_the_hub_options_arrive(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def resolve(source: Any, **options: Any) -> Any:
        seen.update(options)
        raise Stop

    adopting = yosort.adoption.adopting
    loading, base = yosort.model.loading, yosort.model.base
    for home in (
        yosort.checkpoint,
        yosort.checkpoint.hub,
        yosort.conversion,
        adopting,
        loading,
        base,
    ):
        monkeypatch.setattr(home, "resolve", resolve)
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    own = {
        "convert": ["some/model", str(tmp_path / "out")],
        "adopt": ["some/model", str(tmp_path / "out"), "--texts", str(tmp_path / "a.txt")],
        "calibrate": ["some/model", str(tmp_path / "a.txt")],
    }
    arguments = [command, *own.get(command, ["--model", "some/model"])]
    with pytest.raises(Stop):
        main([*arguments, "--revision", "v2", "--local-files-only"])
    assert (seen["revision"], seen["local_files_only"]) == ("v2", True)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], {}),
        (["--positions", "64"], {"positions": 64}),
        (["--hash-code-len", "7"], {"hash_code_len": 7}),
        (["--max-tokens", "500"], {"max_tokens": 500}),
        (["--encoder-only"], {"encoder_only": True}),
        (["--num-threads", "3"], {"num_threads": 3}),
        (["--revision", "v2"], {"revision": "v2"}),
        (["--local-files-only"], {"local_files_only": True}),
        (["--texts", "a.txt"], {"texts": ["a dog", '{"body": "a cat"}']}),
        (["--texts", "b.jsonl"], {"texts": ["the moon"]}),
        (["--texts", "b.jsonl", "--field", "body"], {"texts": ["a bird"]}),
        (["--texts", "b.jsonl", "--format", "lines"], {"texts": [ROW]}),
        (["--texts", "a.txt", "b.jsonl", "--format", "lines"],
         {"texts": ["a dog", '{"body": "a cat"}', ROW]}),
    ],
)  # fmt: skip
def test_an_option_of_adopt_arrives(
    arguments: list[str], wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def adopt(source: Any, folder: Any, texts: Any, **options: Any) -> Any:
        seen.update(source=source, folder=folder, texts=texts, **options)
        raise Stop

    monkeypatch.setattr(yosort.adoption.adopting, "adopt", adopt)
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text('a dog\n{"body": "a cat"}\n', encoding="utf-8")
    Path("b.jsonl").write_text(ROW + "\n", encoding="utf-8")
    with pytest.raises(Stop):
        main(["adopt", "some/model", "made", *arguments])
    usual = {
        "source": "some/model", "folder": "made", "texts": None, "max_tokens": 1 << 16,
        "progress": False, "positions": 4096, "hash_code_len": None, "encoder_only": False,
        "num_threads": None, "revision": None, "local_files_only": False,
    }  # fmt: skip
    assert seen == {**usual, **wanted}


#: What `yosort calibrate` hands on where nothing is said.
CALIBRATING: dict[str, Any] = {
    "num_hashes": (8, 16, 32, 64, 128, 256), "seeds": 5, "within": 0.01, "limit": 64,
    "overflow": "error", "device": "auto", "num_threads": None, "revision": None,
    "local_files_only": False, "source": bundled_model(), "texts": ["a dog"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["a.txt"], {}),
        (["--input", "a.txt"], {}),
        (["bundled", "a.txt"], {}),
        (["--model", "bundled", "a.txt"], {}),
        (["--model", "m", "a.txt"], {"source": "m"}),
        (["m", "a.txt"], {"source": "m"}),
        (["m", "--limit", "3", "a.txt"], {"source": "m", "limit": 3}),
        (["a.txt", "b.jsonl"], {"source": "a.txt", "texts": ["the moon"]}),
        (["m", "a.txt", "b.jsonl"], {"source": "m", "texts": ["a dog", "the moon"]}),
        (["--model", "m", "a.txt", "b.jsonl"], {"source": "m", "texts": ["a dog", "the moon"]}),
        (["a.txt", "--input", "b.jsonl"], {"texts": ["a dog", "the moon"]}),
        (["--input", "a.txt", "--input", "b.jsonl"], {"texts": ["a dog", "the moon"]}),
        (["--input", "b.jsonl", "--field", "body"], {"texts": ["a bird"]}),
        (["--input", "b.jsonl", "--format", "LINES"], {"texts": [ROW]}),
        (["a.txt", "--num-hashes", "2", "4", "--num-hashes", "3"], {"num_hashes": [2, 4, 3]}),
        (["a.txt", "--seeds", "2", "--within", "0.5", "--overflow", "TRUNCATE"],
         {"seeds": 2, "within": 0.5, "overflow": "truncate"}),
        (["a.txt", "--device", "cuda:7", "--num-threads", "3"],
         {"device": "cuda:7", "num_threads": 3}),
        (["a.txt", "--revision", "v2", "--local-files-only"],
         {"revision": "v2", "local_files_only": True}),
    ],
)  # fmt: skip
def test_an_option_of_calibrate_arrives(
    arguments: list[str], wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class YosoForMaskedLM:
        """One by name, which says what a text is."""

    def load(source: Any, **options: Any) -> Any:
        seen.update(source=source, **options)
        return YosoForMaskedLM()

    def calibrate(model: Any, texts: Any, **options: Any) -> Any:
        seen.update(texts=list(texts), **options)
        raise Stop

    monkeypatch.setattr(yosort.model.loading, "load", load)
    monkeypatch.setattr(yosort.tuning.calibration, "calibrate", calibrate)
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a dog\n", encoding="utf-8")
    Path("b.jsonl").write_text(ROW + "\n", encoding="utf-8")
    with pytest.raises(Stop):
        main(["calibrate", *arguments])
    assert seen == {**CALIBRATING, **wanted}


def test_calibrate_plots_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration = yosort.tuning.calibration
    plotted: list[Any] = []
    monkeypatch.setattr(calibration, "check_plot", lambda path: plotted.append(path))
    monkeypatch.setattr(calibration.Calibration, "plot", lambda _, path: plotted.append(path))
    (tmp_path / "a.txt").write_text("a dog\n", encoding="utf-8")
    given = [str(tmp_path / "a.txt"), "--num-hashes", "1", "--seeds", "1"]
    assert main(["calibrate", *given]) == 0
    assert plotted == []
    assert main(["calibrate", *given, "--plot", "dial.svg"]) == 0
    assert plotted == [Path("dial.svg")] * 2


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        (["convert", "a", "b"], "dtype", ["float32", "float16", "bfloat16", "int8"]),
        (["calibrate", "a"], "overflow", ["error", "truncate"]),
        (["serve"], "pooling", ["mean", "cls"]),
        (["serve"], "task", ["ner", "text-classification", "sentiment-analysis"]),
        *(([command, "a", "b"], "format", ["lines", "jsonl", "json", "csv", "tsv"])
          for command in ("adopt", "calibrate", "embed")),
    ],
)  # fmt: skip
def test_a_choice_is_taken(command: list[str], option: str, values: list[str]) -> None:
    """In capitals, too, where no list of names is meant."""
    for value in values:
        for typed in (value, value.upper()) if option != "task" else (value,):
            found = build_parser().parse_args([*command, f"--{option}", typed])
            assert getattr(found, option) == value
    with pytest.raises(SystemExit):
        build_parser().parse_args([*command, f"--{option}", "nope"])


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.command])
def test_defaults_are_those_of_the_call(task: Task) -> None:
    """The command line may not import what says them; its own say the same."""
    command = str(task.command)
    defaults = {f.name: f.default for f in dataclasses.fields(pipeline_class(task.name).options)}
    actions = [action for action in options_of(command) if action.dest in defaults]
    assert len(actions) > 3
    for action in actions:
        wanted = OTHERWISE.get((command, action.dest), defaults[action.dest])
        assert action.default == wanted, action.dest


@pytest.mark.parametrize("command", [*COMMANDS, "adopt", "bench", "calibrate", "serve"])
def test_the_default_is_the_one_that_help_tells(command: str) -> None:
    """Help ends with it, in brackets; it is decided later where none is given here."""
    (commands,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    told = 0
    for action in commands.choices[command]._actions:
        ending = re.search(r"\(([^()]*)\)$", action.help or "")
        if ending and action.option_strings and action.default is not None:
            assert str(action.default) == ending[1], action.option_strings
            told += 1
    assert told
