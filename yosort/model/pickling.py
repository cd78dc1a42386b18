"""A model on its way to another process: its folder's name where that will do, else its weights.

A model loaded from a folder travels as the folder and the options, a few hundred bytes: the
receiving process loads it again, and shares the mapped file with the sender. So the folder must be
there for the receiver as the sender loaded it. On one machine times show that: a file of the same
size, written and changed at the same nanosecond, is the same file. Elsewhere, and after a copy,
contents do: a hash of each file's bytes travels along, taken once in a process.

Where the folder has changed already when the model is pickled, the weights travel instead, as they
do for a model made from a config. Either way the receiver computes the same bits, or gets an error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from yosort.checkpoint import TOKENIZER_FILES
from yosort.checkpoint.shards import WEIGHT_FILES
from yosort.errors import CheckpointError
from yosort.files import read_json

_CHUNK = 1 << 20


class Stamp(NamedTuple):
    """A file's size in bytes, and the times in ns at which it was written and changed in any way.

    The last of them, which no program can set, tells files apart that were given one time, as all
    files of an image are.
    """

    size: int
    written: int
    changed: int


@dataclass(frozen=True)
class Origin:
    """A folder that weights were read from, and what its files were then.

    Attributes:
        folder: absolute.
        files: each file that makes the model: the weights that are read, and the tokenizer's.
        hashes: of the files' contents, in an origin that was pickled; else none.
    """

    folder: Path
    files: dict[str, Stamp]
    hashes: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Origin | None:
        """Note what a folder's files are now; None where it cannot be read."""
        try:
            names = [*_weights(folder), *(n for n in TOKENIZER_FILES if (folder / n).exists())]
            return cls(folder.absolute(), {name: _stamp(folder / name) for name in names})
        except (OSError, ValueError, CheckpointError):  # a name of an index may be none
            return None

    def is_unchanged(self) -> bool:
        """Whether the folder is there as it was."""
        return self._change() is None

    def check(self) -> None:
        """Raise CheckpointError unless the folder is there as it was."""
        change = self._change()
        if change is not None:
            raise CheckpointError(
                f"{self.folder}: wanted the folder that the pickled model was loaded from, but "
                f"{change}; a model is pickled by its folder's name: load it in this process, or "
                "give both the same files"
            )

    def _change(self) -> str | None:
        """Return what is not as it was; None where all is."""
        now = Origin.of(self.folder)
        if now is None or not self.folder.is_dir():
            return "it is not here"
        other = now.files.keys() ^ self.files.keys()
        if other:
            return f"it has changed since: {', '.join(sorted(other))} came or went"
        for name, then in self.files.items():
            stamp = now.files[name]
            if stamp == then:
                continue
            same = name in self.hashes and stamp.size == then.size
            if not same or content_of(self.folder / name, stamp) != self.hashes[name]:
                return f"it has changed since: {name} is another"
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        hashes = self.hashes or {
            name: content_of(self.folder / name, stamp) for name, stamp in self.files.items()
        }
        self.check()  # what was hashed is what had been read
        return Origin, (self.folder, self.files, hashes)


@lru_cache(maxsize=256)
def content_of(path: Path, stamp: Stamp) -> bytes:
    """Return a hash of a file's content, which `stamp` tells from others that it had.

    Raises:
        CheckpointError: the file cannot be read.
    """
    import hashlib  # and OpenSSL with it, which loading and answering can do without

    made = hashlib.blake2b(digest_size=32)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                made.update(chunk)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    return made.digest()


def _weights(folder: Path) -> list[str]:
    """Return the names of the files that a folder's weights are read from."""
    first = next((name for name in WEIGHT_FILES if os.path.lexists(folder / name)), None)
    if first is None:
        return []
    if not first.endswith(".index.json"):
        return [first]
    shards = read_json(folder / first).get("weight_map")
    return [first, *sorted({str(n) for n in shards.values()} if isinstance(shards, dict) else ())]


def _stamp(path: Path) -> Stamp:
    found = path.stat()  # of what a link names: a hub's cache holds links
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
