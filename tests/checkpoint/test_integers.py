"""int8 models: quantised at load, converted, saved, refused; close to float32 in all of that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from safetensors.numpy import load_file
from tolerances import INT8_MODEL

import yosort
from yosort.checkpoint import join_scales, read_state, split_scales, write_state
from yosort.checkpoint.stored import State
from yosort.cli import main
from yosort.cli.inspecting import collect
from yosort.conversion import convert
from yosort.errors import CheckpointError, ConfigError
from yosort.quantized import Quantized
from yosort.tasks import bundled_model
from yosort.tuning.int8 import left_in_float

IDS = np.random.default_rng(0).integers(5, 8000, (3, 80))
DOWN = "yoso.encoder.layer.1.output.dense"


def load(folder: Any, **options: Any) -> Any:
    return yosort.load(folder, **{"device": "cpu", "dtype": "int8", **options})


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(bundled_model(), tmp_path_factory.mktemp("int8") / "model", dtype="int8")


@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with a channel that takes all of the scale and gives little for it."""
    folder = tmp_path_factory.mktemp("outlier")
    model = load(bundled_model(), dtype="float32")
    parameters = {k: np.array(v, np.float32) for k, v in model._parameters.items()}
    up, channel = "yoso.encoder.layer.1.intermediate.dense.", 11
    parameters[up + "weight"][channel] *= 300
    parameters[up + "bias"][channel] = 300  # on for every token
    parameters[DOWN + ".weight"][:, channel] /= 300
    del parameters["cls.predictions.decoder.weight"]
    write_state(folder, parameters)
    replace(model.config, architectures=("YosoForMaskedLM",)).save(folder)
    return folder


@pytest.mark.parametrize("attention", ["expectation", "sampled"])
def test_logits_stay_close_and_do_not_depend_on_threads_or_company(attention: str) -> None:
    exact = load(bundled_model(), dtype="float32", attention="expectation")(IDS).logits
    logits = [
        load(bundled_model(), attention=attention, num_threads=threads)(IDS).logits
        for threads in (1, 2, 5)
    ]
    if attention == "expectation":
        assert relative_error(logits[0], exact) < INT8_MODEL
    for other in logits[1:]:
        np.testing.assert_array_equal(other, logits[0])
    model = load(bundled_model(), attention=attention)
    mask = np.ones_like(IDS)
    mask[1, 50:] = 0
    batch = model(IDS, mask).logits
    for i, n in enumerate([80, 50, 80]):
        np.testing.assert_array_equal(model(IDS[i : i + 1, :n]).logits[0], batch[i, :n])


def test_only_the_cpu_has_int8() -> None:
    with pytest.raises(ConfigError, match=r'wanted "float32" or "bfloat16" or "int8" on the CPU'):
        load(bundled_model(), dtype="float16")
    with pytest.raises(ConfigError, match="of the reference"):
        load(bundled_model(), device="reference")
    assert load(bundled_model()).dtype == np.int8


def test_a_converted_model_is_small_and_computes_as_its_values(converted: Path) -> None:
    file = converted / "yosort-int8.safetensors"
    assert file.stat().st_size < 0.55 * (bundled_model() / "model.safetensors").stat().st_size
    model, exact = load(converted), load(bundled_model(), dtype="float32")
    assert relative_error(model(IDS).logits, exact(IDS).logits) < INT8_MODEL
    assert model.num_parameters() == exact.num_parameters()
    assert not model.int8_errors  # nothing was tried again
    # Any other backend takes the integers for the floats that they stand for.
    floats, plain = (
        load(converted, dtype="float32"),
        load(converted, dtype="float32", device="reference"),
    )
    short = IDS[:, :20]
    assert relative_error(floats(short).logits, plain(short).logits) < 2e-5


def test_a_converted_model_is_saved_and_read_again(converted: Path, tmp_path: Path) -> None:
    model = load(converted)
    write_state(tmp_path, {"old": np.zeros(3, np.float32)})
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    np.testing.assert_array_equal(load(tmp_path)(IDS).logits, model(IDS).logits)
    load(bundled_model()).save_pretrained(tmp_path)
    assert not (tmp_path / "yosort-int8.safetensors").exists()


