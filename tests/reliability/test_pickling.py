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
from yosort.checkpoint import read_state, write_state
from yosort.model import pickling
from yosort.model.pickling import content_of
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
        {"dtype": "bfloat16"},
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


def replace_by_copies(folder: Path) -> None:
    """Leave the same contents under the same names, with the times of now."""
    for path in list(folder.iterdir()):
        path.rename(path.with_suffix(".old"))
        path.write_bytes(path.with_suffix(".old").read_bytes())
        path.with_suffix(".old").unlink()


def test_a_copy_of_the_folder_is_as_good(folder: Path) -> None:
    """As a container's image has it, or rsync: the receiver finds the contents, not the times."""
    model = yosort.load(folder, device="cpu")
    (folder / "pytorch_model.bin").write_bytes(b"of no use beside model.safetensors")
    data = pickle.dumps(model)
    assert len(data) < 3000
    replace_by_copies(folder)
    (folder / "pytorch_model.bin").unlink()
    os.utime(folder / "tokenizer.json", ns=(0, 0))
    other = pickle.loads(data)
    np.testing.assert_array_equal(logits(other), logits(model))
    assert len(pickle.dumps(other)) < 3000  # by its name, from there on too
    np.testing.assert_array_equal(logits(sent(other)), logits(model))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_folder_that_changes_on_the_way_is_an_error(folder: Path, name: str) -> None:
    """Also by one bit of a file of the same size, whose times are set back."""
    model = yosort.load(folder, device="cpu")
    data = pickle.dumps(model)
    path = folder / name
    found = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    wanted = rf"model: wanted the folder .* it has changed since: {name} is another"
    with pytest.raises(CheckpointError, match=wanted):
        pickle.loads(data)
    assert len(pickle.dumps(model)) > 3000  # its weights


def test_a_folder_that_goes_or_gets_files_on_the_way_is_an_error(
    folder: Path, tmp_path: Path
) -> None:
    data = pickle.dumps(yosort.load(folder, device="cpu"))
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"changed since: added_tokens.json came or went"):
        pickle.loads(data)
    folder.rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"model: wanted the folder .* it is not here"):
        pickle.loads(data)


def test_shards_travel_by_name(folder: Path) -> None:
    whole = yosort.load(folder, device="cpu")
    state = read_state(folder)
    write_state(folder, {name: state[name] for name in state}, max_shard_size=400_000)
    model = yosort.load(folder, device="cpu")
    assert model._origin is not None
    assert len([name for name in model._origin.files if name.startswith("model-")]) > 1
    data = pickle.dumps(model)
    replace_by_copies(folder)
    np.testing.assert_array_equal(logits(pickle.loads(data)), logits(whole))
    index = folder / "model.safetensors.index.json"
    text = index.read_text()
    index.write_text(text.replace("{", "{ ", 1))
    with pytest.raises(CheckpointError, match=r"index.json is another"):
        pickle.loads(data)
    index.write_text(text)
    shard = max(folder.glob("model-*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=rf"{shard.name} is another"):
        pickle.loads(data)


def test_a_folder_that_changes_while_it_is_pickled_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = yosort.load(folder, device="cpu")

    def late(path: Path, stamp: pickling.Stamp) -> bytes:
        path.write_bytes(path.read_bytes())  # any writing counts
        return content_of(path, stamp)

    monkeypatch.setattr(pickling, "content_of", late)
    with pytest.raises(CheckpointError, match="it has changed since"):
        pickle.dumps(model)


def test_contents_are_read_once_and_where_times_do_not_tell(folder: Path) -> None:
    content_of.cache_clear()
    model = yosort.load(folder, device="cpu")
    assert content_of.cache_info().misses == 0
    first, second = pickle.dumps(model), pickle.dumps(model)
    assert first == second
    assert model._origin is not None
    assert content_of.cache_info().misses == len(model._origin.files)
    content_of.cache_clear()
    pickle.loads(first)
    assert content_of.cache_info().misses == 0  # on this machine times do
    os.utime(folder / "model.safetensors")
    pickle.loads(first)
    pickle.loads(first)
    assert content_of.cache_info().misses == 1


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


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "\\u0000"}}']
)
def test_an_index_that_breaks_on_the_way_is_an_error(folder: Path, text: str) -> None:
    state = read_state(folder)
    write_state(folder, {name: state[name] for name in state}, max_shard_size=400_000)
    data = pickle.dumps(yosort.load(folder, device="cpu"))
    (folder / "model.safetensors.index.json").write_text(text)
    wanted = r"model: wanted the folder .* (is not here|has changed since: model.*came or went)"
    with pytest.raises(CheckpointError, match=wanted):
        pickle.loads(data)


def test_a_file_that_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    stamp = pickling.Stamp(1, 2, 3)
    with pytest.raises(CheckpointError, match="gone: cannot be read: "):
        content_of(tmp_path / "gone", stamp)


def test_files_that_make_a_model_are_noted_and_no_others(folder: Path, tmp_path: Path) -> None:
    made = {"model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    origin = pickling.Origin.of(folder)
    assert origin is not None
    assert origin.folder == folder.absolute()
    assert origin.files.keys() == made | {"special_tokens_map.json"}
    for name, stamp in origin.files.items():
        found = (folder / name).stat()
        assert stamp == (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    assert origin.is_unchanged()
    origin.check()
    nothing = pickling.Origin.of(tmp_path / "nowhere")
    assert nothing is not None
    assert not nothing.files
    assert not nothing.is_unchanged()
