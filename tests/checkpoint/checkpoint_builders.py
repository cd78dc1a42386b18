"""Small files for the tests: safetensors and torch zips, whole or wrong on purpose."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

import yosort
from yosort.checkpoint import read_state, write_state
from yosort.config import YosoConfig
from yosort.model.parameters import base_shapes, head_shapes

# numpy dtype -> the name of torch's storage class
STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage"}

CONFIG = {
    "model_type": "yoso",
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 6,
    "type_vocab_size": 2,
    "hash_code_len": 4,
    "num_hash": 5,
    "conv_window": 3,
    "architectures": ["YosoForMaskedLM"],
}


def safetensors_bytes(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a safetensors file; `header` is JSON to be, or its bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype: str, shape: Any, start: Any, stop: Any) -> dict[str, Any]:
    """Return one tensor's header entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


class Global:
    """Pickles as a call of a global: `Global("os.system", "true")`."""

    def __init__(self, name: str, *args: object) -> None:
        self.name = name
        self.args = args


class _Pickler(pickle._Pickler):  # type: ignore[misc]  # the Python one, whose opcodes we can write
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self._global(obj.name)
            self.save(tuple(obj.args))
            self.write(pickle.REDUCE)
        elif isinstance(obj, StorageRef):
            self.write(pickle.MARK)
            self.save("storage")
            self._global(obj.kind)
            for item in (obj.key, "cpu", obj.numel):
                self.save(item)
            self.write(pickle.TUPLE + pickle.BINPERSID)
        else:
            super().save(obj, save_persistent_id)

    def _global(self, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())


class StorageRef:
    """Pickles as torch's reference to a storage."""

    def __init__(self, kind: str, key: object, numel: object) -> None:
        self.kind = kind
        self.key = key
        self.numel = numel


def dumps(obj: object) -> bytes:
    """Pickle an object that holds `Global` and `StorageRef` objects."""
    import io

    file = io.BytesIO()
    _Pickler(file, 2).dump(obj)
    return file.getvalue()


def tensor(
    storage: StorageRef, shape: tuple[Any, ...], strides: tuple[Any, ...], offset: Any = 0
) -> Global:
    """Return what pickles as a tensor over a storage."""
    hooks = Global("collections.OrderedDict")
    name = "torch._utils._rebuild_tensor_v2"
    return Global(name, storage, offset, shape, strides, False, hooks)


def write_zip(
    path: Path,
    content: bytes,
    storages: dict[str, bytes] | None = None,
    *,
    compression: int = zipfile.ZIP_STORED,
    extra: dict[str, bytes] | None = None,
) -> Path:
    """Write an archive as torch does: data.pkl and the storages."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", content)
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
        for key, data in (extra or {}).items():
            file.writestr(key, data)
    return path


def write_torch(path: Path, arrays: dict[str, np.ndarray], wrap: str | None = None) -> Path:
    """Write arrays as `torch.save` would a state dict, below the key `wrap` if given."""
    content: dict[str, Any] = {}
    storages: dict[str, bytes] = {}
    for index, (name, array) in enumerate(arrays.items()):
        key = str(index)
        storages[key] = array.tobytes()
        kind = f"torch.{STORAGES[array.dtype.str[1:]]}"
        strides = tuple(s // array.itemsize for s in np.empty(array.shape, array.dtype).strides)
        content[name] = tensor(StorageRef(kind, key, array.size), array.shape, strides)
    return write_zip(path, dumps({wrap: content} if wrap else content), storages)


def weights(head: str | None = "masked_lm", **changes: Any) -> dict[str, np.ndarray]:
    """Return random weights of the small model of CONFIG, as transformers saves them."""
    config = YosoConfig.from_dict({**CONFIG, **changes})
    shapes = OrderedDict(**base_shapes(config), **head_shapes(config, head))
    for name in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"):
        shapes.pop(name, None)
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def by_authors(
    arrays: dict[str, np.ndarray], generation: str, *, shared: bool = False
) -> dict[str, np.ndarray]:
    """Give transformers' weights the authors' names, written out here a second time on purpose.

    `generation`: "transformer_{}" (the published checkpoints) or "backbone.backbone.encoders.{}".
    """
    old = generation.startswith("transformer")
    renamed: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        new = name.replace("yoso.embeddings.LayerNorm", "model.embeddings.norm")
        new = new.replace("yoso.embeddings", "model.embeddings")
        new = new.replace("cls.predictions.transform.LayerNorm", "mlm.norm")
        new = new.replace("cls.predictions.transform.dense", "mlm.dense")
        new = new.replace("cls.predictions.bias", "mlm.mlm_class.bias")
        new = new.replace("qa_outputs", "qahead")
        if name.startswith("yoso.encoder.layer."):
            index, rest = name.removeprefix("yoso.encoder.layer.").split(".", 1)
            if shared and index != "0":
                continue
            for ours, theirs in (
                ("attention.self.query", "mha.W_q"),
                ("attention.self.key", "mha.W_k"),
                ("attention.self.value", "mha.W_v"),
                ("attention.self.conv", "mha.attn.conv"),
                ("attention.output.dense", "mha.ff"),
                ("attention.output.LayerNorm", "norm1"),
                ("intermediate.dense", "ff1" if old else "ff.0"),
                ("output.dense", "ff2" if old else "ff.2"),
                ("output.LayerNorm", "norm2"),
            ):
                if rest.startswith(ours):
                    rest = theirs + rest.removeprefix(ours)
                    break
            new = f"model.{generation.format(index)}.{rest}"
        renamed[new] = array
    if "mlm.mlm_class.bias" in renamed:
        renamed["mlm.mlm_class.weight"] = renamed["model.embeddings.word_embeddings.weight"]
    return renamed


def model_folder(path: Path, arrays: Any = None, **config: Any) -> Path:
    """Make a folder of the small model, or of other weights and fields of its config."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    write_state(path, weights() if arrays is None else arrays)
    return path


def logits(path: Path) -> np.ndarray:
    """Return what the masked language model of a folder answers to one text."""
    model = yosort.YosoForMaskedLM.from_pretrained(path, device="cpu", attention="expectation")
    return model([[0, 5, 6, 2]]).logits  # type: ignore[no-any-return]


def hf_folder(folder: Path, arrays: dict[str, np.ndarray] | None = None, **config: Any) -> Path:
    """Write a folder of transformers, of `weights()` or others."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    write_state(folder, weights() if arrays is None else arrays)
    return folder


def check(folder: Path, wanted: dict[str, np.ndarray]) -> YosoConfig:
    """Check that a folder has these weights, bit for bit; return its config."""
    state = read_state(folder)
    assert set(state) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)
    return YosoConfig.from_pretrained(folder)
