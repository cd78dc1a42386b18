"""Names under what training wraps around a model; names of no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoint_builders import CONFIG, logits, model_folder, weights, write_torch

import yosort
from yosort.checkpoint import read_state
from yosort.conversion import convert
from yosort.errors import CheckpointError
from yosort.model.folder import read_weights

HEAD = "cls.predictions.bias"


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "model.",
        "yoso.",
        "model._orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.model.",
        "_fsdp_wrapped_module._orig_mod.",
        "_checkpoint_wrapped_module.",
        "_forward_module.",
        "0.auto_model.",
        "0.model.",
        "auto_model.",
        "backbone.",
        "encoder.",
        "net.",
        "model.model.",
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_what_wraps_every_weight_is_stripped(tmp_path: Path, prefix: str, bare: bool) -> None:
    arrays = weights(None if bare else "masked_lm")
    wanted = read_weights(model_folder(tmp_path / "plain", arrays))
    if bare:
        arrays = {name.removeprefix("yoso."): array for name, array in arrays.items()}
    wrapped = model_folder(tmp_path / "wrapped", {prefix + name: a for name, a in arrays.items()})
    got = read_weights(wrapped)
    assert set(got) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(got[name], array)
    if not bare:
        np.testing.assert_array_equal(logits(wrapped), logits(tmp_path / "plain"))
        done = convert(wrapped, tmp_path / "converted")
        assert set(read_state(done)) == set(wanted)


def test_wrappers_within_a_model(tmp_path: Path) -> None:
    inner = {
        name.replace("layer.1.", "layer.1._checkpoint_wrapped_module.").replace(
            "yoso.enc", "yoso._orig_mod.enc"
        ): array
        for name, array in weights().items()
    }
    assert set(read_weights(model_folder(tmp_path / "m", inner))) == set(weights())


def test_a_lightning_checkpoint(tmp_path: Path) -> None:
    arrays = {f"model.{name}": array for name, array in weights().items()}
    write_torch(tmp_path / "last.ckpt", arrays, wrap="state_dict")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match=r"'last\.ckpt'; `yosort convert .*last\.ckpt OUT`"):
        yosort.load(tmp_path)
    assert set(read_state(convert(tmp_path / "last.ckpt", tmp_path / "out"))) == set(weights())


def test_a_prefix_on_some_weights_is_shown(tmp_path: Path) -> None:
    arrays = {
        name if name == HEAD else f"student.{name}": array for name, array in weights().items()
    }
    with pytest.raises(CheckpointError) as caught:
        yosort.load(model_folder(tmp_path / "m", arrays))
    assert "missing: yoso.embeddings.word_embeddings.weight" in str(caught.value)
    assert "holds besides: 'student." in str(caught.value)
    assert "random" not in str(caught.value)


@pytest.mark.parametrize("head", ["cls.a", "classifier.a", "pre_classifier.a", "qa_outputs.a"])
def test_names_of_nothing_known_stand_before_those_of_heads(head: str, tmp_path: Path) -> None:
    arrays = weights()
    arrays[head] = arrays["student.b"] = arrays.pop("yoso.embeddings.word_embeddings.weight")
    with pytest.raises(CheckpointError) as caught:
        yosort.load(model_folder(tmp_path / "m", arrays))
    assert f"holds besides: 'student.b', '{head}'" in str(caught.value)


def test_names_of_nothing_known_are_shown(tmp_path: Path) -> None:
    arrays = {f"student.{name}": array for name, array in weights().items()}
    with pytest.raises(CheckpointError, match=r"got none of them, but 'student\.") as caught:
        yosort.YosoForMaskedLM.from_pretrained(model_folder(tmp_path / "m", arrays))
    assert f"({len(arrays)} names)" in str(caught.value)
    assert "random" not in str(caught.value)


def test_a_random_head_is_offered_only_where_it_helps(tmp_path: Path) -> None:
    arrays = weights(None)
    with pytest.raises(CheckpointError, match="allow_random_head"):
        yosort.load(model_folder(tmp_path / "whole", arrays))
    del arrays["yoso.embeddings.LayerNorm.bias"]
    with pytest.raises(CheckpointError) as caught:
        yosort.load(model_folder(tmp_path / "part", arrays))
    assert "allow_random_head" not in str(caught.value)


def test_weights_of_nothing_known_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another head's are left aside in silence, as transformers leaves them."""
    arrays = {**weights(), "foo": np.ones(3, np.float32), "qa_outputs.bias": np.ones(2, "f4")}
    yosort.load(model_folder(tmp_path / "m", arrays), device="cpu")
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.endswith("left aside, for no YOSO model has them: 'foo'")


def test_an_option_that_contradicts_the_config_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = model_folder(tmp_path / "m", weights())
    before, bits = CONFIG["num_hash"], CONFIG["hash_code_len"]
    convert(source, tmp_path / "same", num_hash=before)
    assert not caplog.records
    convert(source, tmp_path / "other", num_hash=before, hash_code_len=bits + 1)
    convert(source, tmp_path / "third", config=CONFIG, hash_code_len=bits + 1)
    said = f"hash_code_len is {bits} here, and becomes {bits + 1}"
    assert caplog.messages == [f"{source / 'config.json'}: {said}", f"config: {said}"]


def test_weights_that_are_there_twice_are_refused_by_their_folder(tmp_path: Path) -> None:
    norm = "yoso.embeddings.LayerNorm"
    arrays = {**weights(), f"{norm}.gamma": weights()[f"{norm}.weight"]}
    source = model_folder(tmp_path / "m", arrays)
    with pytest.raises(CheckpointError, match=rf"^{source}: wanted each weight once"):
        convert(source, tmp_path / "out")
