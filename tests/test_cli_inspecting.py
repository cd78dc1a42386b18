"""What a model, a machine and a command are: info, bench, doctor, --help."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tasks.models import ENTITIES, make
from tasks.test_sentence import write

import yosort
from yosort._dense import Kernels
from yosort.cli import main, timing
from yosort.conversion import convert
from yosort.tasks import bundled_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model without a head, and one of entities."""
    return {
        "embed": make(tmp_path_factory.mktemp("m"), "YosoModel"),
        "ner": make(tmp_path_factory.mktemp("t"), "YosoForTokenClassification", id2label=ENTITIES),
    }


def test_info_bench_and_doctor(models: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(models["ner"]), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["class"] == "YosoForTokenClassification"
    assert facts["labels"] == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    assert facts["answers"] == ["yosort ner", "yosort embed"]
    assert facts["parameters"] == yosort.load(models["ner"]).num_parameters()
    assert facts["bytes"]["float32"] == 4 * facts["stored_as"]["float32"]
    assert facts["bytes_of_tokens"] == {"64": 64 * 8 * 32 * 4}
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "float16" in shown
    assert "yosort fill-mask" in shown
    assert "LABEL_0" not in shown
    arguments = ["bench", "--lengths", "8", "16", "--rounds", "1", "--model"]
    assert main([*arguments, str(models["embed"])]) == 0
    table = capsys.readouterr().out.splitlines()
    header, *rows = table[-7:]
    assert "threads; medians of 1" in " ".join(table[:-7])
    assert header.split() == ["tokens", "dtype", "expectation", "tokens/s", "sampled", "tokens/s"]
    assert all(re.fullmatch(r"( *[\d,.]+ ms +[\d,]+){2}", row[16:]) for row in rows), rows
    assert [row.split()[:2] for row in rows] == [
        [n, dtype] for n in ("8", "16") for dtype in ("float32", "bfloat16", "int8")
    ]
    assert max(map(len, table)) <= 80
    assert main([*arguments[:2], "9999", *arguments[3:], str(models["embed"])]) == 1
    assert "--lengths: wanted 1 to 64" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert "instruction sets" in report
    found = re.search(r"number types +float32, bfloat16([^,]*), int8", report)
    assert found is not None
    assert (found[1] == "") == Kernels().multiplies("bfloat16")
    assert "GPU" in report
    assert "the bundled model loads and answers" in report


@pytest.mark.parametrize(
    "command",
    [
        "",
        "fill-mask",
        "classify",
        "rerank",
        "ner",
        "qa",
        "embed",
        "convert",
        "info",
        "bench",
        "doctor",
    ],
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert "usage: yosort" in capsys.readouterr().out


def test_info_shows_every_fact_of_the_bundled_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["info"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=1) == ["folder", str(bundled_model())]
    assert [re.split(r"  +", line) for line in lines] == [
        ["class", "YosoForMaskedLM"],
        ["answers", "yosort fill-mask, yosort embed"],
        ["layers", "3, 256 wide, 4 heads of 64"],
        ["positions", "4,096"],
        ["vocabulary", "8,192"],
        ["parameters", "5,590,892"],
        ["stored as", "float16 (100%)"],
        ["attention", "expectation; 8-bit codes, fast (Hadamard) hash; convolution of 9"],
        ["memory, weights", "about 21 MB as float32, 17 MB as bfloat16, 6 MB as int8"],
        ["memory, 512 tokens", "about 4 MB more"],
        ["memory, 4,096 tokens", "about 32 MB more"],
        ["tokenizer", "8,192 tokens; special: <s>, </s>, <unk>, <pad>, <mask>"],
    ]


def test_info_names_no_convolution_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoModel", conv_window=None, hash_code_len=5)
    assert main(["info", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(r"  +", line)[1] for line in lines if line.startswith("attention")] == [
        "expectation; 5-bit codes, fast (Hadamard) hash"
    ]


def test_info_of_a_sampled_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the rows come codes, 4 bytes for each hash and head: a group of at most 16 MB."""
    fields = {"use_expectation": False, "num_hash": 512, "max_position_embeddings": 8192}
    folder = make(tmp_path / "m", "YosoModel", **fields)
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["attention"]["form"], facts["attention"]["num_hash"]) == ("sampled", 512)
    rows, codes = 8 * 32 * 4, 4 * 512 * 2
    assert facts["bytes_of_tokens"] == {
        "512": 512 * (rows + codes),
        "4096": 4096 * rows + 16 * 2**20,
        "8192": 8192 * rows + 16 * 2**20,
    }


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """Return what `yosort info ARGUMENTS` prints where it is wide, by the names of its lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "300")
        assert main(["info", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines)


def test_info_counts_bytes_by_what_each_type_holds(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """bfloat16 halves the matrices of layers; int8 has a byte a weight of these and of the tables
    of words and positions, and four a row of them.
    """
    layer = 4 * 32 * 32 + 2 * 32 * 48
    tables, others = (8192 + 66) * 32, 32 + 2 * 32 + 2 * (4 * 32 + 48 + 32 + 4 * 32)
    rows = 8192 + 66 + 2 * (4 * 32 + 48 + 32)
    weights = 2 * layer + tables + others
    wanted = {
        "float32": 4 * weights,
        "bfloat16": 4 * weights - 2 * 2 * layer,
        "int8": 2 * layer + tables + 4 * rows + 4 * others,
    }
    stored = {models["embed"]: {"float32": weights}}
    small = convert(models["embed"], tmp_path / "int8", dtype="int8")
    stored[small] = {"float32": others, "int8": 2 * layer + tables}
    for folder, types in stored.items():
        assert main(["info", str(folder), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["parameters"], facts["bytes"]) == (weights, wanted)
        assert facts["stored_as"] == types
        assert facts["attention"]["form"] == "expectation"
    assert shown(capsys, str(small))["left in float"] == "no product"


def test_info_of_the_longest_texts_and_the_least_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoModel", max_position_embeddings=20_000, vocab_size=8192)
    found = {name: text for name, text in shown(capsys, str(folder)).items() if "tokens" in name}
    assert found == {
        "memory, 512 tokens": "about 1 MB more",  # half of one
        "memory, 4,096 tokens": "about 4 MB more",
        "memory, 16,384 tokens": "about 16 MB more",
        "memory, 20,000 tokens": "about 20 MB more",
    }
    folder = make(tmp_path / "short", "YosoModel", max_position_embeddings=8)
    assert shown(capsys, str(folder))["memory, 8 tokens"] == "about 1 MB more"


def test_info_of_a_folder_that_names_no_class_and_has_no_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoModel")
    config = json.loads((folder / "config.json").read_text())
    del config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").unlink()
    found = shown(capsys, str(folder))
    assert (found["class"], found["answers"]) == ("not named", "unknown")
    assert found["tokenizer"].startswith("none (")
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["class"], facts["answers"], list(facts["tokenizer"])) == (None, [], ["error"])


def test_info_of_a_task_without_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path / "m", "YosoForMultipleChoice")
    assert shown(capsys, str(folder))["answers"] == (
        'yosort.pipeline("multiple-choice") in Python, yosort embed'
    )


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(7, "0, 1, 2, 3, 4, 5, 6"), (8, "0, 1, 2, 3, 4, 5, 6, 7"),
     (9, "0, 1, 2, 3, 4, 5, 6, 7, ... (9)")],
)  # fmt: skip
def test_info_shows_eight_labels(
    count: int, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {i: str(i) for i in range(count)}
    folder = make(tmp_path / "m", "YosoForSequenceClassification", id2label=labels)
    assert shown(capsys, str(folder))["labels"] == wanted


@pytest.mark.parametrize(
    ("kinds", "limits", "wanted"),
    [
        (("Pooling",), {"max_seq_length": 64}, "mean of its tokens"),
        (("Pooling", "Normalize"), {"max_seq_length": 63},
         "mean of its tokens, divided by its length, texts cut at 63 tokens"),
        (("Pooling",), {"do_lower_case": True}, "mean of its tokens, lower case"),
    ],
)  # fmt: skip
def test_info_says_of_a_text_s_vector_what_is_done_for_it(
    kinds: tuple[str, ...], limits: dict[str, Any], wanted: str,
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = write(shutil.copytree(models["embed"], tmp_path / "m"), *kinds, limits=limits)
    assert shown(capsys, str(folder))["text's vector"] == wanted
    assert main(["info", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["sentence"]
    assert said == {
        "pooling": "mean", "normalize": "Normalize" in kinds, "prompt": "", "refusal": None,
        "max_length": limits.get("max_seq_length"),
        "do_lower_case": limits.get("do_lower_case", False),
    }  # fmt: skip


def test_bench_calls_each_form_in_turn_and_does_not_count_the_first_round(
    models: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    clock = iter([0.0, 0.0, 10.0, 11.0, 20.0, 22.0, 30.0, 34.0, 40.0, 45.0])
    called = yosort.YosoModel.__call__

    def call(model: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(model.attention)
        return called(model, *arguments, **options)

    monkeypatch.setattr(yosort.YosoModel, "__call__", call)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    given = ["bench", "--model", str(models["embed"]), "--lengths", "8", "--dtype", "float32"]
    assert main([*given, "--rounds", "2", "--json"]) == 0
    assert calls == ["expectation", "sampled"] * 3
    seconds = json.loads(capsys.readouterr().out)["seconds"]
    assert seconds == {"expectation": 2.5, "sampled": 3.5}


@pytest.mark.parametrize(
    ("longest", "wanted"),
    [(127, [127]), (128, [128]), (511, [128]), (4096, [128, 512, 1024, 2048, 4096])],
)
def test_bench_times_the_usual_lengths_that_a_model_has(
    longest: int, wanted: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1}
    folder = make(tmp_path / "m", "YosoModel", max_position_embeddings=longest, **sizes)
    own = ["--attention", "sampled", "--num-hash", "1", "--dtype", "float32", "--rounds", "1"]
    assert main(["bench", str(folder), *own, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["tokens"] for row in rows] == wanted
    assert all(list(row["seconds"]) == ["sampled"] for row in rows)
    assert main(["bench", str(folder), *own, "--json", "--lengths", "1", str(longest)]) == 0
    capsys.readouterr()
    for length in (0, longest + 1):
        assert main(["bench", str(folder), *own, "--lengths", str(length)]) == 1
        said = capsys.readouterr().err
        assert f"--lengths: wanted 1 to {longest}, the model's positions, got {length}\n" in said


def test_bench_as_json(models: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("bench", "--lengths", "8", "16", "--rounds", "2", "--json", "--num-threads", "1")
    arguments = (*arguments, "--model", str(models["embed"]))
    assert main([*arguments]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    dtypes = ["float32", "bfloat16", "int8"]
    wanted = [(n, dtype) for n in (8, 16) for dtype in dtypes]
    assert [(row["tokens"], row["dtype"]) for row in rows] == wanted
    assert main([*arguments, "--dtype", "bf16"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.pop("tokens") for row in rows] == [8, 16]
    for row in rows:
        seconds = row.pop("seconds")
        assert list(seconds) == ["expectation", "sampled"]
        assert min(seconds.values()) > 0
        assert row == {
            "model": str(models["embed"]),
            "parameters": yosort.load(models["embed"]).num_parameters(),
            "dtype": "bfloat16",
            "device": "cpu",
            "num_threads": 1,
            "rounds": 2,
        }
