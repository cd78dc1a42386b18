"""What all `save_pretrained` share: transformers' options of it, and the folder to write into."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yosort.arguments import check_count, no_such_option
from yosort.errors import CheckpointError, ConfigError, YosortError

_UPLOAD = "huggingface_hub.upload_folder uploads the folder that is written"
_NAMES = "files have the names that from_pretrained looks for; rename them afterwards"
#: By name: what is done here anyway, and what to do for anything else.
_OPTIONS: dict[str, tuple[bool | None, str]] = {
    "safe_serialization": (True, "weights are written as safetensors, which hold no code"),
    "push_to_hub": (False, _UPLOAD),
    "repo_id": (None, _UPLOAD),
    "token": (None, _UPLOAD),
    "is_main_process": (True, "call it in one process alone"),
    "state_dict": (None, "a model writes its own weights; safetensors.numpy.save_file any"),
    "variant": (None, _NAMES),
    "filename_prefix": (None, _NAMES),
    "legacy_format": (False, "tokenizer.json holds the whole tokenizer"),
    "save_peft_format": (True, "there are no adapters here"),
    "save_original_format": (True, "names of weights are those of transformers"),
}


def check_saving(
    given: Mapping[str, Any], known: tuple[str, ...], error: type[YosortError]
) -> None:
    """Let pass what asks for what `save_pretrained` does anyway; None is transformers' "unset".

    Args:
        given: options by name.
        known: the names that the call takes besides.
        error: what to raise.

    Raises:
        error: an option that would write something else, or that does not exist.
    """
    for name, value in given.items():
        if name not in _OPTIONS:
            raise no_such_option(name, (*known, *_OPTIONS), error)
        usual, hint = _OPTIONS[name]
        if value is not None and value is not usual:
            raise error.wanted(name, usual, value, hint=hint)


def make_folder(folder: Path, error: type[YosortError]) -> None:
    """Make a folder to save into, and those above it, if need be.

    Raises:
        error: it cannot be made, as where a file has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        for place in (folder, *folder.parents):
            if os.path.lexists(place) and not place.is_dir():
                got = "a file" if place == folder else f"one below {place}, which is a file"
                raise error.wanted(
                    folder, "a folder to save into", got=got, hint="name another, or move the file"
                ) from None
        raise error(f"{folder}: cannot be made: {failure}") from failure


def check_place(folder: Path) -> None:
    """Find out whether a new folder can be made: before the work that it is for.

    Raises:
        CheckpointError: it exists, or cannot be made.
    """
    if os.path.lexists(folder):
        raise CheckpointError.wanted(folder, "a new folder", got="one that exists")
    folder = folder.absolute()
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        for path in missing:
            probe = missing[-1].with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
            probe.mkdir()
            probe.rmdir()
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error}") from error


def check_room(folder: Path, size: int) -> None:
    """Find out whether a disk has room for a new folder: before the work that it is for.

    Args:
        folder: to be made.
        size: its bytes.

    Raises:
        CheckpointError: there is less.
    """
    above = next(path for path in folder.absolute().parents if os.path.lexists(path))
    with contextlib.suppress(OSError):  # a file system that does not say
        free = shutil.disk_usage(above).free
        if free < size:
            raise CheckpointError(
                f"{folder}: cannot be written: it takes {size / 1e6:,.0f} MB, and the disk has "
                f"{free / 1e6:,.0f} MB left"
            )


def read_size(name: str, value: Any) -> int | None:
    """Return bytes, given as a number or as transformers writes them: "5GB", "500MiB"; or None.

    Raises:
        ConfigError: something else, or less than one byte.
    """
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *(?:([KMGT])(I?))?B", value.strip().upper())
        if found is None:
            raise ConfigError.wanted(name, 'bytes, such as 1000 or "5GB"', value)
        number, unit, binary = found.groups()
        step = 1024 if binary else 1000
        value = int(float(number) * step ** ("KMGT".index(unit) + 1 if unit else 0))
    return None if value is None else check_count(name, value, error=ConfigError)
