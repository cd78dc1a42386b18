"""Where a command's inputs come from: arguments, files, or standard input.

Texts are UTF-8 whatever the locale says; a byte order mark is dropped; lines end at a line feed,
with or without a carriage return before it, and nowhere else. What is wrong with one line, row or
element is that input's error, and reading goes on behind it; what is wrong with a whole file is
raised.
"""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yosort.cli import messages, picking, tables
from yosort.errors import InputError, show

FORMATS = ("lines", "jsonl", "json", "csv", "tsv")
_BY_SUFFIX = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
}  # fmt: skip
_TABLES = {"csv": ",", "tsv": "\t"}
#: So much of a file's beginning tells text from what is none.
_START = 4096
#: What other files begin with.
_MAGIC = {
    b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive (as .docx and .xlsx are)", b"%PDF-": "PDF",
    b"PAR1": "parquet", b"ARROW1": "Arrow", b"\x93NUMPY": "an array of NumPy's",
    codecs.BOM_UTF16_LE: "text in UTF-16", codecs.BOM_UTF16_BE: "text in UTF-16",
}  # fmt: skip
#: Of these, those that a text may begin with: PAR1 is a gene.
_WORDS = (b"PAR1", b"ARROW1")


@dataclass(frozen=True)
class Entry:
    """One input, as it was read.

    Attributes:
        value: what the task takes, or the InputError that stands in its place.
        kept: the columns that go into the output beside the result.
    """

    value: Any
    kept: dict[str, Any] = field(default_factory=dict)


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
        type=str.lower,
        choices=FORMATS,
        help="of the input; else by the file's suffix (.jsonl, .json, .csv, .tsv), else lines",
    )
    group.add_argument(
        "--field",
        action="extend",
        nargs="+",
        metavar="NAME",
        help=f"the JSON key or CSV column that holds the text, one for each of "
        f"{' and '.join(keys)}; else these names",
    )
    group.add_argument(
        "--delimiter", metavar="C", help="what stands between the cells of a row (, or a tab)"
    )
    group.add_argument(
        "--keep",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="JSON keys or CSV columns that go into the output, such as an id; NAME=OTHER under "
        "another name",
    )


def check(arguments: argparse.Namespace, keys: tuple[str, ...] = ()) -> None:
    """Raise InputError where files cannot be read so: before a model is loaded."""
    if arguments.text == ["-"] and not arguments.input:  # standard input, as for other commands
        arguments.text, arguments.input = [], ["-"]
    if arguments.text and arguments.input:
        got = f"both, {show(arguments.text[0])} as a text"
        raise InputError(f"wanted texts as arguments or --input, got {got}")
    names = arguments.input or ([] if arguments.text else ["-"])
    if arguments.text and arguments.format:
        raise InputError("--format: wanted --input or standard input to read, got texts")
    kinds = {_kind(name, arguments.format) for name in names} or {"lines"}
    for option, takes in (("field", {*FORMATS} - {"lines"}), ("delimiter", {*_TABLES})):
        if getattr(arguments, option, None) and not kinds <= takes:
            raise InputError(_wants(option, takes, kinds - takes))
    if getattr(arguments, "keep", None):
        picking.kept_names(arguments)
        if "lines" in kinds:
            raise InputError(_wants("keep", {*FORMATS} - {"lines"}, kinds & {"lines"}))
    field = getattr(arguments, "field", None)
    if isinstance(field, list) and keys and len(field) > len(keys):
        each = f"one for each of {' and '.join(keys)}" if len(keys) > 1 else f"one, for {keys[0]}"
        raise InputError.wanted("--field", each, got=", ".join(field))
    if getattr(arguments, "delimiter", None):
        tables.check_delimiter(arguments.delimiter)
    for name in names:
        if name == "-":
            continue
        path = Path(name)
        if not path.exists():
            why = "what follows --input are files, and texts cannot stand beside it"
            takes_texts = any(action.dest == "text" for action in arguments.parser._actions)
            beside = f" ({why})" if takes_texts else ""
            raise InputError(f"{name}: cannot be read: no such file{beside}")
        if path.is_dir():
            hint = "--model names a model's" if (path / "config.json").exists() else None
            raise InputError.wanted(name, "a file", got="a folder", hint=hint)
        if path.is_file():
            _refuse_other_files(name)


