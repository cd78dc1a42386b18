"""Files mapped into memory, or read: bytes, text, JSON."""

from __future__ import annotations

import codecs
import errno
import json
import mmap
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.errors import CheckpointError, quote
from yosort.foreign import START, ZIP, name_content
from yosort.quantized import Quantized, Weight
from yosort.widened import Widened

# An index of ten thousand tensors takes 1 MB; a config a few kB.
MAX_JSON_BYTES = 64 << 20

_MAPPING = mmap.mmap
# What mmap says of a file system that has none: some of FUSE's, of networks and of containers'.
_NO_MMAP = (errno.ENODEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def map_file(path: Path) -> npt.NDArray[np.uint8]:
    """Map a regular file read-only; read it where the file system cannot map.

    The arrays made from it stay valid after the name is removed or replaced, but not if something
    shortens the file itself: writers must replace a file, as ours do.

    Returns:
        uint8 [size of the file].

    Raises:
        CheckpointError: it is missing, empty, no regular file, a file of another kind in the place
            of weights (a Git LFS pointer, a web page ...), or cannot be mapped.
    """
    size = regular_size(path)
    if size == 0:
        raise CheckpointError.wanted(
            path, "a file of weights", got="an empty file", hint="copy or download it again"
        )
    try:
        data = _map_or_read(path)
    except (OSError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path}: cannot be mapped into memory: {error}") from error
    content = name_content(data[:START].tobytes())
    if content is not None:
        raise CheckpointError.wanted(path, "a file of weights", got=content)
    return data


def _map_or_read(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except OSError as error:
        if error.errno not in _NO_MMAP:
            raise
    data = np.fromfile(path, np.uint8)
    data.flags.writeable = False
    return data


def is_mapped(array: npt.NDArray[Any]) -> bool:
    """Whether an array is a view of a mapped file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, _MAPPING)


def release_pages(arrays: Iterable[Weight]) -> None:
    """Let go of the memory that arrays mapped from files occupy; it is read again when touched.

    A model packs its weights once: after that the file's own pages would count twice.
    """
    if not hasattr(mmap, "MADV_DONTNEED"):  # Windows
        return
    mappings: dict[int, mmap.mmap] = {}
    for array in arrays:
        base: Any = array
        if isinstance(array, Quantized):
            base = array.values
        elif isinstance(array, Widened):
            base = array.bits
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, _MAPPING):
            mappings[id(base)] = base
    for mapping in mappings.values():
        mapping.madvise(mmap.MADV_DONTNEED)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        CheckpointError: it cannot be read, is over 64 MB, or is not a JSON object.
    """
    return parse_json(read_file(path), f"{path}")


def read_file(path: Path, limit: int = MAX_JSON_BYTES) -> bytes:
    """Read a regular file of text, of at most `limit` bytes, but for a byte order mark.

    Raises:
        CheckpointError: it is missing, larger, no regular file, one of another kind (a Git LFS
            pointer, a web page, text in UTF-16 ...), or cannot be read.
    """
    size = regular_size(path)
    if size > limit:
        raise CheckpointError.wanted(path, f"at most {limit} bytes", got=size)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    content = "a zip archive: unpack it" if data[:4] == ZIP else name_content(data[:START])
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = "text in UTF-16, as PowerShell's > writes it: save it as UTF-8"
    if content is not None:
        raise CheckpointError.wanted(path, "a file of text", got=content)
    return data.removeprefix(codecs.BOM_UTF8)  # which editors of Windows put there


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object whose keys are each given once, at every depth.

    Raises:
        CheckpointError: it is anything else; the message starts with `what`.
    """
    value = _parse(data, what)
    if not isinstance(value, dict):
        raise CheckpointError.wanted(what, "a JSON object", got=type(value).__name__)
    return value


def parse_list(data: bytes, what: str) -> list[Any]:
    """Parse a JSON array, as `parse_json` an object.

    Raises:
        CheckpointError: it is anything else.
    """
    value = _parse(data, what)
    if not isinstance(value, list):
        raise CheckpointError.wanted(what, "a JSON array", got=type(value).__name__)
    return value


def _parse(data: bytes, what: str) -> Any:
    if not data.strip():
        raise CheckpointError(f"{what}: wanted JSON, got an empty file; copy or download it again")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except _TwiceError as error:
        raise CheckpointError(f"{what}: wanted each key once, {error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what}: wanted valid JSON: {error}") from error


class _TwiceError(Exception):
    """A JSON object has a key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A key given twice means one thing to this reader and may mean another to the next.
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _TwiceError(f"{quote(key)} is given twice")
            seen.add(key)
    return values


def regular_size(path: Path) -> int:
    """Return a file's size; a pipe or a device in its place would block or never end.

    Raises:
        CheckpointError: it is missing, or no regular file.
    """
    try:
        info = os.stat(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be opened: {error}") from error
    if not stat.S_ISREG(info.st_mode):
        raise CheckpointError.wanted(path, "a regular file", got="something else")
    return info.st_size
