"""What lies in the place of a model: a file's first bytes and a folder's names, in words."""

from __future__ import annotations

import os
import re
from pathlib import Path

from yosort.errors import quote

#: How many of a file's first bytes `name_content` wants to see.
START = 512
ZIP = b"PK\x03\x04"

_AGAIN = "download the file again; a page came in its place (a login, a limit, a wrong address?)"
_ARCHIVE = "unpack it, and name the folder that comes out"
_TRAINER = re.compile(r"checkpoint-(\d{1,12})")
_SHARD = re.compile(r"(.+?)(?:-[0-9a-f]{8})?-\d{5}-of-\d{5}\.(?:safetensors|bin)")
#: Weights of other frameworks, by their ending.
OTHERS = {
    ".h5": "TensorFlow's weights: AutoModel.from_pretrained(folder, from_tf=True) of transformers "
    "4, then save_pretrained, writes model.safetensors",
    ".msgpack": "Flax's weights: AutoModel.from_pretrained(folder, from_flax=True) of transformers "
    "4, then save_pretrained, writes model.safetensors",
    ".gguf": "a GGUF file of llama.cpp, whose weights are rearranged; wanted the checkpoint that "
    "it was made from",
    ".onnx": "an ONNX graph; wanted the checkpoint that it was exported from",
}


def name_content(start: bytes) -> str | None:
    """Say what a file is that is no file of a model, and what to do; None: nothing known.

    Args:
        start: its first `START` bytes, or all of it.
    """
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"version https://git-lfs", b"oid sha256:")):
        return (
            "a Git LFS pointer, which stands for the file: `git lfs install && git lfs pull` in "
            "the clone brings the file itself, or copy it from where it lies whole"
        )
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<error")):
        return f"a web page (HTML or XML): {_AGAIN}"
    if re.match(rb'\{\s*"(error|message|detail|errors|statuscode)"\s*:\s*["\[{]', text):
        return f"a server's error message in JSON: {_AGAIN}"
    if start.startswith(b"\x1f\x8b"):
        return f"a gzip archive: {_ARCHIVE}"
    if start.startswith((b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        return f"a compressed archive: {_ARCHIVE}"
    if start[257:262] == b"ustar":
        return f"a tar archive: {_ARCHIVE}"
    if start.startswith(b"GGUF"):
        return OTHERS[".gguf"]
    if start.startswith(b"\x89HDF\r\n"):
        return f"an HDF5 file, {OTHERS['.h5']}"
    if len(start) >= 64 and not start.strip(b"\0"):
        return "nothing but zero bytes, as a broken copy or a full disk leaves: copy it again"
    return None


def name_folder(folder: Path) -> str | None:
    """Say what a folder is that has no weights of a model in it, and what to do; None: unknown."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return None
    if "adapter_config.json" in names or "adapter_model.safetensors" in names:
        return (
            "an adapter of PEFT, without the model that it changes; load both with PEFT, then "
            "model.merge_and_unload().save_pretrained(OUT) writes a whole model"
        )
    steps = {int(m[1]): name for name in names if (m := _TRAINER.fullmatch(name))}
    if steps:
        newest = folder / steps[max(steps)]
        return (
            f"the output folder of a Trainer, with {len(steps)} checkpoints and no model beside "
            f"them; name one of them, the newest is {newest}"
        )
    if "zero_to_fp32.py" in names:
        return (
            "a checkpoint of DeepSpeed in pieces; its own `python zero_to_fp32.py . OUT` joins "
            "them into a model"
        )
    if any(name.startswith("pytorch_model_fsdp_") or name == ".metadata" for name in names):
        return (
            "a sharded checkpoint of FSDP; `accelerate merge-weights FOLDER OUT` joins it into a "
            "model.safetensors"
        )
    if "optimizer.pt" in names or "trainer_state.json" in names:
        return "a Trainer's state without the model; trainer.save_model(OUT) writes one"
    if "modules.json" in names and "0_Transformer" in names:
        return f"a sentence-transformers folder; its model is in {folder / '0_Transformer'}"
    for name in names:
        kind = OTHERS.get(os.path.splitext(name)[1].lower())
        if kind is not None:
            return f"a folder with {quote(name)} alone: {kind}"
    shards = [(name, m[1]) for name in names if (m := _SHARD.fullmatch(name))]
    if shards:
        name, stem = shards[0]
        suffix = os.path.splitext(name)[1]
        return (
            f"shards of weights, {quote(name)} the first of {len(shards)} here, without their "
            f"index, {quote(f'{stem}{suffix}.index.json')}: copy it from where they came from"
        )
    for name in names:
        if name.endswith((".ckpt", ".pt", ".pth", ".bin", ".safetensors")):
            return (
                f"a folder whose weights have a name of their own, {quote(name)}; "
                f"`yosort convert {folder / name} OUT` makes a model folder of them"
            )
    return None


def list_names(folder: Path, *, folders: bool = False) -> str:
    """Return what a folder holds (`folders`: but for files), as a message shows it.

    Empty where it cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    if folders:
        names = [n for n in names if n[0] != "." and os.path.isdir(folder / n)]
    shown = ", ".join(quote(name) for name in names[:12]) + (" ..." if len(names) > 12 else "")
    return shown or "nothing"
