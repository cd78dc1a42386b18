"""What a terminal shows: its width, the width of a text on it, and no control characters."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

#: Format characters that join or part letters: without them words of some scripts look wrong.
_JOINERS = "\u200c\u200d"
_EMOJI_STYLE = "\ufe0f"


class _Closed(io.RawIOBase):
    """What stands for standard output where it is closed: to write to it is an error."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise OSError("standard output is closed")


def prepare_streams() -> None:
    """Let standard output and error show every text: as an escape where the code page lacks it.

    Python has None for a stream that is closed, as launchers leave it. Its number is taken by the
    null device, or the next file that is opened would get it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = io.StringIO()
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed(), 1), write_through=True)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def typed(text: str) -> str:
    """Return a text of the command line as UTF-8, whatever the locale took its bytes for."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # bytes that the locale does not know
        return os.fsencode(text).decode("utf-8", errors="surrogateescape")
    return text


def width() -> int:
    """Return the terminal's columns; 80 where standard output is none."""
    return max(20, shutil.get_terminal_size((80, 24)).columns)


def printable(text: str) -> str:
    """Return a text on one line, with its control characters as escapes.

    What steers a terminal (escape sequences, line breaks, marks that turn the writing direction)
    is shown, not sent.
    """
    return "".join(c.encode("unicode_escape").decode() if _steers(c) else c for c in text)


def _steers(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in _JOINERS


def cells(text: str) -> int:
    """Return the columns that a printable text takes: 2 a wide character, 0 a combining one."""
    count = 0
    for c in text:
        if c == _EMOJI_STYLE:
            count += 1  # the narrow form before it becomes a wide one
        elif unicodedata.category(c) not in ("Mn", "Me", "Cf"):
            count += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return count


def pad(text: str, columns: int) -> str:
    """Return a text with blanks up to so many columns."""
    return text + " " * max(0, columns - cells(text))


def shorten(text: str, columns: int) -> str:
    """Return a text that takes at most so many columns, with dots where its end is left out."""
    if cells(text) <= columns:
        return text
    return _beginning(text, columns - 3) + "..."


def wrap(text: str, columns: int) -> list[str]:
    """Return a printable text as lines of at most so many columns, parted at blanks if possible."""
    lines = []
    while cells(text) > columns:
        line = _beginning(text, columns)
        blank = line.rfind(" ") if text[len(line)] != " " else len(line)
        # A blank within the indentation parts nothing.
        end = blank if line[: max(blank, 0)].strip() else len(line)
        lines.append(line[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def hang(head: str, text: str, columns: int) -> Iterator[str]:
    """Yield the lines of a text beside a head, which the lines after the first leave free."""
    first, *others = wrap(text, max(10, columns - cells(head)))
    yield (head + first).rstrip()
    for line in others:
        yield " " * cells(head) + line


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a name and a finding, a column each."""
    pairs = list(facts)
    wide = max(cells(name) for name, _ in pairs)
    for name, value in pairs:
        for line in hang(f"{pad(name, wide)}  ", printable(value), width()):
            print(line)


def _beginning(text: str, columns: int) -> str:
    """Return as much of a text as fits, with the marks that combine with its last character."""
    end = used = 0
    for c in text:
        used += cells(c)
        if used > columns:
            break
        end += 1
    return text[: max(end, 1)]
