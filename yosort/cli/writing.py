"""Where a command's results go: JSON lines, CSV or .npy, so that an interrupted run can go on.

Whatever the form, the n-th record of the file is that of the n-th input: --resume counts on it.
The file is made with its first result; a run that fails before leaves none.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from yosort.cli import tables
from yosort.errors import InputError
from yosort.tasks.stream import Failure

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Columns of a CSV file beside the task's own.
EXTRA_FIELDS = ("truncated", "error")
#: What strict readers of lines take for their end, and what UTF-8 has no form for.
_ESCAPED = re.compile("[\u0085\u2028\u2029\ud800-\udfff]")


class Form(Protocol):
    """How results look in a file.

    Attributes:
        header: what the file begins with.
    """

    header: bytes

    def encode(self, result: Any, kept: dict[str, Any]) -> bytes:
        """Return the record of a result or Failure."""
        ...

    def decode(self, record: bytes) -> Any:
        """Return what a record says, to be compared: raises ValueError for one that is none."""
        ...

    def part(self, said: Any) -> tuple[Any, Any]:
        """Return what a decoded record has of its input, and what of its result."""
        ...

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the records behind the header, and last what is no whole record, maybe empty."""
        ...


class JsonLines:
    """A line a result.

    Args:
        kept: the names of what stands beside the results; no failure's.
        flat: a result has one answer, whose keys stand beside those that are kept.
    """

    header = b""

    def __init__(self, kept: tuple[str, ...] = (), *, flat: bool = False) -> None:
        check_kept(kept, ("index", *EXTRA_FIELDS))
        self._kept, self._flat = kept, flat

    def encode(self, result: Any, kept: dict[str, Any]) -> bytes:
        """See `Form.encode`."""
        if isinstance(result, Failure):
            result = {**kept, **result.to_dict()}
        elif kept:
            one = self._flat and isinstance(result, list) and len(result) == 1
            if one and isinstance(result[0], dict):
                result = result[0]
            own = result if isinstance(result, dict) else {"result": result}
            check_kept(kept, own)
            result = {**kept, **own}
        text = json.dumps(result, ensure_ascii=False, allow_nan=False)
        escaped = _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        return f"{escaped}\n".encode()

    def decode(self, record: bytes) -> Any:
        """See `Form.decode`."""
        try:
            return json.loads(record)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None

    def part(self, said: Any) -> tuple[Any, Any]:
        """See `Form.part`."""
        if not isinstance(said, dict):
            return {}, said
        kept = {name: value for name, value in said.items() if name in self._kept}
        return kept, {name: value for name, value in said.items() if name not in kept}

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """See `Form.records`."""
        tail = b""
        for line in file:
            if not line.endswith(b"\n"):
                tail = line
                break
            yield line
        yield tail


class PartLines(JsonLines):
    """A line a part of a result, which is a list; `index`, the input's number, holds them together.

    A result without parts is a line that has none.

    Args:
        kept: as there; `index` is kept, too.
    """

    def __init__(self, kept: tuple[str, ...]) -> None:
        super().__init__(kept)
        check_kept(kept, ("start", "end", "vector"))

    def encode(self, result: Any, kept: dict[str, Any]) -> bytes:
        """See `Form.encode`."""
        if isinstance(result, Failure):
            return super().encode(result, kept)
        return b"".join(super(PartLines, self).encode(part, kept) for part in result or [{}])

    def decode(self, record: bytes) -> Any:
        """See `Form.decode`."""
        return [super(PartLines, self).decode(line) for line in record.splitlines()]

    def part(self, said: Any) -> tuple[Any, Any]:
        """See `Form.part`."""
        parts = [super(PartLines, self).part(line) for line in said]
        return [kept for kept, _ in parts], [own for _, own in parts]

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """See `Form.records`: the last record may lack lines, so it is never known to be whole."""
        record, begun = b"", b""
        for line in file:
            index = line.partition(b",")[0]
            if record and index != begun:
                yield record
                record = b""
            record, begun = record + line, index
        yield record


class Csv:
    """A row a result, under a header that all files of a task share."""

    def __init__(self, fields: tuple[str, ...], kept: tuple[str, ...]) -> None:
        self._fields = (*fields, *EXTRA_FIELDS)
        check_kept(kept, self._fields)
        self.header = self._row((*kept, *self._fields))
        self._kept = kept

    def encode(self, result: Any, kept: dict[str, Any]) -> bytes:
        """See `Form.encode`."""
        own = [_cell(kept.get(name, "")) for name in self._kept]
        if isinstance(result, Failure):
            return self._row([*own, *("" for _ in self._fields[:-1]), str(result.error)])
        answers = result if isinstance(result, list) else [result]
        if len(answers) != 1 or not isinstance(answers[0], dict):
            raise InputError(f"--output: got {len(answers)} answers, a .csv has a row; use .jsonl")
        return self._row([*own, *(answers[0].get(name, "") for name in self._fields)])

    def decode(self, record: bytes) -> Any:
        """See `Form.decode`: numbers as numbers, where the result's are written as such."""
        cells = tables.read_row(record.decode())
        count = len(self._kept)
        return [*cells[:count], *map(_number, cells[count:])]

    def part(self, said: Any) -> tuple[Any, Any]:
        """See `Form.part`."""
        return said[: len(self._kept)], said[len(self._kept) :]

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """See `Form.records`: a record may hold line breaks within quotes."""
        begin = b""
        for line in file:
            begin += line
            # Each cell's quotes are paired, those within it doubled.
            if begin.count(b'"') % 2 == 0 and line.endswith(b"\n"):
                yield begin
                begin = b""
            elif len(begin) > tables.LONGEST:
                break
        yield begin

    @staticmethod
    def _row(cells: Any) -> bytes:
        text = io.StringIO(newline="")
        # By its own line end the writer knows what to quote: a \r, too.
        csv.writer(text, lineterminator="\r\n").writerow(cells)
        row = text.getvalue().removesuffix("\r\n") + "\n"
        # What UTF-8 has no form for, and NUL, which readers of tables refuse, are spelt out.
        return row.replace("\0", "\\x00").encode("utf-8", "backslashreplace")


