"""The types that weights are stored in: shown, and kept by a save."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import logits, model_folder, weights

import yosort
from yosort.checkpoint import State, read_state
from yosort.checkpoint.stored import Tensor
from yosort.cli.inspecting import collect
from yosort.files import is_mapped
from yosort.widened import Widened

HEAD = "cls.predictions.bias"


def bfloat16(arrays: dict[str, np.ndarray]) -> State:
    return State({name: Tensor("F32", a).cast("BF16", name=name) for name, a in arrays.items()})


@pytest.mark.parametrize(
    ("dtype", "saved"),
    [("bfloat16", "BF16"), ("float16", "F16"), ("float32", "F32"), ("float64", "F32")],
)
def test_a_stored_type_is_shown_and_kept(tmp_path: Path, dtype: str, saved: str) -> None:
    arrays: Any = weights()
    if dtype == "bfloat16":
        arrays = bfloat16(arrays)
    else:
        arrays = {name: a.astype(dtype) for name, a in arrays.items()}
    path = model_folder(tmp_path / "m", arrays, torch_dtype=dtype)
    assert collect(path)["stored_as"] == {dtype: sum(a.size for a in weights().values())}
    yosort.load(path, device="cpu").with_attention("expectation").save_pretrained(
        tmp_path / "again"
    )
    state, before = read_state(tmp_path / "again"), read_state(path)
    assert {state.tensor(name).dtype for name in state} == {saved}
    for name in before:
        np.testing.assert_array_equal(state[name], before[name])
    fields = json.loads((tmp_path / "again" / "config.json").read_text())
    assert fields["torch_dtype"] == ("float32" if saved == "F32" else dtype)
    np.testing.assert_array_equal(logits(tmp_path / "again"), logits(path))


def test_mixed_types_are_kept_each(tmp_path: Path) -> None:
    arrays = weights()
    low = bfloat16({name: a for name, a in arrays.items() if "LayerNorm" not in name})
    norms = {name: Tensor("F32", a) for name, a in arrays.items() if name not in low}
    mixed = State({**{name: low.tensor(name) for name in low}, **norms})
    path = model_folder(tmp_path / "m", mixed, dtype="bfloat16")
    count = sum(a.size for name, a in arrays.items() if "LayerNorm" in name)
    assert collect(path)["stored_as"]["float32"] == count
    assert collect(path)["stored_as"].keys() == {"float32", "bfloat16"}
    yosort.load(path).save_pretrained(tmp_path / "again")
    state = read_state(tmp_path / "again")
    assert {name: state.tensor(name).dtype for name in state} == {
        name: mixed.tensor(name).dtype for name in mixed
    }
    assert json.loads((tmp_path / "again" / "config.json").read_text())["dtype"] == "float32"


def test_a_weight_that_was_changed_is_not_rounded(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "m", bfloat16(weights()))
    model = yosort.load(path, device="cpu")
    exact = np.full_like(model._parameters[HEAD], 1 + 2**-20)
    model._parameters = {**model._parameters, HEAD: exact}
    model.save_pretrained(tmp_path / "again")
    state = read_state(tmp_path / "again")
    np.testing.assert_array_equal(state[HEAD], exact)
    assert state.tensor("yoso.embeddings.LayerNorm.bias").dtype == "BF16"


@pytest.mark.parametrize("by_folder", [True, False])
def test_a_model_that_was_pickled_saves_the_same_types(tmp_path: Path, by_folder: bool) -> None:
    path = model_folder(tmp_path / "m", bfloat16(weights()), torch_dtype="bfloat16")
    model = yosort.load(path, device="cpu")
    if not by_folder:
        os.utime(path / "model.safetensors", ns=(0, 0))  # so that the weights travel
    pickle.loads(pickle.dumps(model)).save_pretrained(tmp_path / "again")
    state = read_state(tmp_path / "again")
    assert {state.tensor(name).dtype for name in state} == {"BF16"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_checkpoint_lies_in_memory_once(dtype: str, tmp_path: Path) -> None:
    """No float32 copy of it is kept beside what the backend has packed."""
    arrays: Any = weights()
    if dtype == "bfloat16":
        arrays = bfloat16(arrays)
    else:
        arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    model = yosort.load(model_folder(tmp_path / "m", arrays), device="cpu")
    kept = model._parameters
    assert {type(weight) for weight in kept.values()} == {Widened}
    assert all(is_mapped(weight.bits) for weight in kept.values())
    name = "yoso.embeddings.word_embeddings.weight"
    assert kept[name].shape == arrays[name].shape
    assert kept[name].size == arrays[name].size
    wanted = np.asarray(arrays[name], np.float32)
    np.testing.assert_array_equal(kept[name], wanted)
    np.testing.assert_array_equal(kept[name][2:4], wanted[2:4])
    rows = np.array([3, 0, 3])
    np.testing.assert_array_equal(kept[name].take(rows, axis=0), wanted[rows])
