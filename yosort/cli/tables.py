"""Tables of cells between delimiters, a record at a time: what is broken does not take the rest."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from yosort.errors import InputError

#: Characters of one record: more is no table.
LONGEST = 1 << 26


@dataclass(frozen=True)
class Record:
    """One record of a table.

    Attributes:
        line: where it begins, from 1.
        cells: its cells, or what is wrong with it.
        text: its lines as they stand in the file.
    """

    line: int
    cells: list[str] | InputError
    text: str


def check_delimiter(delimiter: str) -> str:
    r"""Return a delimiter of one character; "\t" is a tab, as shells hand it on.

    Raises:
        InputError: none.
    """
    found = "\t" if delimiter == "\\t" else delimiter
    if len(found) != 1 or found in '"\r\n':
        wanted = "one character, which is no quote and ends no line"
        raise InputError.wanted("--delimiter", wanted, delimiter)
    return found


def records(lines: Iterator[tuple[int, str | InputError]], delimiter: str) -> Iterator[Record]:
    """Yield the records of numbered lines, whose ends are theirs.

    A record that cannot be read costs the line that it begins with: those behind it are read anew.
    """
    csv.field_size_limit(LONGEST)
    feeder = _Feeder(lines)
    while (begin := feeder.begin()) is not None:
        line, first = begin
        if isinstance(first, InputError):
            feeder.drop()
            yield Record(line, first, "")
            continue
        try:
            cells = next(csv.reader(feeder, delimiter=delimiter, strict=True), [])
            wrong = next((t for _, t in feeder.taken if isinstance(t, InputError)), None)
            if wrong is not None:
                raise wrong
            text = feeder.text()
            feeder.drop()
            yield Record(line, cells, text)
        except (csv.Error, InputError) as error:
            feeder.back()
            text = feeder.text()
            feeder.drop()
            yield Record(line, _explain(error), text)


def read_row(text: str) -> list[str]:
    """Return the cells of one whole row.

    Raises:
        ValueError: it is none, or more than one.
    """
    csv.field_size_limit(LONGEST)
    try:
        (cells,) = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return cells


class _Feeder(Iterator[str]):
    """Gives a reader lines, and takes those back that it read in vain."""

    def __init__(self, lines: Iterator[tuple[int, str | InputError]]) -> None:
        self._lines = lines
        self._waiting: deque[tuple[int, str | InputError]] = deque()
        self.taken: list[tuple[int, str | InputError]] = []
        self._size = 0

    def begin(self) -> tuple[int, str | InputError] | None:
        """Return the next line without taking it."""
        if not self._waiting:
            found = next(self._lines, None)
            if found is None:
                return None
            self._waiting.append(found)
        return self._waiting[0]

    def __next__(self) -> str:
        found = self.begin()
        if found is None:
            raise StopIteration
        self.taken.append(self._waiting.popleft())
        _, text = found
        if isinstance(text, InputError):
            raise text
        self._size += len(text)
        if self._size > LONGEST:
            raise InputError(f"wanted a row of at most {LONGEST:,} characters, got a longer one")
        if "\0" in text:
            raise InputError("wanted text, got a NUL byte")
        return text

    def back(self) -> None:
        """Take all lines back but the first."""
        self._waiting.extendleft(reversed(self.taken[1:]))
        self.taken = self.taken[:1]

    def text(self) -> str:
        """Return the lines that were taken."""
        return "".join(text for _, text in self.taken if isinstance(text, str))

    def drop(self) -> None:
        """Forget the lines that were taken; of none, the next."""
        if not self.taken and self._waiting:
            self._waiting.popleft()
        self.taken, self._size = [], 0


def _explain(error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    if "unexpected end of data" in str(error):
        return InputError("wanted a quote that closes, got one that never does")
    if "new-line character" in str(error):
        return InputError("wanted lines that end at a line feed, got a carriage return alone")
    return InputError(f"not CSV: {error}")
