"""Against torch and transformers themselves, where they are installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import CONFIG, by_authors, weights, write_torch

from yosort.checkpoint import read_state, to_canonical
from yosort.checkpoint.unpickle import GLOBALS, loads
from yosort.conversion import convert
from yosort.errors import CheckpointError
from yosort.model.architectures import ARCHITECTURES

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CLASSES = list(ARCHITECTURES)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.set_verbosity(level)


def build(name: str, dtype: Any = None, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = {k: v for k, v in {**CONFIG, **changes}.items() if k != "architectures"}
    model = getattr(transformers, name)(transformers.YosoConfig(**config, num_labels=3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model.to(dtype) if dtype is not None else model


def bits(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def canonical(model: Any) -> dict[str, np.ndarray]:
    state = {name: bits(tensor) for name, tensor in model.state_dict().items()}
    return dict(to_canonical(state))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("kind", ["safetensors", "shards", "bin", "parameters"])
def test_reads_what_they_save(tmp_path: Path, dtype: str, kind: str) -> None:
    model = build("YosoForMaskedLM", getattr(torch, dtype))
    if kind in ("safetensors", "shards"):
        model.save_pretrained(tmp_path, max_shard_size="1KB" if kind == "shards" else "1GB")
    else:
        content = model.state_dict() if kind == "bin" else dict(model.named_parameters())
        torch.save(content, tmp_path / "pytorch_model.bin")
    state = read_state(tmp_path)
    wanted = {name: bits(tensor) for name, tensor in model.state_dict().items()}
    assert {"yoso.embeddings.word_embeddings.weight", "cls.predictions.bias"} <= set(state)
    for name in state:
        array = wanted[name].astype("f4") if dtype == "float64" else wanted[name]
        assert state[name].dtype == array.dtype
        assert state[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [None, 1500])
def test_converted_folders_load_there(
    tmp_path: Path, name: str, dtype: str | None, shards: int | None
) -> None:
    model = build(name)
    model.save_pretrained(tmp_path / "in")
    out = convert(tmp_path / "in", tmp_path / "out", dtype=dtype, max_shard_size=shards)
    again, info = getattr(transformers, name).from_pretrained(out, output_loading_info=True)
    assert not any(info.values()), info
    assert again.dtype == (torch.float32 if dtype is None else getattr(torch, dtype))
    wanted = model.to(again.dtype).state_dict()
    state = again.state_dict()
    assert set(state) == set(wanted)
    for key, tensor in wanted.items():
        assert torch.equal(tensor, state[key]), key


def test_untied_decoder_loads_there(tmp_path: Path) -> None:
    model = build("YosoForMaskedLM", tie_word_embeddings=False)
    model.save_pretrained(tmp_path / "in")
    out = convert(tmp_path / "in", tmp_path / "out")
    again = transformers.YosoForMaskedLM.from_pretrained(out)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key


@pytest.mark.parametrize("biases", [("bias",), ("decoder.bias",), ("bias", "decoder.bias")])
def test_bias_that_counts_is_the_decoders(tmp_path: Path, biases: tuple[str, ...]) -> None:
    arrays = weights()
    del arrays["cls.predictions.bias"]
    for value, name in enumerate(biases):
        arrays[f"cls.predictions.{name}"] = np.full(11, value, "f4")
    write_torch(tmp_path / "pytorch_model.bin", arrays)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    out = convert(tmp_path, tmp_path.with_name(f"{tmp_path.name}-out"))
    again = transformers.YosoForMaskedLM.from_pretrained(out)
    wanted = len(biases) - 1
    assert again.cls.predictions.decoder.bias.unique().tolist() == [wanted]


def test_authors_checkpoint_loads_there(tmp_path: Path) -> None:
    arrays = weights()
    theirs = {k: torch.from_numpy(v) for k, v in by_authors(arrays, "transformer_{}").items()}
    torch.save({"model_state_dict": theirs, "epoch": 3}, tmp_path / "cp-0003.cp")
    out = convert(tmp_path / "cp-0003.cp", tmp_path / "out", config=CONFIG)
    again, info = transformers.YosoForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert not any(info.values()), info
    for name, array in arrays.items():
        np.testing.assert_array_equal(again.state_dict()[name].numpy(), array)


def test_casts_equal_theirs() -> None:
    from yosort.checkpoint.stored import Tensor

    generator = np.random.default_rng(0)
    values = generator.integers(0, 1 << 32, 200_000, "u8").astype("u4").view("f4")
    for short, dtype, limit in (("F16", torch.float16, 65504.0), ("BF16", torch.bfloat16, 3.3e38)):
        kept = values[np.abs(values) <= limit]  # drops NaN too
        cast = Tensor.of(kept).cast(short, name="w").bits
        wanted = torch.from_numpy(kept).to(dtype).view(torch.int16).numpy()
        np.testing.assert_array_equal(cast.view("i2"), wanted)


def test_globals_are_some_of_those_that_torch_itself_lets_a_file_name() -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    theirs = set(_get_allowed_globals())
    assert set(GLOBALS) < theirs
    for name in theirs - set(GLOBALS):
        module, _, attribute = name.rpartition(".")
        with pytest.raises(CheckpointError, match=re.escape(f"names '{name}'")):
            loads(b"\x80\x02c" + f"{module}\n{attribute}\n.".encode())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_globals_suffice_for_every_tensor_that_a_model_may_hold(
    tmp_path: Path, protocol: int
) -> None:
    """All dtypes that we read, views, ties, parameters, buffers, and what training adds to them."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    tied = torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)
    state = {**module.state_dict(), **dict(module.named_parameters(prefix="p")), "a": tied}
    state |= {"b": tied, "view": module[0].weight.T, "row": torch.arange(6)[2:4]}
    dtypes = [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    ]
    state |= {name: torch.ones(3, dtype=getattr(torch, name)) for name in dtypes}
    training = {"state_dict": state, "epoch": 3, "loss": 0.5, "name": "yoso", "betas": (0.9, None)}
    for number, content in enumerate((state, training)):
        path = tmp_path / f"{number}.bin"
        torch.save(content, path, pickle_protocol=protocol)
        read = read_state(path)
        assert set(read) == set(state)
        for name, tensor in state.items():
            np.testing.assert_array_equal(read[name], bits(tensor).astype(read[name].dtype))


@pytest.mark.parametrize(
    ("tensor", "named"),
    [
        (torch.ones(2, dtype=torch.complex64), "torch.ComplexFloatStorage"),
        (torch.ones(2).to(torch.float8_e5m2), "torch._utils._rebuild_tensor_v3"),
        (torch.eye(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (torch.ones(2, device="meta"), "torch._utils._rebuild_meta_tensor_no_storage"),
    ],
    ids=str,
)
def test_other_tensors_are_refused_by_name(tmp_path: Path, tensor: Any, named: str) -> None:
    torch.save({"a": tensor}, tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match=re.escape(f"refused: its pickle names '{named}'")):
        read_state(tmp_path / "x.bin")
