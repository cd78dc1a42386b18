"""sentence-transformers' files beside a model: what they make of calls, and what is refused."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import TEXTS, make, make_word_piece
from yosort.checkpoint.sentence import SENTENCE_FILES
from yosort.cli import main
from yosort.conversion import convert
from yosort.distributed import BatchPipeline
from yosort.replacing import COMMITTED

MODELS = "sentence_transformers.models."
NEWER = "sentence_transformers.sentence_transformer.modules.pooling."


def write(
    folder: Path,
    *kinds: str,
    pooling: Any = None,
    limits: Any = None,
    prompts: Any = None,
    package: str = MODELS,
) -> Path:
    """Put the files of an encoder and the modules `kinds` behind it into a folder."""
    kinds = ("Transformer", *(kinds or ("Pooling", "Normalize")))
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": package + kind}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    files = {
        "1_Pooling/config.json": {"word_embedding_dimension": 32, **(pooling or {})},
        "sentence_bert_config.json": limits,
        "config_sentence_transformers.json": prompts,
    }
    for name, fields in files.items():
        if fields is not None:
            (folder / name).write_text(json.dumps(fields), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("model"), "YosoModel")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def embed(folder: Any, *texts: str, **options: Any) -> np.ndarray:
    return np.array(yosort.pipeline("feature-extraction", folder, **options)(list(texts)))


@pytest.mark.parametrize(
    ("pooling", "kinds", "wanted"),
    [
        ({"pooling_mode_mean_tokens": True}, ("Pooling",), ("mean", False)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("Pooling",),
         ("cls", False)),
        ({"pooling_mode": "cls"}, ("Pooling", "Normalize"), ("cls", True)),
        ({"pooling_mode": ["mean"]}, ("Pooling", "Dropout", "Normalize"), ("mean", True)),
        ({}, ("Pooling", "Normalize"), ("mean", True)),
    ],
)  # fmt: skip
def test_the_files_are_the_defaults(
    folder: Path, pooling: Any, kinds: tuple[str, ...], wanted: tuple[str, bool]
) -> None:
    states = embed(folder, TEXTS[1])
    assert states.shape == (1, 1, 6, 32)  # without the files, all is transformers'
    own = {"pooling": wanted[0], "normalize": wanted[1]}
    explicit = embed(folder, *TEXTS, **own)
    for package in (MODELS, NEWER):
        write(folder, *kinds, pooling=pooling, package=package)
        np.testing.assert_array_equal(embed(folder, *TEXTS), explicit)
    call = yosort.pipeline("feature-extraction", folder)
    np.testing.assert_array_equal(call(TEXTS[1], pooling="none", normalize=False), states[0])
    loaded = yosort.pipeline("feature-extraction", yosort.load(folder), normalize=False)
    assert loaded(TEXTS[1]) == call(TEXTS[1], normalize=False)


def test_texts_are_cut_where_the_files_say(folder: Path) -> None:
    long = "a dog barks and " * 12
    options = {"pooling": "mean", "normalize": True}
    whole = embed(folder, long, **options)
    cut = embed(folder, long, max_length=9, **options)
    write(folder, limits={"max_seq_length": 9, "do_lower_case": False})
    np.testing.assert_array_equal(embed(folder, long), cut)
    np.testing.assert_array_equal(embed(folder, long, max_length=64), whole)
    call = yosort.pipeline("feature-extraction", folder)
    np.testing.assert_array_equal(call([long], max_length=None), whole)
    with pytest.raises(yosort.InputError, match="wanted at most 9 tokens, got"):
        embed(folder, long, overflow="error")
    # What the model takes is no cut, and a longer text an error as ever.
    write(folder, limits={"max_seq_length": 64, "do_lower_case": False})
    np.testing.assert_array_equal(embed(folder, long), whole)
    with pytest.raises(yosort.InputError, match="wanted at most 64 tokens"):
        embed(folder, long * 3)
    # Where they say nothing, the tokenizer does, as in sentence-transformers.
    write(folder, limits={})
    facts = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**facts, "model_max_length": 9}))
    np.testing.assert_array_equal(embed(folder, long), cut)


def test_texts_are_read_as_the_files_say(folder: Path) -> None:
    plain = embed(folder, "query: paris", "query: a dog", pooling="mean", normalize=True)
    prompts = {"prompts": {"query": "Query: ", "other": "x"}, "default_prompt_name": "query"}
    write(folder, limits={"do_lower_case": True}, prompts=prompts)
    np.testing.assert_array_equal(embed(folder, "Paris", "A DOG"), plain)
    write(folder, prompts={**prompts, "default_prompt_name": None}, limits={})
    np.testing.assert_array_equal(embed(folder, "query: paris", "query: a dog"), plain)


@pytest.mark.parametrize(
    ("kinds", "pooling", "message"),
    [
        (("Pooling", "Dense", "Normalize"), None,
         "got Transformer, Pooling in 1_Pooling, Dense in 2_Dense, Normalize in 3_Normalize"),
        (("WeightedLayerPooling", "Pooling"), None, "WeightedLayerPooling in 1_Weighted"),
        (("Normalize",), None, "got Transformer, Normalize"),
        (("Pooling",), {"pooling_mode": "max"}, "wanted a pooling of 'mean' or 'cls', got 'max'"),
        (("Pooling",), {"pooling_mode": ["cls", "mean"]}, "got 'cls' and 'mean'"),
        (("Pooling",), {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
         "got 'cls' and 'max'"),
        (("Pooling",), {"pooling_mode_lasttoken": True}, "got 'lasttoken'"),
    ],
)  # fmt: skip
def test_what_is_not_computed_is_refused_by_name(
    folder: Path, kinds: tuple[str, ...], pooling: Any, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    own = embed(folder, TEXTS[1], pooling="mean")
    write(folder, *kinds, pooling=pooling)
    with pytest.raises(yosort.ConfigError, match=f"{message}.*; pooling='mean' or 'cls' makes"):
        embed(folder, TEXTS[1])
    np.testing.assert_array_equal(embed(folder, TEXTS[1], pooling="mean"), own)
    assert main(["embed", "--model", str(folder), "a"]) == 1
    assert "--pooling" in capsys.readouterr().err
    assert main(["embed", "--model", str(folder), "--pooling", "mean", TEXTS[1]]) == 0
    np.testing.assert_allclose(json.loads(capsys.readouterr().out), own[0])
    assert main(["info", str(folder)]) == 0
    assert "not as its files say" in capsys.readouterr().out


def test_a_prompt_that_pooling_leaves_out_is_refused(folder: Path) -> None:
    prompts = {"prompts": {"query": "Query: "}, "default_prompt_name": "query"}
    pooling = {"pooling_mode": "mean", "include_prompt": False}
    write(folder, pooling=pooling, prompts=prompts)
    with pytest.raises(yosort.ConfigError, match="include_prompt=false"):
        embed(folder, "a")
    write(folder, pooling=pooling, prompts={"prompts": {}})
    assert embed(folder, "a").shape == (1, 32)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", "{}", "wanted a JSON array, got dict"),
        ("modules.json", "[", "wanted valid JSON"),
        ("modules.json", "", "an empty file"),
        ("modules.json", "[" * 5000, "wanted valid JSON"),
        ("modules.json", "[3]", "module 0: wanted an object with a type, got 3"),
        ("modules.json", '[{"path": ""}]', "wanted an object with a type"),
        ("modules.json", '[{"type": ["Pooling"]}]', "wanted an object with a type"),
        ("modules.json", '[{"type": "a.Pooling", "path": "../1"}]', "path: wanted the name of a"),
        ("modules.json", '[{"type": "a.Pooling", "path": "/etc"}]', "path: wanted the name of a"),
        ("modules.json", '[{"type": "a.Pooling", "path": ".."}]', "path: wanted the name of a"),
        ("modules.json", '[{"type": "a.Pooling", "path": "a\\\\b"}]', "path: wanted the name"),
        ("modules.json", '[{"type": "a.Pooling", "path": "a\\u0000"}]', "path: wanted the name"),
        ("modules.json", '[{"type": "a.Pooling", "path": 3}]', "path: wanted the name of a folder"),
        ("modules.json", '[{"type": "a", "type": "b"}]', "wanted each key once"),
        ("modules.json", " " * (1 << 21), "wanted at most 1048576 bytes"),
        ("1_Pooling/config.json", "[]", "wanted a JSON object, got list"),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": 1}', "wanted true or false, got 1"),
        ("1_Pooling/config.json", '{"pooling_mode": 5}', "pooling_mode: wanted a name"),
        ("1_Pooling/config.json", '{"pooling_mode": [["cls"]]}', "pooling_mode: wanted a name"),
        ("sentence_bert_config.json", '{"max_seq_length": 0}', "wanted a number of tokens, got 0"),
        ("sentence_bert_config.json", '{"max_seq_length": "9"}', "wanted a number of tokens"),
        ("sentence_bert_config.json", '{"max_seq_length": true}', "wanted a number of tokens"),
        ("sentence_bert_config.json", '{"do_lower_case": "no"}', "wanted true or false, got 'no'"),
        ("config_sentence_transformers.json", '{"default_prompt_name": "a"}', "one of the prompts"),
        ("config_sentence_transformers.json", '{"default_prompt_name": [1], "prompts": {}}',
         "one of the prompts"),
        ("config_sentence_transformers.json", '{"default_prompt_name": "a", "prompts": {"a": 1}}',
         "one of the prompts"),
    ],
)  # fmt: skip
def test_files_that_mean_nothing_are_named(
    folder: Path, name: str, content: str, message: str
) -> None:
    write(folder)
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(yosort.CheckpointError, match=message) as caught:
        yosort.load(folder)
    assert str(folder / name) in str(caught.value)


def test_a_pooling_that_is_not_there_is_named(folder: Path) -> None:
    write(folder)
    shutil.rmtree(folder / "1_Pooling")
    with pytest.raises(yosort.CheckpointError, match=r"1_Pooling/config.json: cannot be opened"):
        yosort.load(folder)


def test_the_files_come_along(folder: Path, tmp_path: Path) -> None:
    write(folder, limits={"max_seq_length": 9}, prompts={"prompts": {}})
    before = embed(folder, *TEXTS)
    model = yosort.load(folder)
    contents = {name: (folder / name).read_bytes() for name in SENTENCE_FILES}
    parts = tmp_path / "parts"
    convert(folder, parts, dtype="float16")
    convert(folder, parts, overwrite=True)
    yosort.pipeline("feature-extraction", folder).save_pretrained(tmp_path / "by pipeline")
    again = pickle.dumps(model)
    shutil.rmtree(folder)
    gone = pickle.loads(pickle.dumps(copy.copy(model)))
    for made in (model, gone, yosort.load(parts)):
        made.save_pretrained(parts)  # over what is there, too
        made.save_pretrained(parts)
        assert {name: (parts / name).read_bytes() for name in SENTENCE_FILES} == contents
        assert not (parts / COMMITTED).exists()
        np.testing.assert_array_equal(embed(parts, *TEXTS), before)
    np.testing.assert_array_equal(embed(tmp_path / "by pipeline", *TEXTS), before)
    np.testing.assert_array_equal(
        embed(gone, *TEXTS, tokenizer=yosort.Tokenizer.from_pretrained(parts)), before
    )
    parts.rename(folder)
    assert pickle.loads(again).sentence == model.sentence


def test_modules_with_weights_of_their_own_stay_behind(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, "Pooling", "Dense")
    yosort.load(folder).save_pretrained(tmp_path / "saved")
    convert(folder, tmp_path / "converted")
    assert [r.getMessage() for r in caplog.records if "Dense in 2_Dense" in r.getMessage()]
    for made in (tmp_path / "saved", tmp_path / "converted"):
        assert not (made / "modules.json").exists()
        assert embed(made, "a dog").ndim == 4


def test_a_linked_folder_of_a_stranger_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    write(folder)
    model = yosort.load(folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1_Pooling").symlink_to(outside)
    model.save_pretrained(tmp_path / "out")
    assert (outside / "config.json").read_text() == "mine"
    assert embed(tmp_path / "out", "a").shape == (1, 32)


def test_embed_goes_by_the_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "A dog barks and " * 9
    (tmp_path / "texts.txt").write_text(f"{TEXTS[1]}\n{long}\n", encoding="utf-8")

    def run(name: str, *options: str) -> np.ndarray:
        out = tmp_path / name
        arguments = ["embed", "--model", str(folder), "--input", str(tmp_path / "texts.txt")]
        assert main([*arguments, "--output", str(out), *options]) == 0
        return np.load(out)

    mean, first = run("mean.npy"), run("cls.npy", "--pooling", "cls", "--normalize")
    np.testing.assert_array_equal(mean, embed(folder, TEXTS[1], long, pooling="mean"))
    write(folder, pooling={"pooling_mode": "cls"}, limits={"max_seq_length": 9})
    by_files = run("files.npy")
    np.testing.assert_array_equal(by_files, embed(folder, TEXTS[1], long))
    np.testing.assert_array_equal(by_files[0], first[0])
    np.testing.assert_array_equal(run("whole.npy", "--max-length", "64"), first)
    plain = run("plain.npy", "--pooling", "mean", "--no-normalize", "--max-length", "64")
    np.testing.assert_array_equal(plain, mean)
    assert main(["info", str(folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "cls of its tokens, divided by its length, texts cut at 9 tokens" in shown
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["sentence"]
    assert (facts["pooling"], facts["normalize"], facts["max_length"]) == ("cls", True, 9)


def test_other_tasks_take_no_notice(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", "YosoForMaskedLM")
    fill = yosort.pipeline("fill-mask", folder)("a <mask> dog")
    write(folder, "Pooling", "Dense", limits={"max_seq_length": 3, "do_lower_case": True})
    assert yosort.pipeline("fill-mask", folder)("a <mask> dog") == fill


def test_a_word_piece_pads_nothing_into_the_mean(tmp_path: Path) -> None:
    folder = make_word_piece(tmp_path / "model", "YosoModel")
    texts = ("the lazy dog", "Paris is the capital of France")
    own = embed(folder, *texts, pooling="mean", normalize=True)
    write(folder, limits={"max_seq_length": 64})
    np.testing.assert_array_equal(embed(folder, *texts), own)


def test_workers_of_batch_jobs_obey_the_files(folder: Path) -> None:
    flags = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    write(folder, "Pooling", "Normalize", pooling=flags)
    found = BatchPipeline("feature-extraction", folder)({"text": np.array(TEXTS, object)})
    embed = yosort.pipeline("feature-extraction", folder, return_tensors=True)
    np.testing.assert_array_equal(found["vector"], np.stack(embed(TEXTS)))
    np.testing.assert_array_equal(
        found["vector"], np.stack(embed(TEXTS, pooling="cls", normalize=True))
    )
    means = BatchPipeline("feature-extraction", folder, pooling="mean")
    assert not np.array_equal(means({"text": np.array(TEXTS, object)})["vector"], found["vector"])
