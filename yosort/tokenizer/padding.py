"""Encoded texts filled up to one length: what a data collator asks of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yosort.arguments import is_integer
from yosort.errors import InputError, show
from yosort.tokenizer.arguments import Pad
from yosort.tokenizer.encodings import as_arrays

#: What stands for padding in lists that have a value a token; that of input_ids is the tokenizer's.
_FILLINGS = {"attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}


def pad_rows(
    encoded: Any, how: Pad | None, pad_id: int, *, mask: bool, kind: str | None
) -> dict[str, Any]:
    """Return encoded texts by key, each as long as the others.

    Args:
        encoded: a mapping of lists or arrays, [n] or [texts, n], or a list of such mappings.
        how: to which length; None: to none.
        pad_id: the id of padding.
        mask: whether to give an attention mask where there is none.
        kind: "np" or "cp" for arrays; None for lists, or arrays if arrays came.

    Raises:
        InputError: no ids, texts that differ in their keys or number, what is no array.
        DeviceError: "cp" where there is no GPU.
    """
    given = _by_key(encoded)
    if kind is None and isinstance(_first(given["input_ids"]), np.ndarray | np.integer):
        kind = "np"
    data = {name: _as_lists(values) for name, values in given.items()}
    one = all(map(is_integer, data["input_ids"])) and bool(data["input_ids"])
    if one:
        data = {name: [values] for name, values in data.items()}
    rows = _check_rows(data["input_ids"])
    if mask:
        data.setdefault("attention_mask", [[1] * len(row) for row in rows])
    for name, values in data.items():
        if not isinstance(values, list) or len(values) != len(rows):
            raise InputError.wanted(name, f"a list of {len(rows)}", values)
    if how is not None and rows:
        target = how.target(max(map(len, rows)))
        for name, filling in {"input_ids": pad_id, **_FILLINGS}.items():
            if name in data:
                _check_lengths(name, data[name], rows)
                data[name] = [_fill(row, target, filling, how.side) for row in data[name]]
    arrays = data if kind is None else as_arrays(data, kind)
    return {name: values[0] for name, values in arrays.items()} if one else arrays


def _by_key(encoded: Any) -> dict[str, Any]:
    if isinstance(encoded, (list, tuple)) and all(isinstance(e, Mapping) for e in encoded):
        names = list(encoded[0]) if encoded else []
        for i, one in enumerate(encoded):
            if sorted(map(str, one)) != sorted(map(str, names)):
                raise InputError(
                    f"encoded_inputs[{i}]: wanted {', '.join(map(str, names))}, as the first has, "
                    f"got {', '.join(map(str, one))}"
                )
        encoded = {name: [one[name] for one in encoded] for name in names}
    if not isinstance(encoded, Mapping) or not len(_sized(encoded.get("input_ids"))):
        got = show(list(encoded)) if isinstance(encoded, Mapping) else show(encoded)
        raise InputError.wanted("encoded_inputs", "texts with input_ids", got=got)
    return dict(encoded)


def _sized(values: Any) -> Any:
    return values if isinstance(values, (list, tuple, np.ndarray)) else ()


def _first(values: Any) -> Any:
    return values if isinstance(values, np.ndarray) else values[0]


def _as_lists(values: Any, depth: int = 2) -> Any:
    """Return [texts, n] as lists where it is arrays, or a list of arrays or NumPy's numbers."""
    if hasattr(values, "tolist") and not isinstance(values, type):
        return values.tolist()
    if not isinstance(values, (list, tuple)) or not depth:
        return values
    return [_as_lists(value, depth - 1) for value in values]


def _check_rows(rows: Any) -> list[list[int]]:
    for i, row in enumerate(rows):
        if not isinstance(row, list) or not all(map(is_integer, row)):
            raise InputError.wanted(f"input_ids[{i}]", "a list of token ids", row)
    return list(rows)


def _check_lengths(name: str, values: list[Any], rows: list[list[int]]) -> None:
    for i, (value, row) in enumerate(zip(values, rows, strict=True)):
        if not isinstance(value, list) or len(value) != len(row):
            raise InputError.wanted(f"{name}[{i}]", f"a list of {len(row)}", value)


def _fill(row: list[Any], target: int, filling: int, side: str) -> list[Any]:
    more = [filling] * (target - len(row))
    return [*more, *row] if side == "left" else [*row, *more]
