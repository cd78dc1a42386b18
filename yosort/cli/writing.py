"""Where a command's results go: JSON lines, CSV or .npy, so that an interrupted run can go on."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from yosort.errors import InputError


class Writer(Protocol):
    """Takes results one by one.

    Attributes:
        done: how many results the file held before, which a resumed run skips.
    """

    done: int

    def write(self, result: Any) -> None:
        """Add a result; it is whole in the file when this returns, or not there."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def open_writer(path: Path | None, *, resume: bool) -> Writer:
    """Return the writer of a path by its suffix; None: JSON lines on standard output.

    Raises:
        InputError: the file exists and resume is off, or cannot be opened or continued.
    """
    if path is None:
        if resume:
            raise InputError("--resume: wanted --output FILE to continue")
        return _Lines(sys.stdout.buffer, 0, as_csv=False)
    if path.exists() and not resume:
        raise InputError(f"{path}: exists already; --resume continues it")
    suffix = path.suffix.lower()
    try:
        file = path.open("r+b" if path.exists() else "w+b")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    try:
        if suffix == ".npy":
            return _Npy(file, path)
        return _Lines(file, _whole_lines(file), as_csv=suffix == ".csv")
    except InputError:
        file.close()
        raise


def _whole_lines(file: BinaryIO) -> int:
    """Count the lines that end, and cut off what follows the last: a result half written."""
    count = end = at = 0
    file.seek(0)
    while block := file.read(1 << 20):
        count += block.count(b"\n")
        if (last := block.rfind(b"\n")) >= 0:
            end = at + last + 1
        at += len(block)
    file.seek(end)
    file.truncate()
    return count


class _Lines:
    """A line a result; written whole, so that a reader or a crash never sees half of one."""

    def __init__(self, file: Any, lines: int, *, as_csv: bool) -> None:
        self._file, self._csv = file, as_csv
        self._fields: list[str] = []
        self.done = lines
        if as_csv and lines:
            file.seek(0)
            self._fields = next(csv.reader([file.readline().decode("utf-8")]))
            file.seek(0, os.SEEK_END)
            self.done = lines - 1

    def write(self, result: Any) -> None:
        """See `Writer.write`."""
        self._file.write(self._line(result).encode("utf-8"))
        self._file.flush()

    def _line(self, result: Any) -> str:
        if not self._csv:
            return json.dumps(result, ensure_ascii=False) + "\n"
        # A list of answers has no columns: its best one stands for it.
        row = result[0] if isinstance(result, list) and result else result
        if not isinstance(row, dict):
            raise InputError("--output: wanted .jsonl for results that are not one row each")
        text = io.StringIO()
        writer = csv.DictWriter(
            text, self._fields or list(row), extrasaction="ignore", lineterminator="\n"
        )
        if not self._fields:
            self._fields = list(row)
            writer.writeheader()
        # A line break inside a value would break the count that --resume relies on.
        writer.writerow(
            {k: v.replace("\n", " ") if isinstance(v, str) else v for k, v in row.items()}
        )
        return text.getvalue()

    def close(self) -> None:
        """See `Writer.close`."""
        self._file.flush()
        if self._file is not sys.stdout.buffer:
            self._file.close()


class _Npy:
    """Rows of one float32 array. The header has a fixed size and tells how many rows are whole:
    it is rewritten after them, so that the file can be loaded at any moment.
    """

    HEADER = 128

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._width: int | None = None
        self.done = 0
        if path.stat().st_size:
            try:
                array = np.load(path, mmap_mode="r")
            except (ValueError, OSError, EOFError) as error:
                raise InputError(f"{path}: cannot be continued: {error}") from None
            if array.ndim != 2 or array.dtype != np.float32 or array.offset != self.HEADER:
                raise InputError(f"{path}: cannot be continued: not written by `yosort embed`")
            self.done, self._width = array.shape
        self._count = self.done

    def write(self, result: Any) -> None:
        """See `Writer.write`."""
        row = np.asarray(result, "<f4")
        if row.ndim != 1:
            raise InputError("--output: wanted --pooling cls or mean for .npy, a row a text")
        self._width = self._width or len(row)
        self._file.seek(self.HEADER + self._count * self._width * 4)
        self._file.write(row.tobytes())
        self._count += 1
        if self._count % 256 == 1:
            self._write_header()

    def _write_header(self) -> None:
        shape = (self._count, self._width or 0)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
        body = text.ljust(self.HEADER - 11) + "\n"
        self._file.flush()
        self._file.seek(0)
        self._file.write(
            b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body.encode("latin1")
        )
        self._file.flush()

    def close(self) -> None:
        """See `Writer.close`."""
        self._write_header()
        self._file.close()
