"""What a model says of itself, where it came from and how it was asked to run."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import make
from test_signatures import LOADING

import yosort
from yosort import ConfigError, DeviceError, InputError, YosoConfig
from yosort.machine import WORTH_ASKING
from yosort.model.architectures import ARCHITECTURES
from yosort.model.facts import Device
from yosort.model.options import LOAD_OPTIONS, LoadOptions, is_load_option, read_loading

CONFIG = YosoConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_labels=3,
    intermediate_size=24, max_position_embeddings=12, type_vocab_size=2, num_hash=5,
    conv_window=3,
)  # fmt: skip
#: Weights of the encoder: the tables, their scales, and of each layer q, k, v, the window of each
#: head, the output, its norm, up, down and their norm. Positions count from 2.
TABLES = (30 + 12 + 2 + 2) * 16
LAYER = 3 * (16 * 16 + 16) + 2 * 3 + (16 * 16 + 16) + 32 + (16 * 24 + 24) + (24 * 16 + 16) + 32
ENCODER = TABLES + 32 + 2 * LAYER


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("YosoModel", 0),
        ("YosoForMaskedLM", 16 * 16 + 16 + 32 + 30),  # the decoder is the table of words
        ("YosoForSequenceClassification", 16 * 16 + 16 + 16 * 3 + 3),
        ("YosoForMultipleChoice", 16 * 16 + 16 + 16 + 1),
        ("YosoForTokenClassification", 16 * 3 + 3),
        ("YosoForQuestionAnswering", 16 * 2 + 2),
    ],
)
def test_a_model_counts_its_weights(name: str, head: int) -> None:
    model = getattr(yosort, name)(CONFIG, device="cpu")
    assert model.num_parameters() == model.num_parameters(only_trainable=True) == ENCODER + head
    assert model.num_parameters(exclude_embeddings=True) == ENCODER + head - TABLES
    for option in ("only_trainable", "exclude_embeddings"):
        with pytest.raises(InputError, match=f"^{option}: wanted True or False, got 1"):
            model.num_parameters(**{option: 1})


def test_a_decoder_that_is_not_tied_counts_too() -> None:
    model = yosort.YosoForMaskedLM(CONFIG.override(tie_word_embeddings=False), device="cpu")
    assert model.num_parameters() == ENCODER + 16 * 16 + 16 + 32 + 30 + 30 * 16 + 30


def test_a_model_of_a_config_comes_from_nowhere() -> None:
    model = yosort.YosoModel(CONFIG, device="cpu")
    assert (model.name_or_path, model.tokenizer, model.sentence) == ("", None, None)
    assert repr(model).startswith("YosoModel('', 2 layers, hidden_size=16, attention='")
    assert (model.base_model_prefix, model.main_input_name) == ("yoso", "input_ids")


def test_a_model_of_a_folder_reads_its_tokenizer_once_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "model", "YosoModel")
    monkeypatch.chdir(tmp_path)
    model = yosort.load("model", device="cpu")
    assert model.name_or_path == "model"
    monkeypatch.chdir("/")
    assert model.tokenizer is not None
    assert model.tokenizer is model.tokenizer


@pytest.mark.parametrize(
    ("attention", "mode", "first"),
    [("sampled", "sampled", 0), ("auto:7", "auto:7", 7), ("AUTO:0", "auto:0", 0)],
)
def test_from_where_texts_are_sampled(attention: str, mode: str, first: int) -> None:
    model = yosort.YosoModel(CONFIG, device="cpu", attention=attention, num_hash=3, seed=9)
    assert (model.attention, model.sampled_from) == (mode, first)
    assert (model.num_hash, model.seed) == (3, 9)
    exact = model.with_attention("expectation")
    assert exact.sampled_from > 10**15
    assert (exact.attention, exact.num_hash, exact.seed) == ("expectation", 3, 9)
    assert yosort.YosoModel(CONFIG, device="cpu").seed == 0


def test_a_form_of_attention_is_a_whole_word() -> None:
    assert yosort.YosoModel(CONFIG, attention="auto:" + "9" * 18).sampled_from == 10**18 - 1
    for odd in ("auto:" + "9" * 19, "auto:7 ", " sampled", "", "_"):
        with pytest.raises(ConfigError, match="attention: wanted None"):
            yosort.YosoModel(CONFIG, attention=odd)


def test_a_device_and_a_type_are_texts_that_say_more() -> None:
    model = yosort.YosoModel(CONFIG, device="cpu")
    assert (model.device, model.device.type) == ("cpu", "cpu")
    assert Device("cuda:1").type == "cuda"
    assert model.dtype == np.float32
    assert isinstance(model.dtype, np.dtype)
    assert yosort.YosoModel(CONFIG, device="cpu", dtype="bfloat16").dtype == "bfloat16"


def test_an_output_is_brought_to_the_host() -> None:
    model = yosort.YosoModel(CONFIG, device="cpu")
    hidden = model([[3, 4]]).last_hidden_state
    np.testing.assert_array_equal(model.to_host(hidden), hidden)
    assert model.to_host(hidden[0, 0, 0]) == hidden[0, 0, 0]
    for odd in ([1.0], 3, "a", None):
        with pytest.raises(InputError, match="array: wanted one of a model's output, got "):
            model.to_host(odd)


def test_the_memory_of_a_model_is_that_of_its_weights() -> None:
    """Of 4 bytes each, said before any of them is drawn."""
    config = CONFIG.override(vocab_size=2**42)
    needed = 4 * (ENCODER + 16 * (2**42 - 30)) / 1e9
    with pytest.raises(DeviceError, match=rf"cpu: the model needs at least {needed:.2f} GB"):
        yosort.YosoModel(config, device="cpu")


def test_a_model_is_asked_for_from_the_least_that_is_worth_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = CONFIG.override(conv_window=None)
    rows, rest = divmod(WORTH_ASKING // 4 - (ENCODER - 2 * 2 * 3), 16)
    assert rest == 0
    monkeypatch.setattr("yosort.model.base.host_memory", lambda: 0)
    with pytest.raises(DeviceError, match=f"the model needs at least {WORTH_ASKING / 1e9:.2f} GB"):
        yosort.YosoModel(config.override(vocab_size=30 + rows), device="cpu")
    yosort.YosoModel(config, device="cpu")


OPTIONS = {
    name: LOADING[name]
    for name in ("device", "dtype", "attention", "num_hash", "seed", "padding", "num_threads")
}


def test_options_mean_the_same_wherever_they_are_left_out() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(LoadOptions)}
    made = inspect.signature(yosort.YosoModel).parameters
    assert fields == OPTIONS
    assert {name: made[name].default for name in OPTIONS} == OPTIONS
    assert LoadOptions(seed=None) == LoadOptions()  # type: ignore[arg-type]
    found = read_loading({"config": CONFIG})
    assert (found.options, found.hub, found.fields) == (LoadOptions(), {}, {})
    assert (found.allow_random_head, found.use_safetensors) == (False, None)


def test_numbers_of_numpy_are_kept_as_python_s() -> None:
    options = LoadOptions(num_hash=np.int64(3), seed=np.uint8(4))  # type: ignore[arg-type]
    assert (options.num_hash, options.seed) == (3, 4)
    assert type(options.num_hash) is type(options.seed) is int


def test_options_of_loading_are_known_by_name() -> None:
    """By ours, by those of the config and by transformers'; no other word is one."""
    named = {*LOADING, "use_safetensors"} - {"source", "fields"}
    assert set(LOAD_OPTIONS) == named
    theirs = {
        "device_map", "torch_dtype", "use_auth_token", "ignore_mismatched_sizes", "num_labels",
        "id2label", "output_hidden_states", "trust_remote_code", "attn_implementation",
    }  # fmt: skip
    assert all(map(is_load_option, named | theirs))
    assert not any(map(is_load_option, ("top_k", "source", "batch_size", "extra")))