def _wants(option: str, takes: Iterable[str], got: Iterable[str]) -> str:
    wanted = ", ".join(kind for kind in FORMATS if kind in takes)
    return f"--{option}: wanted a format with fields ({wanted}), got {', '.join(sorted(got))}"


def read(arguments: argparse.Namespace, keys: tuple[str, ...]) -> Iterator[Entry]:
    """Yield the texts of the arguments, the files or standard input.

    A line is a text. A JSON line or element is a text, or an object from which `keys` are taken; a
    CSV row likewise. An object with --field yields that field alone.

    Raises:
        InputError: a file that is not there or not of the format.
    """
    places: messages.Places = arguments.places
    if arguments.text:
        alone = len(arguments.text) == 1
        for number, text in enumerate(arguments.text, 1):
            places.note("" if alone else f"text {number}")
            note_path(text, "--input reads files")
            yield Entry(text if text.strip() else _no_text(text))
        return
    kept = picking.kept_names(arguments)
    skipped, first = 0, ""
    for name in arguments.input or ["-"]:
        for where, found in _items(name, arguments):
            if found is None:  # an empty line: it gets no result
                skipped, first = skipped + 1, first or where
                continue
            places.note(where)
            noun = "columns" if _kind(name, arguments.format) in _TABLES else "keys"
            yield _entry(found, arguments.field, kept, keys, noun)
    if skipped:
        print(f"yosort: skipped {skipped} empty lines; the first is {first}", file=sys.stderr)


def note_path(text: str, reads: str) -> None:
    """Say of a text that is the name of a file or folder that it is taken as a text."""
    folder = os.path.isdir(text)
    if folder or os.path.isfile(text):
        hint = "--model names a model's folder" if folder else reads
        print(f"yosort: {text} is taken as a text; {hint}", file=sys.stderr)


def read_text(path: Path) -> str:
    """Return a file's whole text, a byte order mark aside: places in it are the file's own.

    It is opened once, for it may be a pipe; - is standard input.

    Raises:
        InputError: it cannot be read, or is no UTF-8.
    """
    is_standard = str(path) == "-"
    name = "standard input" if is_standard else str(path)
    try:
        whole = b"".join(_standard_input()) if is_standard else path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    _refuse_other_content(whole[:_START], name)
    try:
        return whole.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError.wanted(name, "text in UTF-8", got="other bytes") from None


def _kind(name: str, given: str | None) -> str:
    return given or _BY_SUFFIX.get(Path(name).suffix.lower(), "lines")


def _refuse_other_files(name: str) -> None:
    try:
        with open(name, "rb") as file:
            _refuse_other_content(file.read(_START), name)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None


def _refuse_other_content(begin: bytes, name: str) -> None:
    """Raise InputError of what begins like no text: that of a whole file, not of its lines."""
    magic = next((magic for magic in _MAGIC if begin.startswith(magic)), b"")
    what = _MAGIC.get(magic)
    if magic in _WORDS and b"\0" not in begin and _is_utf8(begin):
        what = None
    if what is None and b"\0" in begin:
        if not _is_utf8(begin):
            what = "a binary file, which holds no text"
        # Letters of UTF-16 and UTF-32 are UTF-8, too: each beside its zeros.
        if what is None and begin.count(0) * 4 >= len(begin):
            what = "zero bytes between or in place of letters, as text in UTF-16 has"
    if what is not None:
        listed = ", ".join(sorted({*_BY_SUFFIX}))
        raise InputError.wanted(name, f"text in UTF-8, or {listed}", got=what)


