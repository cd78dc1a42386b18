"""Checks of arguments that many calls share: what a value must be, or an error that says so."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from yosort.elsewhere import USUAL
from yosort.errors import CheckpointError, InputError, YosortError, show

_log = logging.getLogger("yosort")
FLOAT32_MAX = float(np.finfo(np.float32).max)


def is_integer(value: Any) -> bool:
    """Whether a value is a whole number, of Python's type or NumPy's; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_count(
    name: str, value: Any, *, least: int = 1, error: type[YosortError] = InputError
) -> int:
    """Return an integer of at least `least`, or raise `error`."""
    if not is_integer(value) or value < least:
        raise error.wanted(name, f"an integer of at least {least}", value)
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
        raise error.wanted(name, "True or False", value)
    return bool(value)


def check_choice(
    name: str, value: Any, known: Collection[str], error: type[YosortError] = InputError
) -> str:
    """Return one of the `known` texts, which may come in capitals, or raise `error`."""
    # An enumeration's member that is text, as transformers has them, counts by its value.
    lower = str.lower(value) if isinstance(value, str) else None
    if lower is None or lower not in known:
        hint = _nearest(lower or "", known, 0.75)  # text-generation is no feature-extraction
        got = show(value) + (f"; {hint}" if hint else "")
        raise error.wanted(name, f"one of {', '.join(known)}", got=got)
    return lower


def _nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Ask for the known name that is nearest to one that is none; None: none is near."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return f"did you mean {nearest[0]}?" if nearest else None


def no_such_option(
    name: str, known: Iterable[str], error: type[YosortError], hint: str | None = None
) -> YosortError:
    """Return the error of a keyword that means nothing here: what to write instead, if known."""
    names = sorted(set(known))
    if hint is None:
        hint = _nearest(name, names) or f"there are {', '.join(names) or 'none'}"
    return error(f"{name}: no such option; {hint}")


def drop_unset(
    given: Mapping[str, Any], instead: Mapping[str, str], error: type[YosortError]
) -> dict[str, Any]:
    """Return options without those of transformers' that have no counterpart and are not set.

    Args:
        given: by name.
        instead: what to write in place of each that has none.
        error: what to raise.

    Raises:
        error: one of them that is set: to more than None, "" or what is usual.
    """
    for name in given.keys() & instead.keys():
        if _is_set(name, given[name]):
            raise no_such_option(name, (), error, instead[name])
    return {name: value for name, value in given.items() if name not in instead}


def drop_idle(given: Mapping[str, Any], idle: Mapping[str, str]) -> dict[str, Any]:
    """Return options without those that change nothing here.

    Args:
        given: by name.
        idle: what is said, once, of each that is set; "" for nothing.
    """
    for name in given.keys() & idle.keys():
        if idle[name] and _is_set(name, given[name]):
            _say_idle(name, show(given[name]), idle[name])
    return {name: value for name, value in given.items() if name not in idle}


@functools.lru_cache(1024)  # values are a program's; what clients write does not come here
def _say_idle(name: str, value: str, why: str) -> None:
    _log.warning("%s=%s changes nothing: %s", name, value, why)


def _is_set(name: str, value: Any) -> bool:
    """Whether an option of transformers' asks for anything."""
    usual = USUAL.get(name, False)
    is_usual = value is None or value is usual
    return not (is_usual or (isinstance(value, str) and value in ("", usual)))


Call = TypeVar("Call", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)


