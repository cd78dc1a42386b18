"""Continuing a file: it is proved to be the beginning of this very run before a byte of it changes.

The answers are deterministic. So the last results that the file holds are computed anew, and have
to be the same: what another model, option or input wrote is not.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from yosort.cli.reading import Entry
from yosort.cli.writing import Form, Npy, Records, Writer, named, open_alone
from yosort.errors import InputError, show

#: So many of the last results are computed anew.
CHECKED = 16
#: How far numbers may be from those in the file, over the largest beside them. On one kind of
#: processor they are the same to the bit; a run that is continued on another, or on a GPU, sums in
#: another order: the last bits of float32 (1e-7 of a sum), of the rounding of 16-bit types and of
#: int8's products (1e-3). Other models, seeds and options are farther away.
TOLERANCE = 1e-3
_NPY_HEADER = re.compile(re.escape(Npy.BEGIN) + rb"(\d{1,18}), (\d{1,18})\), } *\n")
Answer = Callable[[list[Entry], int], list[Any]]


@dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
        done: whole records.
        last: the last of them.
        end: the bytes up to their end.
        tail: what is behind them: a record half written.
    """

    done: int
    last: list[bytes]
    end: int
    tail: bytes


def continue_records(
    path: Path, form: Form, entries: Iterator[Entry], answer: Answer
) -> tuple[Writer, int, list[Entry]]:
    """Return the writer of a file's rest, how many results are there, and entries read ahead.

    Raises:
        InputError: the file is not the beginning of this run, or another one is writing it; it is
            as it was.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_alone(path))
        found = _survey(path, form)
        again = _entries_of(path, entries, found.done, len(found.last))
        results = answer(again, found.done - len(again))
        for number, (record, entry, result) in enumerate(
            zip(found.last, again, results, strict=True), found.done - len(again) + 1
        ):
            wanted = form.decode(form.encode(result, entry.kept))
            got = form.decode(record)
            (got_kept, got_own), (kept, own) = form.part(got), form.part(wanted)
            if repr(got_kept) != repr(kept) or not _same(got_own, own):
                raise _other_run(path, f"result {number} is {show(got)}, this run's {show(wanted)}")
        ahead: list[Entry] = []
        tail = found.tail.rstrip(b"\0")  # which file systems leave behind a crash
        if tail:
            ahead = list(islice(entries, 1))
            results = answer(ahead, found.done) if ahead else []
            if not results or not _begins(form.encode(results[0], ahead[0].kept), tail):
                raise _other_run(path, f"it ends in {show(tail)}, which begins no result of this")
        with named(path):
            file.seek(found.end)
            file.truncate()
            if not found.end:
                file.write(form.header)
        stack.pop_all()
        return Records(form, path, file), found.done, ahead


def continue_rows(
    path: Path, width: int, entries: Iterator[Entry], answer: Answer
) -> tuple[Writer, int, list[Entry]]:
    """As `continue_records`, of a .npy file."""
    with ExitStack() as stack:
        file = stack.enter_context(open_alone(path))
        rows = _survey_rows(path, width)
        done = len(rows)
        again = _entries_of(path, entries, done, min(done, CHECKED))
        writer = Npy(width, path, file, done)
        first = done - len(again)
        for number, result in enumerate(answer(again, first), first):
            if not _same(rows[number].tolist(), writer.row(result).tolist()):
                raise _other_run(path, f"row {number + 1} is another than this run's")
        stack.pop_all()
        return writer, done, []


def _survey(path: Path, form: Form) -> Found:
    """Read a file through, and change nothing."""
    last: deque[bytes] = deque(maxlen=CHECKED)
    with path.open("rb") as file:
        begin = file.read(len(form.header))
        if begin != form.header:
            torn = form.header.startswith(begin.rstrip(b"\0"))
            if torn and not file.read(1 << 16).strip(b"\0"):
                return Found(0, [], 0, b"")
            raise _other_run(
                path, f"it begins with {show(begin)}, this run's with {show(form.header)}"
            )
        done, end = 0, len(form.header)
        records = _whole(path, form, file)
        tail = b""
        for record, is_tail in records:
            if is_tail:
                tail = record
                break
            last.append(record)
            done, end = done + 1, end + len(record)
    return Found(done, list(last), end, tail)


def _survey_rows(path: Path, width: int) -> npt.NDArray[np.float32]:
    """Return the whole rows of a .npy file: a crash may leave fewer than its header tells, or zeros
    in their place; and of a header that was half written there are none.
    """
    with path.open("rb") as file:
        begin, more = file.read(Npy.HEADER), file.read(1 << 16)
        size = file.seek(0, os.SEEK_END)
    header = _NPY_HEADER.fullmatch(begin)
    if header is None:
        written = begin.rstrip(b"\0")
        torn = written[: len(Npy.BEGIN)] == Npy.BEGIN[: len(written)]
        if torn and len(written) < Npy.HEADER and not more.strip(b"\0"):
            return np.empty((0, width), np.float32)
        raise InputError(f"{path}: cannot be continued: not written by `yosort embed`")
    told, columns = map(int, header.groups())
    if columns != width:
        raise _other_run(path, f"its rows are {columns} wide, this model's {width}")
    count = min(told, (size - Npy.HEADER) // (4 * width))
    if not count:
        return np.empty((0, width), np.float32)
    rows = np.memmap(path, np.float32, "r", Npy.HEADER, (count, width))
    while count and not rows[count - 1].any():
        count -= 1
    return rows[:count]


def _whole(path: Path, form: Form, file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    held: bytes | None = None
    for number, record in enumerate(form.records(file)):
        if held is not None:
            try:
                if b"\0" in held:
                    raise ValueError("a NUL byte")
                form.decode(held)
            except ValueError as error:
                raise InputError(
                    f"{path}: cannot be continued: result {number} cannot be read: {error}"
                ) from None
            yield held, False
        held = record
    yield held or b"", True


def _entries_of(path: Path, entries: Iterator[Entry], done: int, count: int) -> list[Entry]:
    """Return the entries of the last results, and leave those behind them in the iterator."""
    skipped = sum(1 for _ in islice(entries, done - count))
    found = list(islice(entries, count))
    if skipped + len(found) < done:
        raise InputError(
            f"{path}: holds {done} results, but there are {skipped + len(found)} inputs"
        )
    return found


def _other_run(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: cannot be continued: {what}: wanted the beginning of this very run, of the same "
        "model, options and inputs; nothing was changed"
    )


def _same(got: Any, wanted: Any) -> bool:
    """Whether two decoded results are the same, but for the last bits of their numbers."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        return list(got) == list(wanted) and _same([*got.values()], [*wanted.values()])
    if isinstance(got, list) and isinstance(wanted, list):
        if len(got) != len(wanted):
            return False
        pairs = list(zip(got, wanted, strict=True))
        if any(isinstance(a, float) for pair in pairs for a in pair):
            numbers = [(a, b) for a, b in pairs if _is_number(a) and _is_number(b)]
            floats = [abs(b) for _, b in numbers if isinstance(b, float) and math.isfinite(b)]
            largest = max(floats, default=0.0)
            return all(
                _near(a, b, largest) if _is_number(a) and _is_number(b) else _same(a, b)
                for a, b in pairs
            )
        return all(_same(a, b) for a, b in pairs)
    return bool(type(got) is type(wanted) and got == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _near(a: float, b: float, largest: float) -> bool:
    if a != a or b != b:
        return a != a and b != b
    if a == b or (isinstance(a, int) and isinstance(b, int)):
        return a == b
    return abs(a - b) <= TOLERANCE * largest


def _begins(record: bytes, tail: bytes) -> bool:
    """Whether a record half written is the beginning of one, whatever the last bits of numbers."""
    got, wanted = (re.sub(rb"-?\d[\d.eE+-]*", b"#", text) for text in (tail, record))
    return wanted.startswith(got.removesuffix(b"#").rstrip(b"-")) and bool(got)
