"""A model on its way to another process: its folder's name where that will do, else its weights.

A model loaded from a folder travels as the folder and the options, a few hundred bytes: the
receiving process loads it again, and shares the mapped file with the sender. So the folder must be
there for the receiver as the sender loaded it; that it is, sizes and times of its files say. Where
it has changed already when the model is pickled, the weights travel instead, as they do for a model
made from a config. Either way the receiver computes the same bits, or gets an error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from yosort.checkpoint import TOKENIZER_FILES
from yosort.errors import CheckpointError

#: Endings of the files that may hold weights, or an index of them.
_WEIGHTS = (".safetensors", ".bin", ".index.json")


@dataclass(frozen=True)
class Origin:
    """A folder that weights were read from, and what its files were then.

    Attributes:
        folder: absolute.
        files: size in bytes and time of the last change in ns of each file of weights and of the
            tokenizer.
    """

    folder: Path
    files: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, folder: Path) -> Origin | None:
        """Note what a folder's files are now; None where it cannot be read."""
        files = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name in TOKENIZER_FILES or entry.name.endswith(_WEIGHTS):
                        found = os.stat(entry.path)  # a hub's cache holds links
                        files[entry.name] = (found.st_size, found.st_mtime_ns)
        except OSError:
            return None
        return cls(folder.absolute(), files)

    def is_unchanged(self) -> bool:
        """Whether the folder is there as it was."""
        return Origin.of(self.folder) == self

    def check(self) -> None:
        """Raise CheckpointError unless the folder is there as it was."""
        if self.is_unchanged():
            return
        what = "has changed since" if self.folder.is_dir() else "is not here"
        raise CheckpointError(
            f"{self.folder}: wanted the folder that the pickled model was loaded from, but it "
            f"{what}; a model is pickled by its folder's name: load it in this process, or give "
            "both the same files (copied with their times, as `cp -p` does)"
        )