def _is_utf8(begin: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError:
        return False
    return True


def _items(name: str, arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Yield the place of each item of a file and the item, an InputError, or None if empty."""
    label = "standard input" if name == "-" else name
    kind = _kind(name, arguments.format)
    try:
        if name == "-":
            if sys.stdin.isatty():
                ends = ["Ctrl-D ends", *map(messages.belongs, messages.swallowing(arguments))]
                what = f"reading lines from the keyboard; {'; '.join(ends)}"
                print(f"yosort: {what}", file=sys.stderr)
            yield from _parse(_standard_input(), kind, label, arguments)
            return
        with open(name, "rb") as file:
            _refuse_other_content(file.peek(_START), label)  # a pipe was not looked at yet
            yield from _parse(file, kind, label, arguments)
    except OSError as error:
        raise InputError(f"{label}: cannot be read: {error.strerror}") from None


def _standard_input() -> Iterable[bytes]:
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is not None:
        if isinstance(buffer, io.BufferedReader):
            _refuse_other_content(buffer.peek(_START), "standard input")
        lines: Iterable[bytes] = buffer
        return lines
    return (line.encode("utf-8", "surrogatepass") for line in sys.stdin)


def _parse(
    file: Iterable[bytes], kind: str, name: str, arguments: argparse.Namespace
) -> Iterator[tuple[str, Any]]:
    lines = _decoded(file)
    if kind in _TABLES:
        delimiter = tables.check_delimiter(arguments.delimiter or _TABLES[kind])
        yield from _rows(lines, name, delimiter)
        return
    if kind == "json":
        held = list(lines)
        try:
            whole = json.loads("".join(text for _, text in held if isinstance(text, str)))
        except (ValueError, RecursionError):
            lines = iter(held)  # JSON lines, then: what is wrong is said of its line
        else:
            bad = next((text for _, text in held if not isinstance(text, str)), None)
            if bad is not None:
                raise bad
            items = whole if isinstance(whole, list) else [whole]
            for number, item in enumerate(items, 1):
                yield f"{name}, element {number}", item if item is not None else _no_text(item)
            return
    for number, text in lines:
        where = f"{name}, line {number}"
        if isinstance(text, InputError):
            yield where, text
            continue
        text = text.removesuffix("\n").removesuffix("\r")
        if not text.strip():
            yield where, None
        elif kind == "lines":
            yield where, text
        else:
            try:
                item = json.loads(text)
            except (ValueError, RecursionError) as error:
                item = InputError(f"not JSON: {error}")
            if isinstance(item, list) and item and isinstance(item[0], dict):
                hint = "; --format json reads it" if kind == "jsonl" else " on one of several lines"
                item = InputError(f"wanted one input, got a list of them{hint}")
            yield where, item if item is not None else _no_text(item)


def _decoded(file: Iterable[bytes]) -> Iterator[tuple[int, str | InputError]]:
    """Yield each line's number and text, its end included, or its error."""
    for number, line in enumerate(file, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            yield number, InputError("wanted text in UTF-8, got other bytes")


def _rows(
    lines: Iterator[tuple[int, str | InputError]], name: str, delimiter: str
) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a table as objects, by the names of its first row."""
    header: list[str] | None = None
    for record in tables.records(lines, delimiter):
        where = f"{name}, line {record.line}"
        if not record.cells:
            yield where, None
        elif header is None:
            if isinstance(record.cells, InputError):
                raise InputError(f"{where}: {record.cells}")
            header = record.cells
            twice = [column for column, count in Counter(header).items() if count > 1]
            if twice:
                raise InputError.wanted(where, "each column once", got=f"{show(twice[0])} twice")
        elif isinstance(record.cells, InputError):
            yield where, record.cells
        elif len(record.cells) != len(header):
            hint = picking.other_delimiter(header)
            got = f"wanted {len(header)} cells, as the first row has, got {len(record.cells)}"
            yield where, InputError(got + (f"; {hint}" if hint else ""))
        else:
            yield where, dict(zip(header, record.cells, strict=True))


def _entry(
    found: Any,
    field: list[str] | str | None,
    names: dict[str, str],
    keys: tuple[str, ...],
    noun: str,
) -> Entry:
    """Return an item as the task takes it, or with the error that it has.

    Args:
        found: the item.
        field: what --field says.
        names: what --keep carries over.
        keys: of the task.
        noun: what the fields of an object are called where it was read.
    """
    kept: dict[str, Any] = {}
    try:
        if isinstance(found, InputError):
            raise found
        if isinstance(found, dict):
            for name, other in names.items():
                if name not in found:
                    raise picking.lacks(f"a field {name!r} to keep", found, noun)
                kept[other] = picking.checked(name, found[name])
            return Entry(picking.pick(found, field, keys, noun), kept)
        if names:
            raise InputError(f"wanted an object with {', '.join(names)}, got a text")
        if isinstance(found, str) and not found.strip():
            raise _no_text(found)
        return Entry(found)
    except InputError as error:
        return Entry(error, kept)


def _no_text(value: Any) -> InputError:
    got = "an empty one" if isinstance(value, str) else show(value)
    return InputError(f"wanted a text, got {got}")


def same_file(path: Path, other: str | os.PathLike[str]) -> bool:
    """Whether two names are of one file, by whatever links."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
