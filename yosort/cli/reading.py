"""Where a command's inputs come from: arguments, files, or standard input."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from yosort.cli.messages import Places
from yosort.errors import InputError

FORMATS = ("lines", "jsonl", "csv")
_BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


def add_arguments(parser: argparse.ArgumentParser, keys: tuple[str, ...]) -> None:
    """Add the options of reading; `keys` are the JSON keys or CSV columns that the task takes."""
    group = parser.add_argument_group("input")
    group.add_argument(
        "--input",
        action="extend",
        nargs="+",
        metavar="FILE",
        help="read texts from files; - is standard input",
    )
    group.add_argument(
        "--format",
        choices=FORMATS,
        help="of the input; else by the file's suffix (.jsonl, .csv), else lines",
    )
    group.add_argument(
        "--field",
        metavar="NAME",
        help=f"the JSON key or CSV column that holds the text; else {' and '.join(keys)}",
    )


def check(arguments: argparse.Namespace) -> None:
    """Raise InputError where files cannot be there for the reading: before a model is loaded."""
    if arguments.text and arguments.input:
        raise InputError("wanted texts as arguments or --input, got both")
    for name in arguments.input or ():
        if name != "-" and not Path(name).exists():
            raise InputError(
                f"{name}: cannot be read: no such file (what follows --input are files, and texts "
                "cannot stand beside it)"
            )


def read(arguments: argparse.Namespace, keys: tuple[str, ...]) -> Iterator[Any]:
    """Yield the texts of the arguments, the files or standard input.

    A line is a text. A JSON line is a text, or an object from which `keys` are taken; a CSV row
    likewise. An object with --field yields that field alone.

    Raises:
        InputError: what is not there or not of the format, with the line's number.
    """
    if arguments.text:
        if arguments.input:
            raise InputError("wanted texts as arguments or --input, got both")
        alone = len(arguments.text) == 1
        for number, text in enumerate(arguments.text, 1):
            arguments.places.note("" if alone else f"text {number}")
            yield text
        return
    skipped = _Skipped(arguments.places)
    for name in arguments.input or ["-"]:
        yield from _read_file(name, arguments.format, arguments.field, keys, skipped)
    if skipped.count:
        where = f"the first is {skipped.first}"
        print(f"yosort: skipped {skipped.count} empty lines; {where}", file=sys.stderr)


class _Skipped:
    """Lines without a text: they get no result, so that line numbers shift; hence the message."""

    count = 0
    first = ""

    def __init__(self, places: Places) -> None:
        self.places = places

    def add(self, where: str) -> None:
        self.count += 1
        self.first = self.first or where


def _read_file(
    name: str, kind: str | None, field: str | None, keys: tuple[str, ...], skipped: _Skipped
) -> Iterator[Any]:
    label = "standard input" if name == "-" else name
    kind = kind or _BY_SUFFIX.get(Path(name).suffix.lower(), "lines")
    try:
        if name == "-":
            if sys.stdin.isatty():
                print("yosort: reading lines from the keyboard; Ctrl-D ends", file=sys.stderr)
            yield from _parse(sys.stdin, kind, label, field, keys, skipped)
            return
        with Path(name).open(encoding="utf-8-sig", newline="") as file:
            yield from _parse(file, kind, label, field, keys, skipped)
    except UnicodeDecodeError:
        raise InputError(f"{label}: wanted text in UTF-8, got other bytes") from None
    except csv.Error as error:
        raise InputError(f"{label}: not CSV: {error}") from None
    except OSError as error:
        raise InputError(f"{label}: cannot be read: {error.strerror}") from None


def _parse(
    file: TextIO,
    kind: str,
    name: str,
    field: str | None,
    keys: tuple[str, ...],
    skipped: _Skipped,
) -> Iterator[Any]:
    if kind == "csv":
        rows = csv.DictReader(file)
        for row in rows:
            where = f"{name}, line {rows.line_num}"
            value = _pick(row, where, field, keys)
            skipped.places.note(where)
            yield value
        return
    for number, line in enumerate(file, 1):
        text = line.rstrip("\r\n")
        where = f"{name}, line {number}"
        if not text.strip():
            skipped.add(where)
            continue
        skipped.places.note(where)
        if kind == "lines":
            yield text
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON: {error}") from None
        yield _pick(value, where, field, keys) if isinstance(value, dict) else value


def _pick(row: dict[str, Any], where: str, field: str | None, keys: tuple[str, ...]) -> Any:
    """Return the text of an object, or those of the task's keys that it has."""
    names = ", ".join(sorted(map(str, row)))
    if field is not None:
        if field not in row:
            raise InputError(f"{where}: wanted a field {field!r}, got {names}")
        return row[field]
    found = {key: row[key] for key in keys if row.get(key) is not None}
    if not found:
        raise InputError(
            f"{where}: wanted {' and '.join(keys)}, got {names}; --field names another"
        )
    return found["text"] if found.keys() == {"text"} else found
