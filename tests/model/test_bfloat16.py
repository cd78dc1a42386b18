"""bfloat16 models: close to float32, half as large, the same bits whatever else is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from tolerances import BFLOAT16_MODEL, OP

import yosort
from yosort.conversion import convert
from yosort.errors import ConfigError
from yosort.model.encoder import Layer
from yosort.ops import definitions
from yosort.tasks import bundled_model

IDS = np.random.default_rng(0).integers(5, 8000, (3, 80))


def load(folder: Any, **options: Any) -> Any:
    return yosort.load(folder, **{"device": "cpu", "dtype": "bfloat16", **options})


@pytest.mark.parametrize("attention", ["expectation", "sampled"])
def test_logits_stay_close_and_do_not_depend_on_threads_or_company(attention: str) -> None:
    model = load(bundled_model(), attention=attention)
    logits = model(IDS).logits
    if attention == "expectation":
        exact = load(bundled_model(), dtype="float32")(IDS).logits
        assert 0 < relative_error(logits, exact) < BFLOAT16_MODEL
    for threads in (1, 3):
        other = load(bundled_model(), attention=attention, num_threads=threads)(IDS).logits
        np.testing.assert_array_equal(other, logits)
    mask = np.ones_like(IDS)
    mask[1, 50:] = 0
    batch = model(IDS, mask).logits
    for i, n in enumerate([80, 50, 80]):
        np.testing.assert_array_equal(model(IDS[i : i + 1, :n]).logits[0], batch[i, :n])


def test_a_checkpoint_of_bfloat16_is_what_float32_is_rounded_to(tmp_path: Path) -> None:
    stored = convert(bundled_model(), tmp_path / "stored", dtype="bfloat16")
    small, exact = load(stored), load(stored, dtype="float32")
    assert 0 < relative_error(small(IDS).logits, exact(IDS).logits) < BFLOAT16_MODEL
    rounded = {
        name: definitions.bfloat16(np.asarray(value))
        for name, value in load(bundled_model())._parameters.items()
    }
    for name, value in small._parameters.items():
        np.testing.assert_array_equal(np.asarray(value), rounded[name])


def test_weights_take_half_the_memory() -> None:
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        sizes[dtype] = 0

        def count(packed: Any, dtype: str = dtype) -> Any:
            sizes[dtype] += packed.panels.nbytes
            return packed

        for layer in load(bundled_model(), dtype=dtype)._encoder.layers:
            Layer.map(layer, count)
    assert sizes["bfloat16"] == sizes["float32"] / 2 > 0


def test_its_name_is_its_type(tmp_path: Path) -> None:
    model = load(bundled_model(), dtype="bf16")
    assert model.dtype == "bfloat16"
    assert "dtype='bfloat16'" in repr(model)
    assert load(bundled_model(), device="auto").device == "cpu"
    with pytest.raises(ConfigError, match='dtype: wanted "float32" of the reference'):
        load(bundled_model(), device="reference")
    model.save_pretrained(tmp_path)  # what was read is what is saved
    for name, value in load(tmp_path)._parameters.items():
        np.testing.assert_array_equal(value, model._parameters[name])


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_a_small_head_computes_in_float32_whatever_the_encoder_does(dtype: str) -> None:
    config = yosort.YosoConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_labels=4,
        intermediate_size=32, max_position_embeddings=16, initializer_range=0.3,
    )  # fmt: skip
    model = yosort.YosoForTokenClassification(config, device="cpu", dtype=dtype)
    output = model([list(range(16))], output_hidden_states=True)
    hidden = np.asarray(output.hidden_states[-1], np.float64)
    weight = np.asarray(model._parameters["classifier.weight"], np.float64)
    assert relative_error(output.logits, hidden @ weight.T) < OP
