"""The command line as a user types it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import yosort
from yosort.cli import main

CONFIG = yosort.YosoConfig(
    vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=16, max_position_embeddings=8,
)  # fmt: skip


def test_fill_mask_answers_sensibly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill-mask", "Paris is the <mask> of France."]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == 5
    assert set(answers[0]) == {"score", "token", "token_str", "sequence"}
    assert any(
        word in answer["token_str"] for answer in answers for word in ("capital", "city", "center")
    )


def test_fill_mask_reads_lines_and_takes_targets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("A <mask> barks.\n\nGo <mask> <mask>.\n"))
    assert main(["fill-mask", "--top-k", "2", "--targets", "dog", "cat"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {answer["token_str"] for answer in first} == {" dog", " cat"}
    assert len(second) == 2
    assert len(second[0]) == 2


def test_sampled_attention_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fill-mask", "Paris is the <mask> of France.", "--attention", "sampled"]
    printed = []
    for options in (["--num-hash", "8"], ["--num-hash", "8"], ["--num-hash", "8", "--seed", "1"]):
        assert main([*arguments, *options]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fill-mask", "no mask here"], "this model's mask token is <mask>"),
        (["fill-mask", "A [MASK] barks."], "this model's mask token is <mask>, not [MASK]"),
        (["fill-mask", "<mask>", "--targets", "xyzzyplugh"], "wanted words of one token"),
        (["fill-mask", "<mask>", "--top-k", "0"], "--top-k: wanted an integer of at least 1"),
        (["fill-mask", "<mask>", "--model", "no/such/folder"], "no/such/folder"),
        (["fill-mask", "<mask>", "--device", "cuda"], "--device cuda: "),
        (["fill-mask", "<mask> a" * 5000], "at most 4096 tokens"),
        (["convert", "nowhere", "out"], "nowhere"),
    ],
)
def test_errors_are_one_line_and_status_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("yosort: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(yosort.InputError):
        main(["fill-mask", "no mask here", "--debug"])


def test_completion_by_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed")
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", "bash"])
    assert stop.value.code == 0
    script = tmp_path / "yosort.bash"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", "dosh"])
    assert stop.value.code == 2
    assert "wanted one of bash" in capsys.readouterr().err
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash to complete in")
    for words, wanted in [
        (["yosort", "fi"], "fill-mask"),
        (["yosort", "qa", "--max-an"], "--max-answer-len"),
        (["yosort", "ner", "--aggregation-strategy", "av"], "average"),
    ]:
        asked = (
            f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
            f"_shtab_yosort yosort {words[-1]} {words[-2]}; echo ${{COMPREPLY[@]}}"
        )
        found = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=True)
        assert wanted in found.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to complete in")
def test_names_of_files_are_completed_where_files_are_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed")
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    (tmp_path / "yosort.bash").write_text(capsys.readouterr().out, encoding="utf-8")
    (tmp_path / "vectors").touch()
    lines = [
        "embed --input", "embed --output", "embed --model", "qa --context-file",
        "rerank --documents-file", "calibrate", "calibrate --plot", "info", "bench --model",
        "serve", "convert", "convert a", "convert --config", "adopt", "adopt a", "adopt --texts",
    ]  # fmt: skip
    script = ["source yosort.bash"]
    for line in [*lines, "embed --dtype"]:
        words = ["yosort", *line.split(), "vec"]
        script += [
            f"COMPREPLY=(); COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}",
            f"_shtab_yosort yosort vec {words[-2]}; echo ${{COMPREPLY[@]}}",
        ]
    bash = [str(shutil.which("bash")), "-c", "\n".join(script)]
    done = subprocess.run(bash, capture_output=True, text=True, check=True, cwd=tmp_path)
    *found, none = done.stdout.split("\n")[: len(lines) + 1]
    assert dict(zip(lines, found, strict=True)) == dict.fromkeys(lines, "vectors")
    assert none == ""


def test_completion_without_its_library_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", "bash"])
    assert stop.value.code == 1
    assert "pip install '.[completion]'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["fill-mask", "--no-such-option"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: yosort" in capsys.readouterr().err


def test_convert_makes_a_folder_that_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yosort.YosoForMaskedLM(CONFIG).save_pretrained(tmp_path / "a")
    out = tmp_path / "b"
    assert main(["convert", str(tmp_path / "a"), str(out), "--dtype", "float16"]) == 0
    assert str(out) in capsys.readouterr().out
    converted, source = yosort.load(out), yosort.load(tmp_path / "a")
    assert isinstance(converted, yosort.YosoForMaskedLM)
    assert converted.config.extra["torch_dtype"] == "float16"
    wanted = source([[1, 2, 3]]).logits
    assert abs(converted([[1, 2, 3]]).logits - wanted).max() < 1e-3


def test_the_folder_made_is_printed_where_output_has_no_encoding(tmp_path: Path) -> None:
    """As in a notebook, or in a test."""
    yosort.YosoModel(CONFIG).save_pretrained(tmp_path / "a")
    out = tmp_path / "\u65e5"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["convert", str(tmp_path / "a"), str(out)]) == 0
    assert printed.getvalue() == f"{out}\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["info"], 0), (["info", "--model", ""], 1), (["fill-mask", "no mask"], 1)],
)
def test_a_command_leaves_the_log_as_it_found_it(arguments: list[str], status: int) -> None:
    """One that is called from a program, and calls again."""
    before = list(logging.getLogger().handlers)
    assert main(arguments) == status
    assert logging.getLogger().handlers == before


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m yosort fill-mask '<mask> a' '<mask> b' '<mask> c' | head -c 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == "["
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["bench", "--rounds", "1"]])
def test_no_command_minds_a_reader_that_never_was(command: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [*command, "--lengths", "8"] if command[0] == "bench" else command
    done = subprocess.run(
        [sys.executable, "-m", "yosort", *arguments],
        stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
