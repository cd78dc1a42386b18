"""Models and pipelines travel to other processes, and compute the same bits there."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import TEXTS, make

import yosort
from yosort import CheckpointError, DeviceError, YosoConfig
from yosort.tasks.stream import Failure

IDS = np.random.default_rng(0).integers(3, 50, (2, 40))
CONFIG = YosoConfig(
    vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=48, max_position_embeddings=64, num_hash=4, hash_code_len=4,
)  # fmt: skip


def sent(value: Any) -> Any:
    """Return what another process would receive."""
    return pickle.loads(pickle.dumps(value))


def logits(model: Any) -> Any:
    """Return a model's answer; module level, so that worker processes find it."""
    return model(IDS).logits


def first(fill: Any) -> Any:
    """Return a pipeline's answer; module level, so that worker processes find it."""
    return fill("A <mask> barks.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model's folder."""
    return make(tmp_path / "model", "YosoForMaskedLM")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "sampled", "num_hash": 3, "seed": 5},
        {"attention": "auto:20", "padding": "attended", "num_threads": 1},
        {"dtype": "int8"},
        {"hidden_act": "relu"},
    ],
    ids=str,
)
def test_a_model_of_a_folder_travels_by_its_name(folder: Path, options: dict[str, Any]) -> None:
    model = yosort.load(folder, device="cpu", **options)
    assert len(pickle.dumps(model)) < 3000
    other = sent(model)
    np.testing.assert_array_equal(logits(other), logits(model))
    assert other.config == model.config
    for name in ("attention", "num_hash", "seed", "padding", "device", "dtype"):
        assert getattr(other, name) == getattr(model, name)
    assert other.ops.pool.num_threads == model.ops.pool.num_threads
    assert other.tokenizer.encoding(TEXTS[0]).ids == model.tokenizer.encoding(TEXTS[0]).ids
    np.testing.assert_array_equal(logits(sent(other)), logits(model))


def test_another_form_of_attention_travels(folder: Path) -> None:
    model = yosort.load(folder, device="cpu").with_attention("sampled")
    other = sent(model)
    assert other.attention == "sampled"
    np.testing.assert_array_equal(logits(other), logits(model))
    assert sent(model.with_attention("auto:5")).attention == "auto:5"
    np.testing.assert_array_equal(
        logits(sent(model.with_attention("expectation"))), logits(yosort.load(folder))
    )


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_of_a_config_travels_with_its_weights(tied: bool) -> None:
    config = CONFIG.override(tie_word_embeddings=tied)
    model = yosort.YosoForMaskedLM(config, seed=7, device="cpu", attention="sampled")
    model._parameters["yoso.embeddings.LayerNorm.weight"][:] = 2  # as no seed would draw it
    model = sent(model)
    other = sent(model)
    np.testing.assert_array_equal(logits(other), logits(model))
    assert other.num_parameters() == model.num_parameters()  # what is tied stays tied


def test_a_random_head_travels_with_its_weights(tmp_path: Path) -> None:
    folder = make(tmp_path, "YosoModel")
    model = yosort.YosoForSequenceClassification.from_pretrained(folder, allow_random_head=True)
    np.testing.assert_array_equal(logits(sent(model)), logits(model))


def test_a_folder_that_changed_before_sending_is_replaced_by_the_weights(folder: Path) -> None:
    model = yosort.load(folder, device="cpu")
    wanted = logits(model)
    yosort.YosoForMaskedLM(model.config, seed=99).save_pretrained(folder)
    assert not np.array_equal(logits(yosort.load(folder)), wanted)
    np.testing.assert_array_equal(logits(sent(model)), wanted)


def test_a_folder_that_vanished_before_sending_is_replaced_by_the_weights(folder: Path) -> None:
    fill = yosort.pipeline("fill-mask", folder, device="cpu")
    wanted = first(fill)
    shutil.rmtree(folder)
    assert first(sent(fill)) == wanted
    assert sent(fill.model).tokenizer.encoding("A dog").ids == fill.tokenizer.encoding("A dog").ids


def test_a_folder_that_changes_on_the_way_is_an_error(folder: Path, tmp_path: Path) -> None:
    data = pickle.dumps(yosort.load(folder, device="cpu"))
    weights = folder / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    with pytest.raises(CheckpointError, match=r"model: wanted the folder .* it has changed since"):
        pickle.loads(data)
    folder.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"model: wanted the folder .* it is not here"):
        pickle.loads(data)


def test_a_copy_shares_the_weights(folder: Path) -> None:
    model = yosort.load(folder, device="cpu")
    shutil.rmtree(folder)
    for other in (copy.copy(model), copy.deepcopy(model)):
        assert other is not model
        assert other._parameters is model._parameters
        np.testing.assert_array_equal(logits(other), logits(model))


def test_a_model_of_a_gpu_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = yosort.load(folder, device="cpu")
    monkeypatch.setattr(model._ops, "device", "cuda:7", raising=False)
    with pytest.raises(DeviceError, match="device='cuda:7'"):
        sent(model)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_worker_processes(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"the system has no {method}")
    fill = yosort.pipeline("fill-mask", device="cpu", attention="sampled", samples=2)
    model = yosort.YosoForMaskedLM(CONFIG, device="cpu")
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(first, (fill,)) == first(fill)
        np.testing.assert_array_equal(pool.apply(logits, (model,)), logits(model))


@pytest.mark.parametrize("library", ["cloudpickle", "joblib.externals.cloudpickle"])
def test_functions_that_hold_a_pipeline(library: str) -> None:
    """As joblib's workers and Spark's user-defined functions get them."""
    cloudpickle = pytest.importorskip(library)
    fill = yosort.pipeline("fill-mask", device="cpu")
    other = pickle.loads(cloudpickle.dumps(lambda text: fill(text)))
    assert other("A <mask> barks.") == first(fill)


@pytest.mark.parametrize("task", ["fill-mask", "feature-extraction"])
def test_pipelines_of_the_bundled_model(task: str) -> None:
    pipe = yosort.pipeline(task)
    for other in (sent(pipe), copy.deepcopy(pipe), copy.copy(pipe)):
        assert other("A <mask> barks.") == pipe("A <mask> barks.")


def test_what_calls_return_and_raise_travels() -> None:
    output = yosort.YosoForMaskedLM(CONFIG, device="cpu")(IDS, output_hidden_states=True)
    other = sent(output)
    assert type(other) is type(output)
    assert other.keys() == output.keys()
    np.testing.assert_array_equal(other.logits, output.logits)
    assert sent(CONFIG) == CONFIG
    failure = sent(Failure(3, yosort.InputError("wanted a text")))
    assert (failure.index, str(failure.error)) == (3, "wanted a text")
