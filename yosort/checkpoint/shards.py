"""Find the weights of a folder, in one file or in the shards that an index lists; write them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from yosort.arguments import check_path, with_names
from yosort.checkpoint.integers import is_integers
from yosort.checkpoint.safetensors import read_safetensors, write_safetensors
from yosort.checkpoint.stored import Array, State, Tensor
from yosort.checkpoint.torch_zip import read_torch_zip
from yosort.errors import CheckpointError, quote
from yosort.files import read_json
from yosort.foreign import list_names, name_folder
from yosort.model.architectures import TIES
from yosort.replacing import replace_file

SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
INTEGERS = "yosort-int8.safetensors"
TORCH = "pytorch_model.bin"
TORCH_INDEX = "pytorch_model.bin.index.json"
# In the order in which they are looked for, which is transformers' order too, but for our own.
WEIGHT_FILES = (SAFETENSORS, SAFETENSORS_INDEX, INTEGERS, TORCH, TORCH_INDEX)

# What transformers' index may list and no shard hold: the second name of a tied weight, and the
# buffers of positions of before 4.31.
_NOT_HELD = (*(name for name, _ in TIES), ".position_ids", ".token_type_ids")

_SHARD = re.compile(r"model-(?:[0-9a-f]{8}-)?\d{5}-of-\d{5}\.safetensors")


@with_names(CheckpointError)
def read_state(source: str | os.PathLike[str]) -> State:
    """Read the weights of a model folder, or of one file.

    Args:
        source: a folder, in which the first of `WEIGHT_FILES` that is there is read; or a file,
            safetensors by its ending, else one of torch's.

    Returns:
        Read-only arrays under the file's own names. float32, float16 and integers are views of the
        mapped file; bfloat16 and float64 become float32 when they are asked for.

    Raises:
        CheckpointError: no weights are there, or what is there cannot be read.
    """
    path = check_path("source", source)
    return _read_folder(path) if os.path.isdir(path) else _read_file(path)


def _read_folder(folder: Path) -> State:
    for name in WEIGHT_FILES:
        path = folder / name
        if os.path.lexists(path):
            if name.endswith(".index.json"):
                return _read_shards(path)
            return _read_file(path)
    try:
        os.listdir(folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error}") from error
    kind = name_folder(folder)
    raise CheckpointError(
        f"{folder}: wanted one of {', '.join(WEIGHT_FILES)}"
        + (f", got {kind}" if kind else "")
        + f"; the folder holds {list_names(folder)}"
    )


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a file that `read_state` would read."""
    return any(os.path.lexists(folder / name) for name in WEIGHT_FILES)


def _read_file(path: Path) -> State:
    return read_safetensors(path) if path.suffix == ".safetensors" else read_torch_zip(path)


def _read_shards(index: Path) -> State:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: wanted weight_map, an object of file names by weight")
    # A shard may be a symbolic link, as in the hub's cache, but must be named in this folder.
    for name in weight_map.values():
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise CheckpointError.wanted(
                index, "the names of files in its own folder", got=quote(name)
            )
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        path = index.with_name(name)
        # os.path.exists, as a name may be longer than any file's: Path.exists raises OSError then.
        if not os.path.exists(path):
            raise CheckpointError(f"{index}: a shard that it lists is missing: {quote(name)}")
        shard = _read_file(path)
        for weight in shard:
            if weight_map.get(weight) != name:
                raise CheckpointError(
                    f"{path}: holds {quote(weight)}, which {index.name} does not place there"
                )
            tensors[weight] = shard.tensor(weight)
    missing = [
        weight for weight in weight_map if weight not in tensors and not weight.endswith(_NOT_HELD)
    ]
    if missing:
        weight = missing[0]
        raise CheckpointError(
            f"{index.with_name(weight_map[weight])}: lacks {quote(weight)}, which {index.name} "
            f"places there ({len(missing)} such weights)"
        )
    return State(tensors)


def write_state(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    *,
    max_shard_size: int | None = None,
) -> None:
    """Write weights as model.safetensors, or as shards with an index where they are larger.

    Integers with scales go into one file of another name: see integers.py.

    If the process dies on the way, the folder still reads as the old weights or already as the
    new ones. Weights that it held in safetensors before are removed at the end.

    Args:
        folder: an existing folder.
        tensors: arrays by name; a `State` keeps BF16 as it is.
        max_shard_size: bytes a file; None: one file. A larger tensor gets a file of its own.

    Raises:
        CheckpointError: a dtype that cannot be stored, shards of integers, or the disk refuses.
    """
    folder = Path(folder)
    state = State.of(tensors)
    single = INTEGERS if is_integers(state) else SAFETENSORS
    if single == INTEGERS and max_shard_size is not None:
        raise CheckpointError("max_shard_size: wanted none with int8 weights, which are one file")
    groups = _group(state, max_shard_size)
    try:
        old = {path.name for path in folder.iterdir() if _SHARD.fullmatch(path.name)}
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error}") from error
    if len(groups) == 1:
        write_safetensors(folder / single, groups[0])
        written = {single}
    else:
        written = _write_shards(folder, groups, old)
    remove_stale(folder, written)


def remove_stale(folder: Path, written: set[str]) -> None:
    """Remove the weights in safetensors that a folder holds beside the files just `written`.

    Raises:
        CheckpointError: the disk refuses.
    """
    try:
        for path in sorted(folder.iterdir()):
            name = path.name
            weights = name in (SAFETENSORS, SAFETENSORS_INDEX, INTEGERS) or _SHARD.fullmatch(name)
            if weights and name not in written:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: old weights cannot be removed: {error}") from error


def _write_shards(folder: Path, groups: list[State], old: set[str]) -> set[str]:
    """Write shards and their index; return the files' names, none of which is in `old`."""
    names = [f"{i:05}-of-{len(groups):05}" for i in range(1, len(groups) + 1)]
    # A shard under an old one's name would mix the two sets until the new index is there.
    taken = old & {f"model-{name}.safetensors" for name in names}
    tag = f"{os.urandom(4).hex()}-" if taken else ""
    weight_map: dict[str, str] = {}
    total = 0
    for name, group in zip(names, groups, strict=True):
        file = f"model-{tag}{name}.safetensors"
        total += write_safetensors(folder / file, group)
        weight_map.update(dict.fromkeys(group, file))
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    path = folder / SAFETENSORS_INDEX
    try:
        with replace_file(path) as output:
            output.write((json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
    return {SAFETENSORS_INDEX, *weight_map.values()}


def _group(state: State, limit: int | None) -> list[State]:
    """Split the weights, in their order, into groups of at most `limit` bytes."""
    if limit is None:
        return [state]
    if limit < 1:
        raise CheckpointError.wanted("max_shard_size", "at least 1 byte", got=limit)
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for name in state:
        tensor = state.tensor(name)
        if groups[-1] and size + tensor.bits.nbytes > limit:
            groups.append({})
            size = 0
        groups[-1][name] = tensor
        size += tensor.bits.nbytes
    return [State(group) for group in groups]
