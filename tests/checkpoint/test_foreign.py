"""Other files and folders in the place of a model's; tensors that no model needs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoint_builders import CONFIG, logits, model_folder, weights, write_torch
from safetensors.numpy import save_file
from tasks.models import make

import yosort
from yosort.checkpoint import read_state
from yosort.cli.inspecting import collect
from yosort.conversion import convert
from yosort.errors import CheckpointError, ConfigError, YosortError
from yosort.foreign import list_names, name_content, name_folder
from yosort.model.folder import read_weights

HEAD = "cls.predictions.bias"


CONTENTS = {
    "Git LFS pointer.*git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    "web page": b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "error message in JSON": b'{"error": "Access to this model is restricted"}',
    "empty file": b"",
    "gzip archive: unpack": b"\x1f\x8b\x08\0\0\0\0\0\0\0",
    "zip": b"PK\x03\x04 something else",
    "tar archive": b"model".ljust(257, b"\0") + b"ustar\x0000" + bytes(250),
    "GGUF": b"GGUF\x03\0\0\0" + bytes(16),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(16),
    "zero bytes": bytes(4096),
}


BEGINNINGS = {
    b"version https://git-lfs.github.com/spec/v1": "a Git LFS pointer",
    b"oid sha256:4d7a": "a Git LFS pointer", b"\xef\xbb\xbf \r\n\tOID SHA256:": "a Git LFS pointer",
    b"<!doctype html>": "a web page", b"<HTML>": "a web page", b"<head>": "a web page",
    b"<?xml version": "a web page", b"<Error><Code>": "a web page",
    b'{"error": "gated"}': "a server's error", b'{ "message" : "no"}': "a server's error",
    b'{"detail": [1]}': "a server's error", b'{"errors": {"a": 1}}': "a server's error",
    b'{"statusCode": {': "a server's error", b"\x1f\x8b\x08": "a gzip archive",
    b"BZh91AY": "a compressed archive", b"\xfd7zXZ\x00": "a compressed archive",
    b"7z\xbc\xaf\x27": "a compressed archive", b"Rar!\x1a": "a compressed archive",
    b"\x28\xb5\x2f\xfd": "a compressed archive", bytes(257) + b"ustar": "a tar archive",
    b"GGUF\x03": "a GGUF file", b"\x89HDF\r\n": "an HDF5 file", bytes(64): "nothing but zero bytes",
}  # fmt: skip
#: Files of models' own that look nearly so.
MODELS = (
    b"", b"version", b"<s>", b'{"error": 1, "a": 2}', b'{"model_type": "yoso"}', b"BZ", b"BZi",
    b"\x1f\x8c", b"GGU", bytes(63), bytes(64) + b"\1", bytes(256) + b"ustar\1", b"#version: 0.2",
    b'{"errorless": "a"}', b"PK\x03\x04",
)  # fmt: skip


@pytest.mark.parametrize("start", BEGINNINGS)
def test_what_a_file_begins_with_names_it(start: bytes) -> None:
    found = name_content(start)
    assert found is not None
    assert found.startswith(BEGINNINGS[start])


@pytest.mark.parametrize("start", MODELS)
def test_a_file_of_a_model_s_is_not_named_for_another(start: bytes) -> None:
    assert name_content(start) is None


@pytest.mark.parametrize("match", CONTENTS)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_no_weights_in_their_place(tmp_path: Path, match: str, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / name).write_bytes(CONTENTS[match])
    with pytest.raises(CheckpointError, match=f"(?s){name}.*{match}"):
        yosort.load(tmp_path)


@pytest.mark.parametrize("match", CONTENTS)
def test_no_config_in_its_place(tmp_path: Path, match: str) -> None:
    if match == "zero bytes":
        match = "zero bytes|valid JSON"
    (model_folder(tmp_path / "m") / "config.json").write_bytes(CONTENTS.get(match, bytes(4096)))
    with pytest.raises(ConfigError, match=rf"config\.json.*({match})"):
        yosort.load(tmp_path / "m")


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
     "added_tokens.json"],
)  # fmt: skip
def test_text_as_editors_of_windows_save_it(tmp_path: Path, name: str) -> None:
    """A byte order mark says nothing; what is no UTF-8 is said as such."""
    path = make(tmp_path / "m", "YosoForMaskedLM")
    for file, fields in {
        "tokenizer_config.json": {"model_max_length": 7},
        "special_tokens_map.json": {"mask_token": "<mask>", "sep_token": "</s>"},
        "added_tokens.json": {"<new>": 8192},
    }.items():
        (path / file).write_text(json.dumps(fields), encoding="utf-8")
    text = json.dumps(json.loads((path / name).read_text(encoding="utf-8")), indent=1)
    (path / name).write_text(text, encoding="utf-8-sig", newline="\r\n")
    found = yosort.load(path).tokenizer
    assert found is not None
    assert (found.mask_token, found.sep_token, found.model_max_length) == ("<mask>", "</s>", 7)
    assert found("<new>", add_special_tokens=False)["input_ids"] == [8192]
    (path / name).write_text(text, encoding="utf-16")
    with pytest.raises(YosortError, match=rf"{name}: wanted.*got text in UTF-16.*save it as UTF-8"):
        yosort.pipeline("fill-mask", path)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "dog", "##s"]
LETTERS = {c: i for i, c in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abdo", "do"])}
VOCABULARIES = {
    "vocab.txt": ("BertTokenizer", {"vocab.txt": "\n".join(WORDS) + "\n"}, [2, 5, 6, 7, 3]),
    "vocab.json": ("RobertaTokenizer", {"merges.txt": "#version: 0.2\nd o\n",
                                        "vocab.json": json.dumps(LETTERS, indent=1)}, None),
}  # fmt: skip
VOCABULARIES["merges.txt"] = VOCABULARIES["vocab.json"]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_vocabulary_as_editors_of_windows_save_it(tmp_path: Path, name: str) -> None:
    """Lines end either way. A mark that the first line would begin with is named."""
    made, files, wanted = VOCABULARIES[name]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": made}))
    for file, text in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8", newline="\r\n")
    ids = yosort.Tokenizer.from_pretrained(tmp_path)("the dogs" if wanted else "doba")["input_ids"]
    assert ids == (wanted or [0, LETTERS["do"], LETTERS["b"], LETTERS["a"], 2])
    for data, message in (
        (files[name].encode("utf-8-sig"), "UTF-8, got one with a byte order mark; save it without"),
        (files[name].encode("utf-16"), "got text in UTF-16"),
        (next(iter(CONTENTS.values())), "Git LFS pointer"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=rf"{name}: wanted.*{message}"):
            yosort.Tokenizer.from_pretrained(tmp_path)


def test_a_pointer_in_the_place_of_a_tokenizer(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "m")
    (path / "tokenizer.json").write_bytes(next(iter(CONTENTS.values())))
    assert "Git LFS pointer" in collect(path)["tokenizer"]["error"]


def test_a_tensor_called_error_is_no_error_message(tmp_path: Path) -> None:
    save_file({"error": np.ones(2, "f4")}, tmp_path / "model.safetensors")
    assert list(read_state(tmp_path)) == ["error"]


def test_safetensors_and_zip_under_each_others_names(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, "f4")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"name it model\.safetensors"):
        read_state(tmp_path)
    write_torch(tmp_path / "model.safetensors", {"a": np.ones(2, "f4")})
    with pytest.raises(CheckpointError, match=r"name it pytorch_model\.bin"):
        read_state(tmp_path)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["checkpoint-500/", "checkpoint-1000/", "runs/"], r"Trainer.*2 checkpoints.*-1000;"),
        (["adapter_config.json", "adapter_model.safetensors"], "PEFT.*merge_and_unload"),
        (["adapter_model.safetensors"], "PEFT.*merge_and_unload"),
        (["adapter_config.json", "adapter_model.bin", "checkpoint-5/"], "PEFT.*merge_and_unload"),
        (["optimizer.pt"], "Trainer's state without the model"),
        (["trainer_state.json"], "Trainer's state without the model"),
        ([".metadata", "__0_0.distcp"], r"FSDP.*merge-weights"),
        (["zero_to_fp32.py", "latest", "global_step5/"], r"DeepSpeed.*zero_to_fp32\.py"),
        (["pytorch_model_fsdp_0/", "optimizer.bin"], "FSDP.*merge-weights"),
        (["modules.json", "0_Transformer/", "1_Pooling/"], "its model is in .*0_Transformer"),
        (["config.json", "tf_model.h5"], "'tf_model.h5' alone: TensorFlow"),
        (["config.json", "flax_model.msgpack"], "Flax"),
        (["config.json", "yoso.Q4_K_M.gguf"], "llama.cpp"),
        (["config.json", "model.onnx"], "ONNX"),
        *(
            (["config.json", f"weights{end}"], rf"`yosort convert .*weights\{end} OUT`")
            for end in (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
        ),
        *(
            (
                [f"{a}-0000{i}-of-00002.{end}" for i in (1, 2)],
                rf"'{a}-00001-of-00002\.{end}' the first of 2 here.*{index}'",
            )
            for a, end, index in (
                ("model", "safetensors", r"'model\.safetensors\.index\.json"),
                ("model-0a1b2c3d", "safetensors", r"'model\.safetensors\.index\.json"),
                ("pytorch_model", "bin", r"'pytorch_model\.bin\.index\.json"),
            )
        ),
    ],
)
def test_folders_of_another_kind(tmp_path: Path, names: list[str], match: str) -> None:
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    for use in (yosort.load, collect, lambda path: convert(path, tmp_path / "out")):
        with pytest.raises(YosortError, match=match):
            use(tmp_path)


@pytest.mark.parametrize(
    "names", [[], ["notes.txt"], ["modules.json", "1_Pooling"], ["0_Transformer"], ["checkpoint-x"]]
)
def test_a_folder_of_nothing_known_is_not_named_for_another(
    tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert name_folder(tmp_path) is None
    assert name_folder(tmp_path / "missing") is None


def test_of_what_a_folder_holds_twelve_names_are_shown(tmp_path: Path) -> None:
    names = [f"{i:02}" for i in range(13)]
    quoted = [f"'{name}'" for name in names]
    assert list_names(tmp_path / "missing") == ""
    assert list_names(tmp_path) == "nothing"
    for i, name in enumerate(names):
        (tmp_path / name).mkdir()
        more = " ..." if i == 12 else ""
        assert list_names(tmp_path) == ", ".join(quoted[: i + 1][:12]) + more
    (tmp_path / "00").rmdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").touch()
    assert list_names(tmp_path, folders=True) == ", ".join(quoted[1:])
    assert list_names(tmp_path) == ", ".join(["'.hidden'", *quoted[1:12]]) + " ..."


def test_a_trainers_folder_with_a_model_loads(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "m")
    (path / "checkpoint-500").mkdir()
    (path / "optimizer.pt").touch()
    assert type(yosort.load(path)).__name__ == "YosoForMaskedLM"


def test_foreign_tensors_are_left_aside(tmp_path: Path) -> None:
    arrays = {
        **weights(),
        "yoso.embeddings.position_ids": np.arange(514)[None],
        "yoso.norm.num_batches_tracked": np.array(7),
        "global_step": np.array(7, "i4"),
        "yoso.mask": np.ones((4, 4), "?"),
        "loss.weight": np.ones(3, "i8"),
    }
    wanted = logits(model_folder(tmp_path / "plain"))
    np.testing.assert_array_equal(logits(model_folder(tmp_path / "more", arrays)), wanted)
    assert set(read_state(convert(tmp_path / "more", tmp_path / "out"))) == set(weights())


@pytest.mark.parametrize("name", ["yoso.embeddings.LayerNorm.weight", HEAD])
def test_a_weight_of_integers_is_refused(tmp_path: Path, name: str) -> None:
    arrays = weights()
    with pytest.raises(CheckpointError, match=f"'{name}' in I64"):
        read_weights(model_folder(tmp_path / "m", {**arrays, name: arrays[name].astype("i8")}))


def shard(path: Path, arrays: dict[str, np.ndarray], *more: str) -> None:
    name = "model-00001-of-00001.safetensors"
    save_file(arrays, path / name)
    weight_map = dict.fromkeys([*arrays, *more], name)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_an_index_may_list_a_tied_weight_that_no_shard_holds(tmp_path: Path) -> None:
    wanted = logits(model_folder(tmp_path / "plain"))
    (tmp_path / "plain" / "model.safetensors").unlink()
    tied = [f"cls.predictions.decoder.{leaf}" for leaf in ("weight", "bias")]
    shard(tmp_path / "plain", weights(), *tied, "yoso.embeddings.position_ids")
    np.testing.assert_array_equal(logits(tmp_path / "plain"), wanted)
    shard(tmp_path / "plain", weights(), "yoso.encoder.layer.9.output.dense.bias")
    with pytest.raises(CheckpointError, match=r"lacks 'yoso\.encoder\.layer\.9"):
        logits(tmp_path / "plain")


def test_a_file_of_zeros_is_named_from_64_bytes_on() -> None:
    # Fewer may begin anything: half of a header, a file just opened.
    assert "zero bytes" in (name_content(bytes(64)) or "")
    assert name_content(bytes(63)) is None
    assert name_content(bytes(64) + b"1") is None
