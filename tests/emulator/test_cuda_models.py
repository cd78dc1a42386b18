"""Whole models on the emulated GPU against the CPU: every class, every output, and the errors."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from tolerances import HALF_MODEL, PARITY

import yosort

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
    "hash_code_len": 4,
    "num_hash": 6,
    "num_labels": 3,
}
IDS = np.random.default_rng(0).integers(3, 50, (2, 9))
MASK = np.array([[1, 1, 1, 0, 1, 1, 0, 0, 0], [1] * 9])

#: class -> what it is called with besides ids, mask and states
CLASSES: dict[str, dict[str, Any]] = {
    "YosoModel": {},
    "YosoForMaskedLM": {"labels": IDS},
    "YosoForSequenceClassification": {"labels": [0, 2]},
    "YosoForTokenClassification": {"labels": IDS % 3},
    "YosoForQuestionAnswering": {"start_positions": [1, 2], "end_positions": [2, 5]},
    "YosoForMultipleChoice": {"labels": [1]},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each class, with a convolution."""
    made = {}
    for name in CLASSES:
        made[name] = tmp_path_factory.mktemp(name)
        config = yosort.YosoConfig(**SIZES, conv_window=3)
        getattr(yosort, name)(config, seed=1).save_pretrained(made[name])
    return made


def flatten(output: Any) -> list[Any]:
    """Return all arrays of an output, tuples of states opened."""
    arrays: list[Any] = []
    for field in output.to_tuple():
        arrays.extend(field if isinstance(field, tuple) else (field,))
    return arrays


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("attention", ["expectation", "sampled"])
def test_classes_equal_the_cpu(
    cupy: ModuleType, folders: dict[str, Path], name: str, attention: str
) -> None:
    call: dict[str, Any] = {**CLASSES[name], "attention_mask": MASK, "head_mask": [1, 0.5, 2]}
    call |= {"output_hidden_states": True, "output_attentions": True, "token_type_ids": IDS % 2}
    call["input_ids"] = IDS
    if name == "YosoForMultipleChoice":
        for field in ("input_ids", "attention_mask", "token_type_ids"):
            call[field] = np.asarray(call[field])[None]
    answers = []
    for device in ("cuda", "cpu"):
        model = yosort.load(folders[name], device=device, attention=attention, seed=5)
        answers.append(flatten(model(**call)))
    assert model.device == "cpu"
    for got, wanted in zip(*answers, strict=True):
        assert type(got) is cupy.ndarray
        assert got.dtype == wanted.dtype
        assert relative_error(got.get(), wanted) <= PARITY


def test_arrays_of_the_device_are_taken_as_input(cupy: Any, folders: dict[str, Path]) -> None:
    model = yosort.load(folders["YosoForMaskedLM"], device="cuda:0")
    assert model.device == "cuda:0"
    got = model(cupy.asarray(IDS), attention_mask=cupy.asarray(MASK)).logits
    np.testing.assert_array_equal(got.get(), model(IDS, MASK).logits.get())
    embeds = np.random.default_rng(1).standard_normal((2, 9, 24)).astype(np.float32)
    wanted = yosort.load(folders["YosoForMaskedLM"], device="cpu")(inputs_embeds=embeds).logits
    assert relative_error(model(inputs_embeds=cupy.asarray(embeds)).logits.get(), wanted) <= PARITY


def test_half_precision_is_near(cupy: ModuleType, folders: dict[str, Path]) -> None:
    folder = folders["YosoForSequenceClassification"]
    half = yosort.load(folder, device="cuda", dtype="float16", attention="expectation")
    assert half.dtype == np.float16
    got = half(IDS, MASK).logits
    assert got.dtype == np.float16
    wanted = yosort.load(folder, device="cpu", attention="expectation")(IDS, MASK).logits
    assert relative_error(got.get(), wanted) <= HALF_MODEL


def test_auto_takes_the_gpu(cupy: ModuleType, folders: dict[str, Path]) -> None:
    assert yosort.load(folders["YosoModel"]).device == "cuda:0"


def load(folder: Path, device: str) -> Any:
    """Load with a device alone."""
    return yosort.load(folder, device=device)


def test_why_there_is_no_gpu(
    cupy: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders["YosoModel"]
    with pytest.raises(yosort.DeviceError, match=r"'cuda:3': this machine has 1 CUDA device"):
        load(folder, "cuda:3")
    with pytest.raises(yosort.ConfigError, match='wanted "float32" or "float16" on a GPU'):
        yosort.load(folder, device="cuda", dtype="float64")
    with monkeypatch.context() as patch:
        patch.setattr(
            cupy.cuda, "Device", lambda index: type("D", (), {"compute_capability": "61"})
        )
        with pytest.raises(yosort.DeviceError, match=r"wanted compute capability 7.5 .* got 6.1"):
            load(folder, "cuda")

    def no_driver() -> int:
        raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device")

    with monkeypatch.context() as patch:
        patch.setattr(cupy.cuda.runtime, "getDeviceCount", no_driver)
        with pytest.raises(yosort.DeviceError, match=r"cudaErrorNoDevice.*NVIDIA driver"):
            load(folder, "cuda")
        assert load(folder, "auto").device == "cpu"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cupy", None)  # as if not installed
        with pytest.raises(yosort.DeviceError, match=r"pip install 'yosort\[cuda13\]'"):
            load(folder, "cuda")


def test_out_of_memory_names_need_and_free(
    cupy: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = yosort.load(folders["YosoModel"], device="cuda")
    before = model(IDS).last_hidden_state.get()

    def full(*_: Any) -> Any:
        raise cupy.cuda.memory.OutOfMemoryError("Out of memory allocating 1,234 bytes.")

    with monkeypatch.context() as patch:
        patch.setattr(cupy, "empty", full)
        with pytest.raises(
            yosort.DeviceError, match=r"cuda:0: .*1,234 bytes.* 8192 MB of 16384 MB"
        ):
            model(IDS)
    np.testing.assert_array_equal(model(IDS).last_hidden_state.get(), before)
