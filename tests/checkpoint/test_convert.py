"""Checkpoints of every kind into one folder; what cannot be converted says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import CONFIG, by_authors, check, hf_folder, weights, write_torch

import yosort
from yosort.checkpoint import read_state, write_state
from yosort.checkpoint.original import original_config
from yosort.checkpoint.stored import DTYPES, State, Tensor
from yosort.cli.converting import convert_main
from yosort.config import YosoConfig
from yosort.conversion import convert, parse_size
from yosort.errors import CheckpointError, ConfigError

# The same model as CONFIG, as the authors' training scripts describe it.
AUTHORS = {
    "mixed_precision": True,
    "shared_weight": False,
    "vocab_size": 11,
    "num_sen_type": 2,
    "max_seq_len": 6,
    "embedding_dim": 8,
    "dim": 8,
    "hidden_dim": 12,
    "num_layers": 2,
    "dropout_prob": 0.1,
    "num_head": 2,
    "head_dim": 4,
    "model_type": "efficient_attention",
    "attn_type": "yoso-v1",
    "use_fast_hash": True,
    "hash_code_len": 4,
    "num_hash": 5,
    "n2_backward": False,
    "conv_window": 3,
}
V2 = {
    **{k: v for k, v in AUTHORS.items() if k not in ("hash_code_len", "num_hash", "use_fast_hash")},
    "attn_type": "yoso-v2",
    "hashcode_len": 4,
    "num_hash_f": 5,
}


def authors_file(path: Path, arrays: dict[str, np.ndarray] | None = None, **options: Any) -> Path:
    options.setdefault("generation", "transformer_{}")
    return write_torch(
        path, by_authors(weights() if arrays is None else arrays, **options), "model_state_dict"
    )


def test_folder_of_transformers(tmp_path: Path) -> None:
    source = hf_folder(tmp_path / "in", my_field=[1, 2], _name_or_path="/home/someone/x")
    (source / "tokenizer.json").write_text("{}")
    (source / "training_args.bin").write_text("left behind")
    out = convert(source, tmp_path / "deep" / "out")
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    config = check(out, weights())
    assert config.extra["my_field"] == [1, 2]
    assert config.extra["dtype"] == config.extra["torch_dtype"] == "float32"
    assert "_name_or_path" not in config.extra
    assert config.tie_word_embeddings


def test_a_tokenizers_files_go_along(tmp_path: Path) -> None:
    """Each by its name and with its bytes; whatever else lies there stays."""
    folder = hf_folder(tmp_path / "in")
    names = {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
    }  # fmt: skip
    for name in (*names, "README.md", "tf_model.h5"):
        (folder / name).write_text(name)
    convert(folder, tmp_path / "converted")
    yosort.load(folder, device="cpu").save_pretrained(tmp_path / "saved")
    for out in (tmp_path / "converted", tmp_path / "saved"):
        texts = {path.name: path.read_bytes() for path in out.iterdir()}
        assert texts.keys() == names | {"config.json", "model.safetensors"}
        assert all(texts[name] == name.encode() for name in names)


def test_bin_of_a_bare_model(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "config.json").write_text(json.dumps({**CONFIG, "architectures": ["YosoModel"]}))
    bare = {name.removeprefix("yoso."): array for name, array in weights(None).items()}
    bare["embeddings.position_ids"] = np.arange(2, 8)[None]
    write_torch(source / "pytorch_model.bin", bare)
    check(convert(source, tmp_path / "out"), weights(None))


@pytest.mark.parametrize("generation", ["transformer_{}", "backbone.backbone.encoders.{}"])
@pytest.mark.parametrize("config", [AUTHORS, {"model": V2, "dataset": {}}, CONFIG])
def test_authors_checkpoints(tmp_path: Path, generation: str, config: dict[str, Any]) -> None:
    source = authors_file(tmp_path / "cp-0001.cp", generation=generation)
    (tmp_path / "their.json").write_text(json.dumps(config))
    out = convert(source, tmp_path / "out", config=tmp_path / "their.json")
    made = check(out, weights())
    assert made.architectures == ("YosoForMaskedLM",)
    for name in ("num_attention_heads", "hash_code_len", "num_hash", "max_position_embeddings"):
        assert getattr(made, name) == CONFIG[name], name
    if config is not CONFIG:
        assert made.layer_norm_eps == 1e-5
        assert not made.use_expectation
        assert made.pad_token_id == 1


def test_authors_checkpoint_with_options(tmp_path: Path) -> None:
    source = authors_file(tmp_path / "x.model", weights(conv_window=None))
    with pytest.raises(
        CheckpointError, match="do not tell num_attention_heads, hash_code_len, num_hash"
    ):
        convert(source, tmp_path / "out")
    out = convert(source, tmp_path / "out", num_attention_heads=4, hash_code_len=9, num_hash=64)
    made = YosoConfig.from_pretrained(out)
    assert (made.num_attention_heads, made.hash_code_len, made.num_hash) == (4, 9, 64)
    assert (made.vocab_size, made.hidden_size, made.num_hidden_layers) == (11, 8, 2)
    assert (made.max_position_embeddings, made.intermediate_size) == (6, 12)
    assert (made.type_vocab_size, made.layer_norm_eps) == (2, 1e-5)


@pytest.mark.parametrize("config", [AUTHORS, CONFIG])
def test_authors_checkpoint_without_positions(tmp_path: Path, config: dict[str, Any]) -> None:
    arrays = weights()
    del arrays["yoso.embeddings.position_embeddings.weight"]
    source = authors_file(tmp_path / "x.model", arrays)
    with pytest.raises(
        CheckpointError, match=r"wanted the matrix \S+position\S+ among the weights"
    ):
        convert(source, tmp_path / "out", config=config)
    assert os.listdir(tmp_path) == ["x.model"]


@pytest.mark.parametrize("theirs", [AUTHORS, V2])
def test_fields_of_the_authors_become_those_of_transformers(theirs: dict[str, Any]) -> None:
    assert original_config({"model": theirs}, what="x.json") == {
        "vocab_size": 11, "type_vocab_size": 2, "max_position_embeddings": 6, "hidden_size": 8,
        "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
        "hidden_dropout_prob": 0.1, "conv_window": 3, "hash_code_len": 4, "num_hash": 5,
        "use_expectation": False, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        **({"use_fast_hash": True} if theirs is AUTHORS else {}),
    }  # fmt: skip


def test_expectation_of_the_authors(tmp_path: Path) -> None:
    source = authors_file(tmp_path / "x.model")
    convert(source, tmp_path / "out", config={**AUTHORS, "attn_type": "yoso-v1-e"})
    assert YosoConfig.from_pretrained(tmp_path / "out").use_expectation


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_weights_that_are_no_numbers_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str | None
) -> None:
    # Sampled attention takes a NaN for a sign, so that no answer tells.
    arrays = weights()
    for name in arrays:
        if "layer.1.attention.self.query." in name:
            arrays[name] = np.full_like(arrays[name], np.nan)
    convert(hf_folder(tmp_path / "source", arrays), tmp_path / "out", dtype=dtype)
    assert "source: NaN or infinity in 2 weights: ['yoso.encoder.layer.1.attention.self." in (
        caplog.text
    )
    caplog.clear()
    convert(hf_folder(tmp_path / "whole"), tmp_path / "out2", dtype=dtype)
    assert caplog.messages == []


def test_positions_counted_from_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = weights()
    positions = "yoso.embeddings.position_embeddings.weight"
    theirs = by_authors({**arrays, positions: arrays[positions][2:]}, "transformer_{}")
    theirs["model.pooler.weight"] = np.zeros((8, 8), "f4")
    theirs["sen_class.bias"] = np.zeros(4, "f4")
    source = write_torch(tmp_path / "bert.cp", theirs, "model_state_dict")
    out = convert(source, tmp_path / "out", config=AUTHORS)
    arrays[positions] = np.concatenate([np.zeros((2, 8), "f4"), arrays[positions][2:]])
    made = check(out, arrays)
    assert (made.pad_token_id, made.bos_token_id, made.eos_token_id) == (0, None, None)
    assert "model.pooler.weight" in caplog.text
    with pytest.raises(CheckpointError, match=r"wanted 5 rows .* or 7 .*, got 6"):
        convert(source, tmp_path / "out2", config={**AUTHORS, "max_seq_len": 5})
    with pytest.raises(CheckpointError, match="positions count from 0 or from 2"):
        convert(source, tmp_path / "out2", num_attention_heads=2, hash_code_len=4, num_hash=5)


@pytest.mark.parametrize("generation", ["transformer", "backbone.backbone.encoder"])
def test_shared_layers(tmp_path: Path, generation: str) -> None:
    arrays = weights()
    for name in arrays:
        if ".layer.1." in name:
            arrays[name] = arrays[name.replace(".layer.1.", ".layer.0.")]
    source = authors_file(tmp_path / "x.cp", arrays, generation=generation, shared=True)
    check(convert(source, tmp_path / "out", config={**AUTHORS, "shared_weight": True}), arrays)
    with pytest.raises(CheckpointError, match="wanted a config with their number"):
        convert(source, tmp_path / "out2", num_attention_heads=2, hash_code_len=4, num_hash=5)
    with pytest.raises(ConfigError, match="num_hidden_layers: wanted at most"):
        convert(source, tmp_path / "out2", config={**AUTHORS, "num_layers": 10**9})


def test_question_answering_of_the_authors(tmp_path: Path) -> None:
    arrays = weights("question_answering")
    theirs = by_authors({**weights(), **arrays}, "transformer_{}")
    source = write_torch(tmp_path / "qa.model", theirs, "model_state_dict")
    made = check(convert(source, tmp_path / "out", config=AUTHORS), arrays)
    assert made.architectures == ("YosoForQuestionAnswering",)
    theirs["qahead.weight"] = theirs["qahead.weight"][:1]
    theirs["qahead.bias"] = theirs["qahead.bias"][:1]
    source = write_torch(tmp_path / "wiki.model", theirs, "model_state_dict")
    with pytest.raises(CheckpointError, match="WikiHop"):
        convert(source, tmp_path / "out2", config=AUTHORS)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"embedding_dim": 4}, "embedding_dim 4 differs from dim 8"),
        ({"dim": 10, "embedding_dim": 10, "head_dim": 5}, r"word_emb.*: wanted \[11, 10\]"),
        ({"hidden_dim": 14}, r"intermediate.dense.weight: wanted \[14, 8\]"),
        ({"num_sen_type": 3}, r"token_type_embeddings.weight: wanted \[3, 8\]"),
        ({"max_seq_len": 7}, "position_embeddings.weight: wanted 7 rows"),
        ({"num_layers": 3}, "missing: yoso.encoder.layer.2"),
        ({"head_dim": 8}, "num_head 2 times head_dim 8"),
        ({"attn_type": "softmax"}, "attn_type: wanted yoso-v1"),
        ({"attn_type": None}, "attn_type: wanted yoso-v1"),
        ({"attn_type": "yoso-v2", "num_hash_f": -1, "num_hash": None}, "yoso-v2's own expectation"),
        ({"attn_type": "yoso-v2", "num_hash_f": 0, "num_hash": None}, "num_hash: wanted .*least 1"),
        ({"num_layers": "2"}, "num_hidden_layers: wanted a number, got '2'"),
        ({"num_layers": True}, "num_hidden_layers: wanted a number, got True"),
        ({"vocab_size": 12}, "word_embeddings"),
        ({"hash_code_len": None}, "do not tell hash_code_len"),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    source = authors_file(tmp_path / "x.cp")
    with pytest.raises((CheckpointError, ConfigError), match=match):
        convert(source, tmp_path / "out", config={**AUTHORS, **changes})
    assert not (tmp_path / "out").exists()


def test_untied_decoder_is_kept(tmp_path: Path) -> None:
    arrays = weights()
    arrays["cls.predictions.decoder.weight"] = arrays["yoso.embeddings.word_embeddings.weight"] + 1
    arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"]
    out = convert(hf_folder(tmp_path / "in", arrays), tmp_path / "out")
    assert not check(out, arrays).tie_word_embeddings


def test_tied_decoder_is_left_out(tmp_path: Path) -> None:
    arrays = weights()
    arrays["cls.predictions.decoder.weight"] = arrays["yoso.embeddings.word_embeddings.weight"]
    arrays["cls.predictions.decoder.bias"] = arrays.pop("cls.predictions.bias")
    out = convert(hf_folder(tmp_path / "in", arrays), tmp_path / "out")
    assert check(out, weights()).tie_word_embeddings


@pytest.mark.parametrize(
    ("dtype", "saved"),
    [
        ("float16", "float16"),
        (np.dtype("float16"), "float16"),
        ("bfloat16", "bfloat16"),
        (None, "float32"),
    ],
)
def test_a_saved_config_names_the_type_that_the_file_holds(
    tmp_path: Path, dtype: Any, saved: str
) -> None:
    model = yosort.load(convert(hf_folder(tmp_path / "in"), tmp_path / "out", dtype=dtype))
    model.save_pretrained(tmp_path / "saved")
    extra = YosoConfig.from_pretrained(tmp_path / "saved").extra
    assert (extra["dtype"], extra["torch_dtype"]) == (saved, saved)
    state = read_state(tmp_path / "saved")
    assert {DTYPES[state.tensor(name).dtype] for name in state} == {saved}


@pytest.mark.parametrize(
    ("kinds", "written", "named"),
    [
        (["F64"], {"F32"}, "float32"), (["F16"], {"F16"}, "float16"),
        (["F16", "F64"], {"F16", "F32"}, "float32"), (["BF16", "F16"], {"BF16", "F16"}, "float32"),
    ],
)  # fmt: skip
def test_types_are_kept_but_for_float64_and_of_several_the_widest_is_named(
    tmp_path: Path, kinds: list[str], written: set[str], named: str
) -> None:
    arrays = weights().items()
    state = State({n: Tensor("F32", a).cast("F32", name=n) for n, a in arrays})
    state = State(
        {n: state.tensor(n).cast(kinds[i % len(kinds)], name=n) for i, n in enumerate(state)}
    )
    source = hf_folder(tmp_path / "in", {})
    write_state(source, state)
    out = convert(source, tmp_path / "out")
    made = read_state(out)
    assert {made.tensor(name).dtype for name in made} == written
    for name in state:
        np.testing.assert_array_equal(made[name], np.asarray(state[name], np.float32))
    extra = YosoConfig.from_pretrained(out).extra
    assert (extra["dtype"], extra["torch_dtype"]) == (named, named)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    small = convert(hf_folder(tmp_path / "in"), tmp_path / dtype, dtype=dtype)
    state = read_state(small)
    tolerance = 2.0**-11 if dtype == "float16" else 2.0**-8
    for name, array in weights().items():
        assert state.tensor(name).dtype == {"float16": "F16", "bfloat16": "BF16"}[dtype]
        np.testing.assert_allclose(state[name], array, rtol=tolerance, atol=1e-7)
    assert YosoConfig.from_pretrained(small).extra["dtype"] == dtype
    # Kept by default, and exact on the way back up.
    kept = convert(small, tmp_path / "kept")
    assert (kept / "model.safetensors").read_bytes() == (small / "model.safetensors").read_bytes()
    wide = convert(small, tmp_path / "wide", dtype="float32")
    for name in state:
        np.testing.assert_array_equal(read_state(wide)[name], state[name])
    with pytest.raises(CheckpointError, match="dtype: wanted one of float32"):
        convert(small, tmp_path / "x", dtype="int4")


def test_overflowing_cast_writes_nothing(tmp_path: Path) -> None:
    arrays = weights()
    arrays["yoso.embeddings.LayerNorm.bias"][3] = 1e6
    with pytest.raises(CheckpointError, match=r"LayerNorm\.bias': wanted values within .* F16"):
        convert(hf_folder(tmp_path / "in", arrays), tmp_path / "out", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_shards(tmp_path: Path) -> None:
    out = convert(hf_folder(tmp_path / "in"), tmp_path / "out", max_shard_size=1000)
    assert (out / "model.safetensors.index.json").exists()
    check(out, weights())


def test_misfits_are_named_together(tmp_path: Path) -> None:
    arrays = weights()
    del arrays["yoso.encoder.layer.1.output.dense.bias"]
    arrays["yoso.encoder.layer.7.output.dense.bias"] = np.zeros(8, "f4")
    arrays["yoso.embeddings.LayerNorm.bias"] = np.zeros(9, "f4")
    with pytest.raises(CheckpointError) as caught:
        convert(hf_folder(tmp_path / "in", arrays), tmp_path / "out")
    for part in (
        "layer.1.output.dense.bias",
        "layer.7.output.dense.bias",
        "LayerNorm.bias: wanted",
    ):
        assert part in str(caught.value)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"wanted one of model\.safetensors"):
        convert(tmp_path, tmp_path / "out")
    source = hf_folder(tmp_path / "in", model_type="bert")
    with pytest.raises(ConfigError, match="model_type"):
        convert(source, tmp_path / "out")
    for wrong in ("BertModel", ["YosoModel"], None):
        (source / "config.json").write_text(json.dumps({**CONFIG, "architectures": [wrong]}))
        with pytest.raises(CheckpointError, match="architectures: wanted one of YosoModel"):
            convert(source, tmp_path / "out")
    named = {**CONFIG, "architectures": ["YosoForQuestionAnswering"]}
    with pytest.raises(CheckpointError, match=r"missing: qa_outputs\.weight"):
        convert(source, tmp_path / "out", config=named)
    # Where no class is named in a list, the weights tell it.
    for i, unset in enumerate(("YosoForQuestionAnswering", [], None)):
        out = convert(source, tmp_path / f"{i}", config={**CONFIG, "architectures": unset})
        assert YosoConfig.from_pretrained(out).architectures == ("YosoForMaskedLM",)


def test_sizes() -> None:
    assert [parse_size(t) for t in ("7", "2KB", "5mb", "1gb")] == [7, 2000, 5 * 10**6, 10**9]
    assert [parse_size(t) for t in ("2kib", "3 MiB", "4GiB")] == [2 << 10, 3 << 20, 4 << 30]
    for text in ("", "x", "0", "-1", "1.5GB", "1TB", "9" * 30):
        with pytest.raises(ValueError, match="wanted a size"):
            parse_size(text)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = authors_file(tmp_path / "x.cp", weights(conv_window=None))
    out = tmp_path / "out"
    args = [str(source), str(out), "--num-attention-heads", "2", "--hash-code-len", "4"]
    assert convert_main(args) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert convert_main([*args, "--num-hash", "5", "--max-shard-size", "1KB"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    for wrong in ([], [*args, "--dtype", "int4"], [*args, "--max-shard-size", "big"]):
        with pytest.raises(SystemExit) as caught:
            convert_main(wrong)
        assert caught.value.code == 2


def test_script(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "tools" / "convert_weights.py"
    if not script.exists():
        pytest.skip("the tests run without the source tree")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(hf_folder(tmp_path / "in")), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", weights())


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "YosoModel", "YosoForMaskedLM", "YosoForSequenceClassification", "YosoForMultipleChoice",
        "YosoForTokenClassification", "YosoForQuestionAnswering",
    ],
)  # fmt: skip
def test_every_class_by_its_name_or_its_head(name: str, named: bool, tmp_path: Path) -> None:
    fields = {k: v for k, v in CONFIG.items() if k not in ("architectures", "model_type")}
    model = getattr(yosort, name)(YosoConfig.from_dict(fields), seed=1)
    model.save_pretrained(tmp_path / "in")
    if not named:
        path = tmp_path / "in" / "config.json"
        stored = json.loads(path.read_text())
        del stored["architectures"]
        path.write_text(json.dumps(stored))
    again = yosort.load(convert(tmp_path / "in", tmp_path / "out"))
    assert type(again).__name__ == name
    ids = np.array([[[2, 3], [4, 5]]] if name == "YosoForMultipleChoice" else [[2, 3, 4]])
    np.testing.assert_array_equal(again(ids)[0], model(ids)[0])
