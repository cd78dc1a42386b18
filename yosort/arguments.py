"""Checks of arguments that many calls share: what a value must be, or an error that says so."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from yosort.errors import CheckpointError, InputError, YosortError, show

FLOAT32_MAX = float(np.finfo(np.float32).max)


def is_integer(value: Any) -> bool:
    """Whether a value is a whole number, of Python's type or NumPy's; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_count(
    name: str, value: Any, *, least: int = 1, error: type[YosortError] = InputError
) -> int:
    """Return an integer of at least `least`, or raise `error`."""
    if not is_integer(value) or value < least:
        raise error(f"{name}: wanted an integer of at least {least}, got {show(value)}")
    return int(value)


def check_flag(
    name: str, value: Any, error: type[YosortError] = InputError, *, unset: bool | None = None
) -> bool:
    """Return True or False, or raise `error`: "no" and [] would count as one of them.

    Where `unset` is given, None stands for it.
    """
    if value is None and unset is not None:
        return unset
    if not isinstance(value, (bool, np.bool_)):
        raise error(f"{name}: wanted True or False, got {show(value)}")
    return bool(value)


def check_choice(
    name: str, value: Any, known: Collection[str], error: type[YosortError] = InputError
) -> str:
    """Return one of the `known` texts, which may come in capitals, or raise `error`."""
    # An enumeration's member that is text, as transformers has them, counts by its value.
    lower = str.lower(value) if isinstance(value, str) else None
    if lower is None or lower not in known:
        raise error(f"{name}: wanted one of {', '.join(known)}, got {show(value)}")
    return lower


def no_such_option(
    name: str, known: Iterable[str], error: type[YosortError], hint: str | None = None
) -> YosortError:
    """Return the error of a keyword that means nothing here: what to write instead, if known."""
    names = sorted(set(known))
    if hint is None:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(names)}"
    return error(f"{name}: no such option; {hint}")


Call = TypeVar("Call", bound=Callable[..., Any])


def with_names(error: type[YosortError], **renamed: str) -> Callable[[Call], Call]:
    """Wrap a call: keywords by transformers' names too, and what is none is named in `error`.

    Args:
        error: what a keyword that the call does not take raises, with the nearest name.
        renamed: our names of parameters, by transformers'.
    """

    def wrap(call: Call) -> Call:
        parameters = inspect.signature(call).parameters.values()
        names = [p.name for p in parameters if p.name != "self"]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)

        @functools.wraps(call)
        def checked(*arguments: Any, **options: Any) -> Any:
            for name, own in renamed.items():
                if name in options:
                    options.setdefault(own, options.pop(name))
            for name in options if not takes_any else ():
                if name not in names:
                    raise no_such_option(name, names, error)
            return call(*arguments, **options)

        return cast(Call, checked)

    return wrap


def pick_fields(
    value: Mapping[str, Any], needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any] | None:
    """Return the fields of an input, other columns of a data set aside; None if they are not there.

    A key that is nearly the name of a field that is missing is a mistake, not a column.
    """
    known = (*needed, *optional)
    absent = [name for name in known if name not in value]
    odd = [key for key in value if isinstance(key, str) and key not in known]
    if not absent or not any(difflib.get_close_matches(key, absent) for key in odd):
        found = {name: value[name] for name in known if name in value}
        return found if all(name in found for name in needed) else None
    return None


def check_several(name: str, values: Any, what: str = "values") -> list[Any]:
    """Return an iterable's values, or raise InputError.

    One text is an iterable of its letters, and a dictionary of its keys: neither is meant.
    """
    try:
        iterator = iter(values)
    except TypeError:
        iterator = None
    if iterator is None or isinstance(values, (str, bytes, Mapping)):
        raise InputError(f"{name}: wanted several {what}, such as a list, got {show(values)}")
    return list(iterator)


def check_inputs(inputs: Any) -> Iterator[Any]:
    """Return an iterator over several inputs.

    Raises:
        InputError: what cannot be iterated over, or whose items are not the inputs that it holds:
            bytes (numbers), a table (the columns' names), a set (in no order).
    """
    what = f"inputs: wanted one input or an iterable of them, got {type(inputs).__name__}"
    if isinstance(inputs, (bytes, bytearray, memoryview)):
        raise InputError(f"{what}; decode it: text = data.decode()")
    if isinstance(inputs, (set, frozenset)):
        raise InputError(f"{what}, which has no order to answer in; sorted(...) makes a list")
    if hasattr(inputs, "columns"):  # pandas' and polars' tables iterate over their columns' names
        raise InputError(f"{what}; name the column that holds the texts: table['text']")
    try:
        return iter(inputs)
    except TypeError:
        raise InputError(what) from None


def is_row(value: Any) -> bool:
    """Whether a value is an array of one axis."""
    return isinstance(value, np.ndarray) and value.ndim == 1


def are_texts(values: Any) -> bool:
    """Whether values are a list or tuple of texts."""
    return isinstance(values, (list, tuple)) and all(isinstance(text, str) for text in values)


def check_path(name: str, value: Any, error: type[YosortError] = CheckpointError) -> Path:
    """Return the path that a str or os.PathLike names, or raise `error`.

    An empty name would be the current folder, as an unset variable leaves it.
    """
    try:
        encoded = os.fsencode(os.fspath(value))
        path = Path(value)
    except (TypeError, ValueError) as failure:  # UnicodeEncodeError is a ValueError
        raise error(f"{name}: wanted a path, got {show(value)}: {failure}") from None
    if not encoded or b"\0" in encoded:
        raise error(f"{name}: wanted a path, got {show(value)}")
    return path
