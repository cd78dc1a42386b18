"""Files in and out: formats, --resume after any interruption, failures collected."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import ENTITIES, TEXTS, make

import yosort
from yosort.cli import main


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each task."""
    made = {
        "embed": ("YosoModel", {}),
        "classify": ("YosoForSequenceClassification", {"num_labels": 3}),
        "ner": ("YosoForTokenClassification", {"id2label": ENTITIES}),
        "qa": ("YosoForQuestionAnswering", {}),
    }
    return {
        command: make(tmp_path_factory.mktemp(command), name, **fields)
        for command, (name, fields) in made.items()
    }


def run(models: dict[str, Path], command: str, *arguments: object) -> int:
    """Run a command on its model."""
    return main([command, *map(str, arguments), "--model", str(models[command])])


def lines(text: str) -> list[Any]:
    """Parse JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_every_input_format_gives_the_same(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plain, jsonl, table = (tmp_path / f"texts.{s}" for s in ("txt", "jsonl", "csv"))
    plain.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    jsonl.write_text(
        "".join(json.dumps({"id": 1, "text": t}) + "\n" for t in TEXTS), encoding="utf-8"
    )
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "body"], *([i, t] for i, t in enumerate(TEXTS))])
    assert run(models, "classify", *TEXTS) == 0
    wanted = capsys.readouterr().out
    assert len(lines(wanted)) == len(TEXTS)
    for arguments in (
        ["--input", plain],
        ["--input", jsonl],
        ["--input", table, "--field", "body"],
    ):
        assert run(models, "classify", *arguments) == 0
        assert capsys.readouterr().out == wanted
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(TEXTS)))
    assert run(models, "classify") == 0
    assert capsys.readouterr().out == wanted


def test_pairs_questions_and_entities(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"text": "a", "text_pair": "b"}) + "\n", encoding="utf-8")
    assert run(models, "classify", "--input", pairs, "--top-k", 2) == 0
    (result,) = lines(capsys.readouterr().out)
    assert isinstance(result, list)
    assert set(result[0]) == {"label", "score"}
    context = tmp_path / "context.txt"
    context.write_text(TEXTS[0], encoding="utf-8")
    assert run(models, "qa", "What?", "Who?", "--context-file", context) == 0
    by_file = lines(capsys.readouterr().out)
    assert len(by_file) == 2
    assert run(models, "qa", "What?", "Who?", "--context", TEXTS[0]) == 0
    assert lines(capsys.readouterr().out) == by_file
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"question": "Who?", "context": TEXTS[2]}) + "\n", encoding="utf-8")
    assert run(models, "qa", "--input", own) == 0
    (answer,) = lines(capsys.readouterr().out)
    assert isinstance(answer, dict)
    assert answer["answer"] in TEXTS[2]
    assert run(models, "ner", TEXTS[0], "--ignore-labels", "--aggregation-strategy", "first") == 0
    assert "entity_group" in lines(capsys.readouterr().out)[0][0]  # type: ignore[index]


def test_documents_of_all_queries_or_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"rerank": make(tmp_path / "m", "YosoForSequenceClassification", num_labels=1)}
    rank = yosort.pipeline("text-ranking", models["rerank"], device="cpu")
    documents, source, table = (tmp_path / name for name in ("d.txt", "in.jsonl", "out.csv"))
    documents.write_text("\r\n\n".join(TEXTS) + "\n", encoding="utf-8")
    queries = ["a dog", "a city"]
    wanted = [rank(query, TEXTS) for query in queries]
    rows = [{"query": query, "documents": TEXTS, "id": i} for i, query in enumerate(queries)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for arguments in (
        [*queries, "--documents-file", documents],
        [*queries, "--documents", *TEXTS],
        ["--input", source],
    ):
        assert run(models, "rerank", *arguments) == 0
        assert lines(capsys.readouterr().out) == wanted
    best = ["--input", source, "--top-k", 1, "--keep", "id", "--output", table]
    assert run(models, "rerank", *best) == 0
    with table.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [(row["id"], row["text"]) for row in found] == [
        (str(i), ranked[0]["text"]) for i, ranked in enumerate(wanted)
    ]
    for arguments, message in (
        ([*queries, "--documents", "a", "--documents-file", documents], "or --documents-file, got"),
        (queries, "wanted documents: --documents TEXT, --documents-file FILE, or an --input with"),
        (["--input", source, "--documents", "a"], "documents once, got its own and that of all"),
        (
            [*queries, "--documents-file", documents, "--output", documents],
            "--output: wanted another file",
        ),
        (["a", "--documents", "a", "--label", "x"], "--label: wanted one of this model's"),
    ):
        assert run(models, "rerank", *arguments) == 1
        assert message in capsys.readouterr().err


#: Texts with parts: none, one that is wrong, several.
PARTED: list[dict[str, Any]] = [
    {"text": TEXTS[0], "spans": [[0, 5], [3, 20]], "id": 3},
    {"text": TEXTS[1], "spans": [], "id": 4},
    {"text": TEXTS[1], "spans": [[0, 99]], "id": 5},
    {"text": TEXTS[1], "id": 6},
    {"text": TEXTS[2], "spans": [{"start": 3, "end": 9, "label": "x"}] * 3, "id": 7},
]


def test_a_part_is_a_line_and_every_torn_file_goes_on(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in PARTED), encoding="utf-8")
    spans = ["embed", "--input", source, "--spans", "--keep", "id", "--on-error", "collect"]
    assert run(models, *spans, "--output", output) == 1
    data = output.read_bytes()
    rows: list[Any] = lines(data.decode())
    assert [(row["index"], row["id"]) for row in rows] == [
        (0, 3), (0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (4, 7), (4, 7)
    ]  # fmt: skip
    embed = yosort.pipeline("feature-extraction", models["embed"], device="cpu")
    first, second = embed(TEXTS[0], spans=PARTED[0]["spans"])
    assert rows[:3] == [
        {"index": 0, "id": 3, **first}, {"index": 0, "id": 3, **second}, {"index": 1, "id": 4}
    ]  # fmt: skip
    assert rows[3]["error"].startswith("spans[0]: wanted 0 <= start < end <= 11")
    assert rows[4]["error"].startswith("wanted an object with text and spans")
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    for cut in (1, ends[0] - 7, *ends, ends[-1] - 1):
        output.write_bytes(data[:cut])
        run(models, *spans, "--output", output, "--resume")
        assert output.read_bytes() == data, cut
    output.write_bytes(data[: ends[-2]])
    other = [*spans[:-1], "collect", "--normalize", "--output", output, "--resume"]
    assert run(models, *other) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert output.read_bytes() == data[: ends[-2]]
    assert run(models, "embed", *TEXTS[:2], "--chunks", "4") == 0
    parts = [{"index": i, **p} for i in (0, 1) for p in embed(TEXTS[i], chunks=4)]
    assert lines(capsys.readouterr().out) == parts


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "npy"])
def test_resume_continues_a_cut_off_file(
    models: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    command, options = ("embed", ["--pooling", "mean"]) if suffix == "npy" else ("classify", [])
    source, whole, part = tmp_path / "in.txt", tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    source.write_text("\n".join(TEXTS * 5) + "\n", encoding="utf-8")
    assert run(models, command, "--input", source, "--output", whole, *options) == 0
    data = whole.read_bytes()
    for cut in (len(data) // 3, len(data) // 2, len(data) - 1):
        part.write_bytes(data[:cut])
        if suffix == "npy":  # its header counts the whole rows, whatever follows them
            rows = (cut - 128) // 128
            np.save(tmp_path / "h.npy", np.load(whole)[:rows])
            part.write_bytes((tmp_path / "h.npy").read_bytes() + b"half a row")
        assert run(models, command, "--input", source, "--output", part, "--resume", *options) == 0
        if suffix == "npy":
            got, wanted = np.load(part), np.load(whole)
            assert got.shape == wanted.shape == (20, 32)
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
        else:
            assert part.read_bytes().count(b"\n") == data.count(b"\n")
            assert part.read_text(encoding="utf-8").splitlines()[0] == data.decode().splitlines()[0]


def start_and_stop(command: list[str], output: Path, signal_number: int) -> tuple[int, str]:
    """Run a command over more lines than come, and signal it when it has written some results.

    Returns:
        Its exit status, and what it wrote to stderr.
    """
    process = subprocess.Popen(
        command,
        cwd=output.parent,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Under nohup a command lets a hang-up pass, as it should; this one is to hear it.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert process.stdin is not None
    process.stdin.write("\n".join(TEXTS * 600) + "\n")
    process.stdin.flush()  # and stays open: the command waits for more
    deadline = time.monotonic() + 120
    while not (output.exists() and output.stat().st_size > 10_000):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal_number)
    error = process.communicate(timeout=120)[1]
    return process.returncode, error


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_killed_run_leaves_whole_results(models: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "out.npy"
    command = [sys.executable, "-m", "yosort", "embed", "--model", str(models["embed"])]
    command += ["--output", str(output), "--batch-tokens", "200"]
    assert start_and_stop(command, output, signal.SIGKILL)[0] == -signal.SIGKILL
    found = np.load(output)
    assert 0 < len(found) < len(TEXTS) * 600
    assert np.isfinite(found).all()


def test_failures_are_collected_with_their_number(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(
        json.dumps("short") + "\n" + json.dumps("word " * 300) + "\n", encoding="utf-8"
    )
    assert run(models, "classify", "--input", source, "--on-error", "collect") == 1
    captured = capsys.readouterr()
    good, bad = lines(captured.out)
    assert isinstance(good, list)
    assert isinstance(bad, dict)
    assert bad["index"] == 1
    assert "at most 64 tokens" in bad["error"]
    assert "1 of 2 inputs failed" in captured.err
    assert run(models, "classify", "--input", source) == 1
    assert "line 2: text too long" in capsys.readouterr().err


def test_kept_values_are_json_in_a_table(models: dict[str, Path], tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    row = {"text": "a", "b": True, "l": ["x", "y"], "m": {"x": [1]}, "n": 1.5, "t": "z"}
    source.write_text(json.dumps(row), encoding="utf-8")
    arguments = ["--input", source, "--output", output, "--keep", "b", "l", "m", "n", "t"]
    assert run(models, "classify", *arguments) == 0
    (found,) = csv.DictReader(io.StringIO(output.read_text(encoding="utf-8")))
    assert [found[name] for name in "blmnt"] == ["true", '["x", "y"]', '{"x": [1]}', "1.5", "z"]


@pytest.mark.parametrize(
    ("command", "options", "keys"),
    [
        ("classify", [], ["label", "score"]),
        ("classify", ["--top-k", "2"], ["result"]),
        ("qa", ["--context", "A dog"], ["score", "start", "end", "answer"]),
        ("ner", [], ["result"]),
        ("embed", [], ["result"]),
    ],
)
def test_what_is_kept_stands_before_one_answers_keys_or_the_result(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    command: str, options: list[str], keys: list[str],
) -> None:  # fmt: skip
    source = tmp_path / "in.jsonl"
    text = "question" if command == "qa" else "text"
    source.write_text(json.dumps({"id": "x", text: "A dog"}), encoding="utf-8")
    assert run(models, command, "--input", source, *options, "--keep", "id") == 0
    (kept,) = lines(capsys.readouterr().out)
    assert isinstance(kept, dict)
    assert list(kept) == ["id", *keys]
    assert kept.pop("id") == "x"
    assert run(models, command, "--input", source, *options) == 0
    (alone,) = lines(capsys.readouterr().out)
    one = alone[0] if isinstance(alone, list) and keys != ["result"] else alone
    assert (kept["result"] if keys == ["result"] else kept) == one


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "npy"])
def test_a_failure_keeps_its_row(
    models: dict[str, Path], tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "embed" if suffix == "npy" else "classify"
    source, output = tmp_path / "in.txt", tmp_path / f"out.{suffix}"
    source.write_text("word " * 300 + "\nshort\n\nlast\n", encoding="utf-8")
    arguments = ["--input", source, "--output", output, "--on-error", "collect"]
    assert run(models, command, *arguments) == 1
    error = capsys.readouterr().err
    assert "1 of 3 inputs failed" in error
    assert "skipped 1 empty lines; the first is" in error
    if suffix == "npy":
        assert np.isnan(np.load(output)).all(axis=1).tolist() == [True, False, False]
    elif suffix == "csv":
        rows = list(csv.DictReader(io.StringIO(output.read_text(encoding="utf-8"))))
        assert ["at most 64 tokens" in row["error"] for row in rows] == [True, False, False]
        assert [bool(row["label"]) for row in rows] == [False, True, True]
    else:
        results = lines(output.read_text(encoding="utf-8"))
        assert [isinstance(result, dict) and "error" in result for result in results] == [
            True, False, False
        ]  # fmt: skip
    # A resumed run numbers failures on from where the file ends.
    source.write_text(source.read_text(encoding="utf-8") + "word " * 300, encoding="utf-8")
    assert run(models, command, *arguments, "--resume") == 1
    if suffix == "jsonl":
        assert lines(output.read_text(encoding="utf-8"))[-1]["index"] == 3  # type: ignore[index]
    source.write_text(source.read_text(encoding="utf-8") + "\n" + "word " * 300, encoding="utf-8")
    assert run(models, command, *arguments[:4], "--resume") == 1
    assert "in.txt, line 6: text too long" in capsys.readouterr().err


def test_several_files_and_standard_input_are_read_in_order(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first, last = tmp_path / "a.txt", tmp_path / "b.jsonl"
    first.write_text(TEXTS[0], encoding="utf-8")
    last.write_text(json.dumps({"text": TEXTS[2]}), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(TEXTS[1]))
    assert run(models, "classify", "--input", first, "-", last) == 0
    got = capsys.readouterr().out
    assert run(models, "classify", *TEXTS[:3]) == 0
    assert capsys.readouterr().out == got


def test_words_are_read_from_lists_or_lines(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "w.jsonl"
    source.write_text(
        '["A", "dog"]\n{"words": ["A", "dog"]}\n{"text": "A dog"}\n', encoding="utf-8"
    )
    arguments = ["--is-split-into-words", "--ignore-labels"]
    assert run(models, "ner", "--input", source, *arguments) == 0
    one, two, three = lines(capsys.readouterr().out)
    assert one == two == three != []


def test_a_cut_text_is_said_so(
    models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.npy"
    source.write_text("short\n" + ("word " * 300 + "\n") * 2, encoding="utf-8")
    arguments = ["--input", source, "--output", output, "--overflow", "truncate"]
    assert run(models, "embed", *arguments) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "inputs[1]: cut to 64 tokens", "2 inputs were cut"
    ]  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="interrupts by signal")
@pytest.mark.parametrize(
    ("number", "word"), [(2, "interrupted"), (15, "terminated"), (1, "terminated")]
)
def test_a_signal_is_told_how_far_it_got_and_resume_goes_on(
    models: dict[str, Path], tmp_path: Path, number: int, word: str
) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "yosort", "classify", "--model", str(models["classify"])]
    command += ["--output", str(output), "--batch-tokens", "200"]
    status, error = start_and_stop(command, output, number)
    assert status == 128 + number
    written = lines(output.read_text(encoding="utf-8"))
    assert 0 < len(written) < len(TEXTS) * 600
    assert error.strip() == (
        f"yosort: {word} after {len(written)} results in {output}; --resume goes on"
    )
    source.write_text("\n".join(TEXTS * 600) + "\n", encoding="utf-8")
    resumed = [*command, "--input", str(source), "--resume"]
    assert subprocess.run(resumed, cwd=tmp_path, check=False).returncode == 0
    whole = lines(output.read_text(encoding="utf-8"))
    assert len(whole) == len(TEXTS) * 600
    assert whole[: len(written)] == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "--input", "nowhere.txt"], "nowhere.txt: cannot be read"),
        (["classify", "text", "--input", "x"], "got both, 'text' as a text\n"),
        (["classify", "--input", "bytes.txt", "text"], "text: cannot be read: no such file (what"),
        (["classify", "--input", "bytes.txt", "--input", "b"], "b: cannot be read: no such file"),
        (["classify", "text", "--resume"], "--resume: wanted --output"),
        (["classify", "text", "--output", "exists.jsonl"], "--resume continues it"),
        (["embed", "text", "--output", "new.npy", "--pooling", "none"], "--pooling cls or mean"),
        (["embed", "text", "--output", "new.csv"], "--output of .csv: results are vectors; .jsonl"),
        (["embed", "text", "--output", "new.npz"], "in .jsonl, .csv or .npy"),
        (["embed", "text", "--output", "new.npy", "--chunks", "3"], "its place beside its vector"),
        (["embed", "text", "--output", "new.npy", "--spans"], "its place beside its vector"),
        (["embed", "text", "--spans"], "wanted an object with text and spans, got a text alone"),
        (["embed", "--input", "none.jsonl", "--spans"], "wanted text and spans, got the keys 'a'"),
        (["embed", "--chunks", "2", "--keep", "a=end", "--input", "none.jsonl"], "got 'end'; NAME"),
        (["embed", "text", "--chunks", "0"], "--chunks: wanted an integer of at least 1, got 0"),
        (["ner", "text", "--output", "new.csv"], "any number of entities"),
        (["classify", "text", "--output", "new.csv", "--top-k", "2"], ".csv: wanted --top-k 1"),
        (["classify", "text", "--output", "new.npy"], "results are no vectors"),
        (
            ["classify", "text", "--output", "exists.csv", "--resume"],
            "cannot be continued: it begins",
        ),
        (["classify", "text", "--output", "none/x.jsonl"], "cannot be written: there is no folder"),
        (["classify", "--input", "bytes.txt"], "bytes.txt, line 1: wanted text in UTF-8"),
        (["classify", "--input", "."], ".: wanted a file, got a folder"),
        (["embed", "text", "--output", "exists.npy", "--resume"], "cannot be continued"),
        (["qa", "Who?"], "wanted a context"),
        (["classify", "--input", "bad.jsonl"], "bad.jsonl, line 2: not JSON"),
        (["classify", "--input", "exists.jsonl"], "got the keys 'other'; --field names another"),
        (["classify", "--input", "exists.jsonl", "--field", "body"], "wanted a field 'body'"),
    ],
    ids=str,
)
def test_errors_say_what_to_do(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("exists.jsonl").write_text('{"other": 1}\n', encoding="utf-8")
    Path("bad.jsonl").write_text('"fine"\n{"text"\n', encoding="utf-8")
    Path("exists.npy").write_bytes(b"not numpy")
    Path("none.jsonl").write_text('{"a": 1}\n', encoding="utf-8")
    Path("exists.csv").write_text("other\n1\n", encoding="utf-8")
    Path("bytes.txt").write_bytes(b"caf\xe9\n")
    assert run(models, *arguments) == 1  # type: ignore[arg-type]
    error = capsys.readouterr().err
    assert error.startswith("yosort: error: ")
    assert message in error


def test_standard_errors_have_a_column(models: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "labels.csv"
    draws = ("--attention", "sampled", "--num-hash", 4, "--samples", 3)
    assert run(models, "classify", *TEXTS, *draws, "--output", target) == 0
    with target.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(TEXTS)
    assert all(float(row["standard_error"]) > 0 for row in rows)


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson"])
def test_json_lines_by_either_name(
    models: dict[str, Path], suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"out{suffix}"
    assert run(models, "classify", *TEXTS, "--output", target) == 0
    assert run(models, "classify", *TEXTS) == 0
    assert lines(target.read_text(encoding="utf-8")) == lines(capsys.readouterr().out)


def test_no_bar_where_nobody_looks(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models, "classify", *TEXTS, "--output", tmp_path / "out.jsonl") == 0
    assert capsys.readouterr().err == ""


def test_answers_to_several_masks_stand_under_a_name_beside_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "x", "text": "A <mask> and a <mask>."}\n', encoding="utf-8")
    assert main(["fill-mask", "--input", str(source), "--keep", "id", "--top-k", "1"]) == 0
    (kept,) = lines(capsys.readouterr().out)
    assert list(kept) == ["id", "result"]
    assert [len(answers) for answers in kept["result"]] == [1, 1]
