"""Where a command's inputs come from: arguments, files, or standard input."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from yosort.errors import InputError

FORMATS = ("lines", "jsonl", "csv")
_BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


def add_arguments(parser: argparse.ArgumentParser, fields: str) -> None:
    """Add the options of reading; `fields` says which keys or columns matter."""
    group = parser.add_argument_group("input")
    group.add_argument("--input", type=Path, metavar="FILE", help="read texts from a file")
    group.add_argument(
        "--format", choices=FORMATS, help="of the input; by the file's suffix, else lines"
    )
    group.add_argument(
        "--field",
        default="text",
        metavar="NAME",
        help=f"which key or column holds the text (text); also read: {fields}",
    )


def read(arguments: argparse.Namespace, keys: tuple[str, ...]) -> Iterator[Any]:
    """Yield the texts of the arguments, the file or standard input.

    A line is a text. A JSON line is a text, or an object from which `keys` are taken; a CSV row
    likewise. An object with --field alone yields its text.

    Raises:
        InputError: what is not there or not of the format, with the line's number.
    """
    if arguments.text:
        if arguments.input:
            raise InputError("wanted texts as arguments or --input, got both")
        yield from arguments.text
        return
    kind = arguments.format
    if arguments.input is None:
        yield from _parse(sys.stdin, kind or "lines", "standard input", arguments.field, keys)
        return
    kind = kind or _BY_SUFFIX.get(arguments.input.suffix.lower(), "lines")
    try:
        with arguments.input.open(encoding="utf-8-sig", newline="") as file:
            yield from _parse(file, kind, str(arguments.input), arguments.field, keys)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{arguments.input}: cannot be read: {error}") from None


def _parse(file: TextIO, kind: str, name: str, field: str, keys: tuple[str, ...]) -> Iterator[Any]:
    if kind == "csv":
        rows = csv.DictReader(file)
        for row in rows:
            yield _pick(row, f"{name}, line {rows.line_num}", field, keys)
        return
    for number, line in enumerate(file, 1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        if kind == "lines":
            yield text
            continue
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InputError(f"{name}, line {number}: not JSON: {error}") from None
        where = f"{name}, line {number}"
        yield _pick(value, where, field, keys) if isinstance(value, dict) else value


def _pick(row: dict[str, Any], where: str, field: str, keys: tuple[str, ...]) -> Any:
    """Return the text of an object, or those of the task's keys that it has."""
    if field != "text" or not keys:
        if field not in row:
            raise InputError(f"{where}: wanted a field {field!r}, got {sorted(map(str, row))}")
        return row[field]
    found = {key: row[key] for key in keys if row.get(key) is not None}
    if not found:
        raise InputError(f"{where}: wanted {' and '.join(keys)}, got {sorted(map(str, row))}")
    return found["text"] if found.keys() == {"text"} else found