def with_names(
    error: type[YosortError], instead: Mapping[str, str] | None = None, **renamed: str
) -> Callable[[Call], Call]:
    """Wrap a call: keywords by transformers' names too, and what does not fit raises `error`.

    Args:
        error: what is raised of a keyword that the call does not take, with the nearest name; of
            too many arguments, and of too few.
        instead: keywords of transformers' that it does not take unless they are not set, and what
            to write.
        renamed: our names of parameters, by transformers'.
    """

    def wrap(call: Call) -> Call:
        signature = inspect.signature(call)
        names = [name for name in signature.parameters if name not in _BOUND]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())

        @functools.wraps(call)
        def checked(*arguments: Any, **options: Any) -> Any:
            for name in renamed.keys() & options.keys():
                own, value = renamed[name], options.pop(name)
                if own in options and value is not None:
                    raise error.wanted(name, f"{own} or {name}", got="both")
                options.setdefault(own, value)
            if instead:
                options = drop_unset(options, instead, error)
            for name in options if not takes_any else ():
                if name not in names:
                    raise no_such_option(name, names, error)
            try:
                signature.bind(*arguments, **options)
            except TypeError as failure:
                raise error(_misfit(call, signature, arguments, options, failure)) from None
            return call(*arguments, **options)

        return cast(Call, checked)

    return wrap


#: What a method is given of itself.
_BOUND = ("self", "cls")


def _misfit(
    call: Callable[..., Any],
    signature: inspect.Signature,
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
    failure: TypeError,
) -> str:
    """Say why arguments do not fit a call: too many, one twice, or too few."""
    who = "" if call.__name__.startswith("__") else f"{call.__name__}: "
    parameters = signature.parameters.values()
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    own = [name for name in by_place if name not in _BOUND]
    if len(arguments) > len(by_place):
        listed = f" ({', '.join(own)})" if own else ""
        got = len(arguments) - len(by_place) + len(own)
        plural = "" if len(own) == 1 else "s"
        return f"{who}wanted at most {len(own)} argument{plural} without a name{listed}, got {got}"
    placed = by_place[: len(arguments)]
    for name in placed:
        if name in options:
            return f"{who}{name}: wanted once, got twice"
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in _COLLECTING]
    missing = [name for name in needed if name not in (*placed, *options)]
    return f"{who}wanted {' and '.join(missing)}, got nothing" if missing else f"{who}{failure}"


#: Parameters that take any number of arguments, none too.
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def checks_calls(error: type[YosortError]) -> Callable[[Class], Class]:
    """Wrap a class: of its public methods, what does not fit a call raises `error`."""

    def wrap(cls: Class) -> Class:
        for name, member in list(vars(cls).items()):
            public = name == "__call__" or not name.startswith("_")
            if public and inspect.isfunction(member) and not hasattr(member, "__wrapped__"):
                setattr(cls, name, with_names(error)(member))
        return cls

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


def inputs_or_fields(inputs: Any, **fields: Any) -> Any:
    """Return what a call is to answer: its inputs, or the one that it named by its fields."""
    names = " and ".join(fields)
    missing = [name for name, value in fields.items() if value is None]
    if inputs is None and missing:
        raise InputError(f"wanted {names}, or inputs")
    if inputs is not None and len(missing) < len(fields):
        raise InputError(f"wanted inputs, or {names}, got both")
    return fields if inputs is None else inputs


def check_several(name: str, values: Any, what: str = "values") -> list[Any]:
    """Return an iterable's values, or raise InputError.

    One text is an iterable of its letters, and a dictionary of its keys: neither is meant.
    """
    try:
        iterator = iter(values)
    except TypeError:
        iterator = None
    if iterator is None or isinstance(values, (str, bytes, Mapping)):
        raise InputError.wanted(name, f"several {what}, such as a list", values)
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
    by_number = isinstance(inputs, Sized) and hasattr(inputs, "__getitem__")
    if by_number and not isinstance(inputs, Iterable):
        # torch's datasets: iter() would ask them for items beyond their end.
        return (inputs[i] for i in range(len(inputs)))
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
    except TypeError:
        raise error.wanted(name, "a path", value) from None
    except ValueError as failure:  # UnicodeEncodeError, for one
        raise error(f"{name}: wanted a path, got {show(value)}: {failure}") from None
    if not encoded or b"\0" in encoded:
        raise error.wanted(name, "a path", value)
    return path