class Writer(Protocol):
    """Takes results one by one."""

    def write(self, result: Any, kept: dict[str, Any]) -> None:
        """Add a result or a Failure; it is whole in the file when this returns, or not there."""
        ...

    def close(self, *, complete: bool) -> None:
        """Finish the file; a complete run without results makes an empty one."""
        ...


class Records:
    """Writes the records of a form into a file, a stream, or standard output."""

    def __init__(self, form: Form, path: Path | None, file: Any = None) -> None:
        self._form, self._path, self._file = form, path, file

    def write(self, result: Any, kept: dict[str, Any]) -> None:
        """See `Writer.write`."""
        record = self._form.encode(result, kept)
        if self._file is None:
            self._file = self._open()
            record = self._form.header + record
        with named(self._path):
            _put(self._file, record)
            self._file.flush()

    def close(self, *, complete: bool) -> None:
        """See `Writer.close`."""
        if self._file is None and complete:
            self._file = self._open()
            with named(self._path):
                _put(self._file, self._form.header)
        if self._file is not None:
            with named(self._path):
                self._file.flush() if self._path is None else self._file.close()

    def _open(self) -> Any:
        return sys.stdout.buffer if self._path is None else open_new(self._path)


class Npy:
    """Rows of one float32 array; a failure is a row of NaN. The header has a fixed size and tells
    how many rows are whole: it is rewritten after them, so that the file loads at any moment.
    """

    HEADER = 128
    BEGIN = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': ("

    def __init__(self, width: int, path: Path, file: Any = None, done: int = 0) -> None:
        self._width, self._path, self._file, self._count = width, path, file, done

    def row(self, result: Any) -> Any:
        """Return a result's row."""
        failed = isinstance(result, Failure)
        return np.full(self._width, np.nan, "<f4") if failed else np.asarray(result, "<f4")

    def write(self, result: Any, kept: dict[str, Any]) -> None:
        """See `Writer.write`."""
        if self._file is None:
            self._file = open_new(self._path)
        with named(self._path):
            if not self._count:
                # Rows behind a header that is not there could not be continued.
                self._write_header()
            self._file.seek(self.HEADER + self._count * self._width * 4)
            _put(self._file, self.row(result).tobytes())
            self._count += 1
            if self._count % 256 == 1:
                self._write_header()

    def _write_header(self) -> None:
        header = self.BEGIN + f"{self._count}, {self._width}), }}".encode()
        self._file.seek(0)
        _put(self._file, header.ljust(self.HEADER - 1) + b"\n")

    def close(self, *, complete: bool) -> None:
        """See `Writer.close`."""
        if self._file is None and complete:
            self._file = open_new(self._path)
        if self._file is not None:
            with named(self._path), contextlib.closing(self._file):
                self._write_header()


def open_new(path: Path) -> io.FileIO:
    """Open a file that is not there yet, or is empty, or is a stream.

    Raises:
        InputError: it cannot be, or another run has begun to write it.
    """
    if path.exists() and not path.is_file():
        with named(path):
            return path.open("wb", buffering=0)
    file = open_alone(path)
    if os.fstat(file.fileno()).st_size:  # since the command began
        file.close()
        raise InputError(f"{path}: exists already; --resume continues it")
    return file


def open_alone(path: Path) -> io.FileIO:
    """Open a file for writing, made if need be, while no other run writes it.

    There is no buffer: what has been written is in the file, and a write that failed leaves
    nothing behind that a later one would repeat.

    Raises:
        InputError: it cannot be, or another run is writing it.
    """
    with named(path):
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)  # and what is there stays
        file = io.FileIO(os.open(path, flags, 0o666), "w")
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"{path}: another run is writing it; wanted a file of its own") from None
    except OSError:
        pass  # a file system without locks
    return file


def check_kept(kept: Collection[str], own: Collection[str]) -> None:
    """Raise InputError where names of what is kept are names of results."""
    twice = [name for name in kept if name in own]
    if twice:
        raise InputError.wanted(
            "--keep", "other names than the results'", got=repr(twice[0]), hint="NAME=OTHER renames"
        )


@contextlib.contextmanager
def named(path: Path | None) -> Iterator[None]:
    """Say in errors where results cannot be written; a reader that went away is no error."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.strerror is None:
            raise
        where = path or "standard output"
        raise InputError(f"{where}: cannot be written: {error.strerror}") from None


def _put(file: Any, data: bytes) -> None:
    """Write all of it: without a buffer a file may take a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _cell(value: Any) -> Any:
    """Return what a .csv has of a kept value: JSON where it is no text and no number."""
    plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return value if plain or value is None else json.dumps(value, ensure_ascii=False)


def _number(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