@pytest.mark.parametrize("name", ["allow_random_head", "config", "use_safetensors", "device_map"])
def test_an_option_that_is_misspelt_is_offered_as_it_is(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"x{name}: no such option; did you mean {name}\?"):
        yosort.load("no/such/folder", **{f"x{name}": None})


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_argument_of_a_call_that_is_misspelt_is_named_by_every_class(name: str) -> None:
    model = getattr(yosort, name)(CONFIG, device="cpu")
    with pytest.raises(InputError, match=r"atention_mask: .*did you mean attention_mask\?"):
        model([[3, 4]], atention_mask=[[1, 1]])


def test_saving_names_its_own_arguments(tmp_path: Path) -> None:
    model = yosort.YosoModel(CONFIG, device="cpu")
    with pytest.raises(ConfigError, match=r"foldre: no such option; did you mean folder\?"):
        model.save_pretrained(tmp_path / "a", foldre=1)
    odd: Any = 3
    with pytest.raises((ConfigError, yosort.CheckpointError), match=r"^folder: wanted "):
        model.save_pretrained(odd)


def test_warnings_are_of_the_logger_that_is_named_for_the_package(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yosort.YosoModel(CONFIG).save_pretrained(tmp_path / "encoder")
    model = yosort.YosoForQuestionAnswering.from_pretrained(
        tmp_path / "encoder", allow_random_head=True
    )
    (tmp_path / "encoder" / "model.safetensors").unlink()
    (tmp_path / "encoder" / "config.json").unlink()
    (tmp_path / "encoder").rmdir()
    model.save_pretrained(tmp_path / "other")
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert [record.name for record in warned] == ["yosort"] * 2
    assert "2 weights of the question_answering head drawn at random" in warned[0].getMessage()
    assert "other: written without a tokenizer" in warned[1].getMessage()


@pytest.mark.parametrize("named", [None, [], ["BertModel", "RobertaForMaskedLM"]])
def test_a_class_that_is_none_is_not_guessed(named: Any, tmp_path: Path) -> None:
    yosort.YosoModel(CONFIG).save_pretrained(tmp_path)
    fields = {**CONFIG.to_dict(), "architectures": named}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match="architectures: wanted one of YosoModel, ") as caught:
        yosort.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert f"YosoForQuestionAnswering, got {named or []}; call" in str(caught.value)
    fields["architectures"] = ["BertModel", "YosoModel"]
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert type(yosort.load(tmp_path, device="cpu")) is yosort.YosoModel
    other = CONFIG.override(architectures=["YosoForMaskedLM"])
    with pytest.raises(yosort.CheckpointError, match="The checkpoint has no such head"):
        yosort.load(tmp_path, config=other)
