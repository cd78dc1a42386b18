"""Objects and rows of tables: the fields that a task takes of them, and those that are kept."""

from __future__ import annotations

import argparse
import json
from typing import Any

from yosort.errors import InputError, show

#: Which of a task's keys an object needs, where it is not all.
_TOGETHER: dict[tuple[str, ...], str] = {
    ("text", "text_pair"): "text (text_pair is optional)",
    ("text", "words"): "text, or words with --is-split-into-words",
}


def kept_names(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what --keep carries over: the names in the output, by those of the input.

    Raises:
        InputError: a name that is none, or is there twice.
    """
    kept: dict[str, str] = {}
    for spec in arguments.keep:
        name, _, other = spec.partition("=")
        if not name:
            raise InputError.wanted("--keep", "NAME or NAME=OTHER", spec)
        other = other or name
        if name in kept or other in kept.values():
            twice = name if name in kept else other
            raise InputError.wanted("--keep", "each name once", got=f"{show(twice)} twice")
        kept[name] = other
    return kept


def checked(name: str, value: Any) -> Any:
    """Return a value that is kept, if strict readers of JSON can have it back."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError) as error:
        why = "a finite number" if isinstance(error, ValueError) else "fewer levels"
        raise InputError.wanted(f"a field {name!r} to keep", why, value) from None
    return value


def pick(
    row: dict[str, Any], names: list[str] | str | None, keys: tuple[str, ...], noun: str
) -> Any:
    """Return the text of an object, or those of the task's keys that it has."""
    if names:
        names = [names] if isinstance(names, str) else names
        for name in names:
            if name not in row:
                raise lacks(f"a field {name!r}", row, noun)
        if len(names) == 1:
            return _filled(names[0], row[names[0]])
        row = {key: row[name] for key, name in zip(keys, names, strict=False)}
    found = {key: row[key] for key in keys if row.get(key) is not None}
    if not found:
        empty = next((key for key in keys if key in row), None)
        if empty is not None:
            raise InputError.wanted(empty, "a text", got="null")
        raise lacks(_TOGETHER.get(keys, " and ".join(keys)), row, noun, _nested(row, keys))
    first, *others = found
    # Of a pair the second text may be missing.
    texts = {first: _filled(first, found[first])}
    texts |= {key: found[key] for key in others if found[key] != ""}
    return texts["text"] if texts.keys() == {"text"} else texts


def _nested(row: dict[str, Any], keys: tuple[str, ...]) -> str:
    """Return what to do about an object without the texts, which may lie deeper in it."""
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return (
                f"{name} holds objects of its own: wanted is a list, or JSON lines, of objects "
                f"that have {' and '.join(keys)} themselves"
            )
    return "--field names another"


def _filled(name: str, value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise InputError.wanted(name, "a text", got="an empty one")
    return value


def lacks(wanted: str, row: dict[str, Any], noun: str, hint: str | None = None) -> InputError:
    """Return the error of an object without a field: which ones it has, and what to do."""
    names = [show(str(name)) for name in row]
    got = ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
    if noun == "columns":
        hint = other_delimiter(list(row)) or hint
        got += " (the first row names them)"
    return InputError(f"wanted {wanted}, got the {noun} {got}" + (f"; {hint}" if hint else ""))


def other_delimiter(header: list[str]) -> str | None:
    """Say what parts the first row of a table that was cut at something else."""
    lone = "," if len(header) == 1 else ""
    between = next((c for c in f";\t|{lone}" if any(c in name for name in header)), None)
    return f"--delimiter {between!r} parts that" if between else None