def test_transformers_finds_no_weights_there(converted: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with pytest.raises(OSError, match="no file named"):
        transformers.YosoForMaskedLM.from_pretrained(converted)


def test_integers_are_not_converted_again_nor_sharded(converted: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="int8 already"):
        convert(converted, tmp_path / "again", dtype="float32")
    with pytest.raises(CheckpointError, match="max_shard_size: wanted none"):
        convert(bundled_model(), tmp_path / "shards", dtype="int8", max_shard_size=1 << 20)


def test_an_outlier_stays_float32_at_load_and_in_a_file(
    outlier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exact, model = load(outlier, dtype="float32"), load(outlier)
    assert left_in_float(model.int8_errors) == [DOWN]
    assert f"{DOWN} stays float32" in caplog.text
    assert relative_error(model(IDS).logits, exact(IDS).logits) < INT8_MODEL
    folder = convert(outlier, tmp_path / "int8", dtype="int8")
    state = join_scales(read_state(folder), where="here")
    floats = [
        k
        for k, v in state.items()
        if len(v.shape) == 2 and "encoder" in k and not isinstance(v, Quantized)
    ]
    assert floats == [DOWN + ".weight"]
    facts = collect(folder)
    assert facts["left_in_float"] == [DOWN + ".weight"]
    stored = load_file(folder / "yosort-int8.safetensors").values()
    assert facts["bytes"]["int8"] == sum(array.nbytes for array in stored)
    again = load(folder)
    assert left_in_float(again.int8_errors) == [DOWN]
    assert relative_error(again(IDS).logits, exact(IDS).logits) < INT8_MODEL


def test_info_shows_the_errors(outlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--int8", str(outlier)]) == 0
    line = " ".join(capsys.readouterr().out.partition("\nint8 ")[2].split())
    assert "11 of 12 products" in line
    assert line.endswith(f"left in float32: {DOWN}")


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (np.ones(3, np.float32), "wanted float32"),
        (np.ones(2, np.float16), "wanted float32"),
        (np.array([1, np.nan], np.float32), "from 0 to .* got nan"),
        (np.array([1, -1], np.float32), "from 0 to .* got -1"),
        (np.array([1, 1e37], np.float32), "is a finite float32, got 1.0 to 9.99"),
    ],
)
def test_scales_that_do_not_fit_are_refused(scales: Any, message: str) -> None:
    values = np.ones((2, 4), np.int8)
    good = {"a.weight": Quantized(values, np.ones(2, np.float32)), "b": np.ones(3)}
    joined = join_scales(State.of(split_scales(good)), where="here")
    np.testing.assert_array_equal(np.asarray(joined["a.weight"]), values)
    state = State.of({"a.weight": values, "a.weight_scale": scales})
    with pytest.raises(CheckpointError, match=f"here.*a.weight_scale.*{message}"):
        join_scales(state, where="here")


def test_integers_without_scales_are_what_they_are() -> None:
    """A tensor of int8 that is no weight; and floats beside which something has such a name."""
    values = {"a": np.ones((2, 4), np.int8), "b": np.ones((2, 4), np.float32)}
    joined = join_scales(State.of({**values, "b_scale": np.ones(2, np.float32)}), where="here")
    assert set(joined) == {"a", "b"}
    for name, value in values.items():
        np.testing.assert_array_equal(np.asarray(joined[name]), value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    """No scale fits them: a file of int8 refuses them, a float32 map beside the others has them."""
    model = load(bundled_model(), dtype="float32")
    parameters = {k: np.array(v) for k, v in model._parameters.items()}
    del parameters["cls.predictions.decoder.weight"]
    parameters[DOWN + ".weight"][3, 5] = value
    write_state(tmp_path, parameters)
    replace(model.config, architectures=("YosoForMaskedLM",)).save(tmp_path)
    with pytest.raises(CheckpointError, match=f"{DOWN}.weight': wanted finite weights for int8"):
        convert(tmp_path, tmp_path / "int8", dtype="int8")
    assert not (tmp_path / "int8").exists()
    assert DOWN in left_in_float(load(tmp_path).int8_errors)
