"""YosoConfig: config.json in and out, every field validated by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import yosort
from yosort import CheckpointError, ConfigError, YosoConfig
from yosort.tokenizer import Tokenizer


def test_defaults_describe_yoso_base() -> None:
    config = YosoConfig()
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    # What a config.json that leaves a field out means: transformers' defaults.
    assert values == {
        "vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 4096, "type_vocab_size": 1, "initializer_range": 0.02,
        "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", "use_expectation": True,
        "hash_code_len": 9, "num_hash": 64, "conv_window": None, "use_fast_hash": True,
        "lsh_backward": True, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "tie_word_embeddings": True, "num_labels": 2,
        "id2label": {0: "LABEL_0", 1: "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        "problem_type": None, "architectures": None, "output_attentions": False,
        "output_hidden_states": False, "return_dict": True, "extra": {}, "name_or_path": "",
    }  # fmt: skip
    assert config.head_dim == 64
    assert config.label_names == ["LABEL_0", "LABEL_1"]


def test_round_trip_keeps_unknown_fields(tmp_path: Path) -> None:
    values = {
        "model_type": "yoso",
        "architectures": ["YosoForMaskedLM"],
        "transformers_version": "4.34.0",
        "torch_dtype": "float32",
        "my_own": {"nested": [1, None]},
        "hidden_size": 32,
        "num_attention_heads": 4,
        "id2label": {"0": "no", "1": "yes", "2": "maybe"},
        "label2id": {"no": 0, "yes": 1, "maybe": 2},
        "lsh_backward": False,
        "hidden_dropout_prob": 0.25,
    }
    config = YosoConfig.from_dict(values)
    config.save(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    for name, value in values.items():
        assert written[name] == value, name
    assert YosoConfig.from_pretrained(tmp_path) == config
    assert config.label_names == ["no", "yes", "maybe"]


def test_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        YosoConfig().hidden_size = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("vocab_size", 0, "at least 1"),
        ("hidden_size", 7.5, "at least 1"),
        ("hidden_size", 770, "multiple of num_attention_heads"),
        ("num_hidden_layers", True, "at least 1"),
        ("hidden_act", "gelu_of_doom", "one of gelu"),
        ("hidden_act", None, "one of gelu"),
        ("hidden_dropout_prob", 1.5, "from 0 to 1"),
        ("attention_probs_dropout_prob", -0.1, "from 0 to 1"),
        ("initializer_range", -0.1, "at least 0"),
        ("layer_norm_eps", float("nan"), "at least 0"),
        ("layer_norm_eps", "small", "at least 0"),
        ("position_embedding_type", "relative_key", "absolute"),
        ("use_expectation", 1, "true or false"),
        ("hash_code_len", 17, "from 1 to 16"),
        ("num_hash", -3, "at least 1"),
        ("conv_window", 4, "odd"),
        ("bos_token_id", "0", "null or a token id"),
        ("eos_token_id", -1, "null or a token id"),
        ("eos_token_id", True, "null or a token id"),
        ("pad_token_id", 50265, "below vocab_size"),
        ("problem_type", "guessing", "regression"),
        ("architectures", "YosoModel", "list"),
        ("id2label", ["a", "b"], "names by label number"),
        ("id2label", {"1": "a", "2": "b"}, "keys 0 to 1"),
        ("label2id", 3, "label numbers by name"),
        ("label2id", ["a", "b"], "label numbers by name"),
        ("label2id", {"a": "b", "c": 1}, "label numbers by name"),
        ("num_labels", 0, "at least 1"),
        ("num_labels", 10**12, "at most 100000"),
        ("model_type", "bert", "yoso"),
    ],
)
def test_errors_name_the_field_the_wanted_and_the_got(
    field: str, value: object, wanted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        YosoConfig.from_dict({field: value})
    message = str(caught.value)
    assert message.startswith(field)
    assert wanted in message
    assert "got" in message


def test_label_names_and_num_labels_must_agree() -> None:
    assert YosoConfig(num_labels=3).label_names == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert YosoConfig(num_labels=3, id2label={0: "LABEL_0", 1: "LABEL_1"}).num_labels == 3
    with pytest.raises(ConfigError, match="num_labels: wanted 2"):
        YosoConfig(num_labels=3, id2label={0: "a", 1: "b"})


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\udcff", "[" * 100_000])
def test_files_that_are_no_config(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"config\.json"):
        YosoConfig.from_pretrained(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        YosoConfig.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="here: no such file"):  # a path is no id of a hub's
        YosoConfig.from_pretrained(Path("not/here"))


def test_the_file_has_a_line_a_field_in_order() -> None:
    """As transformers writes its own, so that two versions of a file are easy to compare."""
    text = YosoConfig(my_own={"b": 1, "a": [2]}).to_json()  # type: ignore[call-arg]
    assert text.startswith('{\n  "architectures": null,\n  "attention_probs_dropout_prob": 0.1,\n')
    assert '\n  "my_own": {\n    "a": [\n      2\n    ],\n    "b": 1\n  },\n' in text
    assert text.endswith('\n  "vocab_size": 50265\n}\n')


def test_a_field_that_no_model_can_have_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 0}', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        YosoConfig.from_pretrained(tmp_path)
    wanted = f"{tmp_path / 'config.json'}: hidden_size: wanted an integer of at least 1"
    assert str(caught.value).startswith(wanted)


def test_why_a_hub_id_cannot_be_had_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"local_files_only": True, "cache_dir": tmp_path / "empty"}
    with pytest.raises(CheckpointError) as wanted:
        yosort.load("some/model", **options)
    with pytest.raises(ConfigError) as caught:
        YosoConfig.from_pretrained("some/model", **options)
    assert str(caught.value) == str(wanted.value)
    assert "some/model" in str(caught.value)


@pytest.mark.parametrize("read", [YosoConfig, Tokenizer])
def test_no_weights_are_fetched_where_none_are_read(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def resolve(source: Any, **options: Any) -> Any:
        seen.update(options)
        raise Stop

    seen: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[read.__module__], "resolve", resolve)
    options = {"revision": "v2", "local_files_only": True, "cache_dir": "c", "token": "t"}
    with pytest.raises(Stop):
        read.from_pretrained("some/model", **options)
    assert seen == {**options, "weights": False}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
field_names = st.sampled_from([f.name for f in dataclasses.fields(YosoConfig) if f.name != "extra"])


@given(st.dictionaries(field_names, json_values))
def test_anything_else_is_a_config_error(values: dict[str, object]) -> None:
    try:
        config = YosoConfig.from_dict(values)
    except ConfigError:
        return
    assert YosoConfig.from_dict(config.to_dict()) == config


def test_label_maps_of_numpy_and_of_json() -> None:
    config = YosoConfig(id2label=dict(enumerate(np.unique([3, 4]))))
    assert config.id2label == {0: "3", 1: "4"}
    config = YosoConfig(id2label={np.int64(0): "a", np.int64(1): "b"}, label2id={"a": 0.0, "b": 1})
    assert config.id2label == {0: "a", 1: "b"}
    assert config.label2id == {"a": 0, "b": 1}
    for wrong in ({0.5: "a"}, {0: object()}, {None: "a"}):
        with pytest.raises(ConfigError, match="id2label: wanted an object of names"):
            YosoConfig(id2label=wrong)


@pytest.mark.parametrize("labels", [{0: ["a"]}, {0: {"a": 1}}, [["a"]], 3])
def test_labels_that_are_no_names_are_refused(labels: object) -> None:
    with pytest.raises(ConfigError, match="id2label: wanted an object of names by label number"):
        YosoConfig(id2label=labels)  # type: ignore[arg-type]


def test_a_whole_config_json_as_keywords(tmp_path: Path) -> None:
    values = {
        "model_type": "yoso", "hidden_size": 32, "num_attention_heads": 4, "dtype": "float16",
        "transformers_version": "5.2.0", "sep_token_id": 2, "my_own": [1],
    }  # fmt: skip
    config = YosoConfig(**values)  # type: ignore[arg-type]
    assert config == YosoConfig.from_dict(values)
    assert (config.dtype, config.my_own, config.sep_token_id) == ("float16", [1], 2)
    assert config.torch_dtype == "float16"
    both = YosoConfig(extra={"a": 1, "b": 2}, b=3)  # type: ignore[call-arg]
    assert both.extra == {"a": 1, "b": 3}
    with pytest.raises(ConfigError, match=r"foldr: no such option; did you mean folder\?"):
        config.save_pretrained(tmp_path, foldr=True)
    assert copy.deepcopy(pickle.loads(pickle.dumps(config))) == config
    assert YosoConfig.from_dict({"torch_dtype": "float32"}).dtype == "float32"
    assert YosoConfig().dtype is None
    config.save_pretrained(save_directory=tmp_path, push_to_hub=False)
    assert YosoConfig.from_pretrained(tmp_path) == config
    assert YosoConfig.for_model("yoso", num_labels=3) == YosoConfig(num_labels=3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden_size": 3}, r"hiden_size: no such option; did you mean hidden_size\?"),
        ({"num_hashes": 3}, r"did you mean num_hash\?"),
        ({"output_hidden_state": True}, r"did you mean output_hidden_states\?"),
        ({"model_type": "bert"}, "model_type: wanted \"yoso\", got 'bert'"),
        ({"extra": 3, "my_own": 4}, "extra: wanted an object of fields, got 3"),
    ],
)
def test_keywords_that_are_nearly_fields(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        YosoConfig(**values)


@pytest.mark.parity
def test_no_field_of_transformers_counts_as_misspelt() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.YosoConfig().to_dict()
    config = YosoConfig(**theirs)
    assert theirs.keys() <= config.to_dict().keys()
    again = transformers.YosoConfig(**config.to_dict()).to_dict()
    assert {name: again[name] for name in theirs} == theirs


def test_what_transformers_configs_have_besides() -> None:
    config = YosoConfig(num_hash=3, extra={"my_own": 1})
    assert config.to_diff_dict() == {"num_hash": 3, "my_own": 1, "model_type": "yoso"}
    assert config.use_return_dict is True
    with pytest.raises(AttributeError, match=r"config\.override\(name=\.\.\.\) returns another"):
        config.update({"num_hash": 4})
    with pytest.raises(AttributeError, match=r"no attribute 'hiden_size'$"):
        config.hiden_size  # noqa: B018
    with pytest.raises(ConfigError, match=r"push_to_hub: wanted False, got True; .*upload_folder"):
        config.save_pretrained("nowhere", push_to_hub=True)
    with pytest.raises(ConfigError, match="model_type: wanted"):
        YosoConfig.for_model("bert")


def test_labels_are_numbered_in_a_dictionary_and_in_order_in_a_file(tmp_path: Path) -> None:
    names = {i: f"name {i}" for i in range(12)}
    config = YosoConfig(id2label=names)
    assert config.to_dict()["id2label"] == config.to_diff_dict()["id2label"] == names
    config.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["id2label"]
    assert list(stored) == [str(i) for i in names]
    assert YosoConfig.from_pretrained(tmp_path).id2label == names


@pytest.mark.parametrize("value", [None, 3, "given"])
def test_a_files_own_name_is_kept_as_it_is(value: Any, tmp_path: Path) -> None:
    config = YosoConfig.from_dict({"name_or_path": value})
    assert config.name_or_path == ""
    assert config.to_dict()["name_or_path"] == value
