"""Where a command's results go: JSON lines, CSV or .npy, so that an interrupted run can go on.

Whatever the form, the n-th result in the file is that of the n-th input: --resume counts on it.
"""

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
from yosort.tasks.stream import Failure

#: Columns of a CSV file beside the task's own.
EXTRA_FIELDS = ("truncated", "error")


class Writer(Protocol):
    """Takes results one by one.

    Attributes:
        done: how many results the file held before, which a resumed run skips.
    """

    done: int

    def write(self, result: Any) -> None:
        """Add a result or a Failure; it is whole in the file when this returns, or not there."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def open_writer(
    path: Path | None, *, resume: bool, fields: tuple[str, ...] | str, width: int | str
) -> Writer:
    """Return the writer of a path by its suffix; None: JSON lines on standard output.

    Args:
        path: ends in .jsonl, .csv or .npy.
        resume: continue the file if it is there.
        fields: a result's keys, the columns of a .csv; or why results do not fit into one.
        width: a result's length, the columns of a .npy; or why results do not fit into one.

    Raises:
        InputError: the file exists and resume is off, or cannot be opened or continued, or results
            do not fit its form.
    """
    if path is None:
        if resume:
            raise InputError("--resume: wanted --output FILE to continue")
        return _Lines(sys.stdout.buffer, 0)
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".ndjson", ".csv", ".npy"):
        raise InputError(f"--output: wanted a name in .jsonl, .csv or .npy, got {str(path)!r}")
    for ending, form in ((".csv", fields), (".npy", width)):
        if suffix == ending and isinstance(form, str):
            raise InputError(f"--output: {form} for {ending}; .jsonl takes every result")
    if path.exists() and not resume:
        raise InputError(f"{path}: exists already; --resume continues it")
    try:
        file = path.open("r+b" if path.exists() else "w+b")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        if suffix == ".npy":
            return _Npy(file, path, int(width))
        lines = _whole_lines(file)
        return _Csv(file, path, lines, tuple(fields)) if suffix == ".csv" else _Lines(file, lines)
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

    def __init__(self, file: Any, done: int) -> None:
        self._file = file
        self.done = done

    def write(self, result: Any) -> None:
        """See `Writer.write`."""
        self._file.write(self._line(result).encode("utf-8"))
        self._file.flush()

    def _line(self, result: Any) -> str:
        if isinstance(result, Failure):
            result = {"index": result.index, "error": str(result.error)}
        return json.dumps(result, ensure_ascii=False) + "\n"

    def close(self) -> None:
        """See `Writer.close`."""
        self._file.flush()
        if self._file is not sys.stdout.buffer:
            self._file.close()


class _Csv(_Lines):
    """A row a result, under a header that all files of a task share."""

    def __init__(self, file: Any, path: Path, lines: int, fields: tuple[str, ...]) -> None:
        super().__init__(file, max(0, lines - 1))
        self._fields = (*fields, *EXTRA_FIELDS)
        header = self._row(self._fields).encode("utf-8")
        if not lines:
            file.write(header)
            return
        file.seek(0)
        if file.readline() != header:
            raise InputError(f"{path}: cannot be continued: wanted a first line {header.decode()}")
        file.seek(0, os.SEEK_END)

    def _line(self, result: Any) -> str:
        if isinstance(result, Failure):
            return self._row(["" for _ in self._fields[:-1]] + [str(result.error)])
        answers = result if isinstance(result, list) else [result]
        if len(answers) != 1 or not isinstance(answers[0], dict):
            raise InputError(f"--output: got {len(answers)} answers, a .csv has a row; use .jsonl")
        return self._row([answers[0].get(name, "") for name in self._fields])

    @staticmethod
    def _row(cells: Any) -> str:
        text = io.StringIO()
        # A line break inside a value would break the count that --resume relies on.
        csv.writer(text, lineterminator="\n").writerow(
            [c.replace("\n", " ").replace("\r", " ") if isinstance(c, str) else c for c in cells]
        )
        return text.getvalue()


class _Npy:
    """Rows of one float32 array; a failure is a row of NaN. The header has a fixed size and tells
    how many rows are whole: it is rewritten after them, so that the file loads at any moment.
    """

    HEADER = 128

    def __init__(self, file: BinaryIO, path: Path, width: int) -> None:
        self._file, self._width = file, width
        self.done = 0
        if path.stat().st_size:
            try:
                array = np.load(path, mmap_mode="r")
            except (ValueError, OSError, EOFError) as error:
                raise InputError(f"{path}: cannot be continued: {error}") from None
            if array.ndim != 2 or array.dtype != np.float32 or array.offset != self.HEADER:
                raise InputError(f"{path}: cannot be continued: not written by `yosort embed`")
            if array.shape[1] != width and len(array):
                raise InputError(
                    f"{path}: cannot be continued: its rows are {array.shape[1]} wide, "
                    f"this model's {width}"
                )
            self.done = len(array)
        self._count = self.done
        if not self.done:
            # Before the first row: rows behind a header that is not there could not be continued.
            self._write_header()

    def write(self, result: Any) -> None:
        """See `Writer.write`."""
        failed = isinstance(result, Failure)
        row = np.full(self._width, np.nan, "<f4") if failed else np.asarray(result, "<f4")
        self._file.seek(self.HEADER + self._count * self._width * 4)
        self._file.write(row.tobytes())
        self._count += 1
        if self._count % 256 == 1:
            self._write_header()

    def _write_header(self) -> None:
        shape = (self._count, self._width)
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
