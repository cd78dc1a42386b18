"""The options that the calls of all tasks share, in our words and in transformers'."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from yosort.arguments import (
    check_choice,
    check_count,
    check_flag,
    drop_idle,
    drop_unset,
    is_integer,
    no_such_option,
)
from yosort.elsewhere import PIPELINE_CALLS, PIPELINE_WITHOUT_EFFECT
from yosort.errors import InputError, YosortError, show
from yosort.model.options import PADDING
from yosort.tokenizer.arguments import STRATEGIES

if TYPE_CHECKING:
    from typing_extensions import Self

Call: TypeAlias = Callable[..., Any]
_DEFAULT: Any = object()
OVERFLOW = ("error", "truncate", "stride")
ON_ERROR = ("raise", "collect")


class StreamOptions(TypedDict, total=False):
    """Keywords of every pipeline's call, beside its own and `on_error`.

    Attributes:
        batch_tokens: tokens the model gets at once (16384).
        batch_size: texts the model gets at once, at most; None: as many as batch_tokens takes, or
            one where the model attends to padding.
        progress: show a bar on stderr.
        overflow: "error" or "truncate" for texts of more than max_length tokens; "stride" where a
            task reads in windows.
        truncation: transformers' word for it: True, or what of a pair may be cut, is "truncate".
        max_length: tokens of a text, at most; None: what the model takes. Alone it truncates.
    """

    batch_tokens: int
    batch_size: int | None
    progress: bool
    overflow: str
    truncation: bool | str | None
    max_length: int | None


def check_truncation(name: str, value: Any) -> bool | str:
    """Return transformers' word for cutting: whether, or what of a pair."""
    if isinstance(value, str):
        return check_choice(name, value, (*STRATEGIES, "do_not_truncate"))
    return check_flag(name, value)


def check_upto(name: str, value: Any, most: int | None = None) -> Any:
    """Return an integer from 0 to `most`; where only a model says how many, what was given."""
    if most is not None and not (is_integer(value) and 0 <= value <= most):
        raise InputError.wanted(name, f"an integer from 0 to {most}", value)
    return value


def option(default: Any, check: Callable[..., Any], *known: Any, unset: Any = _DEFAULT) -> Any:
    """Return a field of `CallOptions`.

    Args:
        default: of the call.
        check: called with the option's name, its value and `known`; returns what is kept.
        known: see there.
        unset: what None stands for, where that is not the default.
    """

    def checked(name: str, value: Any) -> Any:
        return check(name, value, *known)

    unset = default if unset is _DEFAULT else unset
    return field(default=default, metadata={"check": checked, "unset": unset})


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What a call says beside its inputs, checked: `StreamOptions`, `on_error` and a task's own.

    Names, defaults and checks stand here alone; calls, constructors, signatures, calibration and
    the command line go by them. None is an option's default, as transformers' "not given" is. Where
    the model decides, a field is None until `Pipeline.read`: its type is what tasks read.

    Raises:
        InputError: a value that means nothing.
    """

    batch_tokens: int = option(16384, check_count)
    batch_size: int | None = option(None, check_count)
    progress: bool = option(False, check_flag)
    overflow: str = option(None, check_choice, OVERFLOW)
    truncation: bool | str | None = option(None, check_truncation)
    max_length: int = option(None, check_count)
    on_error: str = option("raise", check_choice, ON_ERROR)

    def __post_init__(self) -> None:
        for each in fields(self):
            value, said = getattr(self, each.name), each.metadata
            if value is None:
                value = said["unset"]
            if value is not None:
                value = said["check"](each.name, value)
            object.__setattr__(self, each.name, value)

    def decided(self, **values: Any) -> Self:
        """Return these options with what the model decides, which needs no check."""
        other = copy(self)
        vars(other).update(values)
        return other

    @property
    def strategy(self) -> str:
        """What of a pair may be cut."""
        named = isinstance(self.truncation, str) and self.truncation != "do_not_truncate"
        return str(self.truncation) if named else "longest_first"

    def length(self, longest: int, usual: str, cut_at: int | None) -> tuple[str, int]:
        """Return what becomes of long texts, and the tokens that are not too many.

        Args:
            longest: tokens of a text that the model takes.
            usual: what becomes of longer ones, unless told.
            cut_at: tokens of what is cut, or of a window, by the user's word; None for `longest`.

        Raises:
            InputError: options that contradict each other, or the model.
        """
        cut = self.truncation and self.truncation != "do_not_truncate"
        overflow: str | None = self.overflow
        limit: int | None = self.max_length
        if overflow is not None and cut and overflow != "truncate":
            raise InputError(
                f"truncation: wanted none beside overflow={overflow!r}, got {show(self.truncation)}"
            )
        if overflow is None and (cut or (self.truncation is None and limit is not None)):
            overflow = "truncate"
        if limit is not None and limit > longest:
            raise InputError(
                f"max_length: wanted at most {longest}, the model's max_position_embeddings, "
                f"got {limit}"
            )
        overflow = overflow or usual
        if limit is None:
            limit = longest if cut_at is None or overflow == "error" else min(longest, cut_at)
        return overflow, limit


#: How transformers pads batches, besides True and False: no result here depends on it.
_PADDING = ("longest", "max_length", "do_not_pad")
#: Dictionaries of keywords that transformers hands on to the tokenizer.
NESTED = ("tokenizer_kwargs", "tokenize_kwargs")
#: Every word of transformers' that `translate` knows, beside our own.
WORDS = frozenset({*PIPELINE_WITHOUT_EFFECT, *NESTED, *PIPELINE_CALLS})


def is_batch_padding(value: Any) -> bool:
    """Whether a value of `padding` says how to fill up batches, which changes no answer here."""
    if isinstance(value, str):
        return value.lower() in _PADDING
    return value is None or isinstance(value, bool)


def translate(
    given: Mapping[str, Any],
    known: Collection[str],
    instead: Mapping[str, str],
    error: type[YosortError],
) -> dict[str, Any]:
    """Return a call's keywords under our names, without those that have no effect here.

    Args:
        given: by name, ours or transformers'.
        known: the names that the task takes.
        instead: names that it does not take, and what to write; beside those of all tasks.
        error: what to raise.

    Raises:
        error: a keyword that is none of these, with the nearest name.
    """
    found: dict[str, Any] = {}
    given = drop_idle(given, PIPELINE_WITHOUT_EFFECT)
    given = drop_unset(given, {**PIPELINE_CALLS, **instead}, error)
    for name, value in given.items():
        if name in known:
            found[name] = value
        elif name in NESTED:
            if value is not None and not isinstance(value, Mapping):
                raise error(f"{name}: wanted a dictionary of options, got {show(value)}")
            found |= translate(value or {}, known, instead, error)
        elif name == "padding":
            if not is_batch_padding(value):
                wanted = f"True, False or one of {', '.join(_PADDING)}"
                of_model = isinstance(value, str) and value in PADDING
                hint = "the pipeline's own padding= says how its model pads" if of_model else None
                raise error.wanted("padding", wanted, value, hint=hint)
        else:
            raise no_such_option(name, known, error)
    return found


def with_options(options: type[CallOptions]) -> Callable[[Call], Call]:
    """Wrap a pipeline's `__call__`: keywords in all words, the pipeline's own as defaults.

    The wrapped call gets its inputs and all options in one object, `options`; the signature that
    users see names each. Nothing that a caller writes is a TypeError.
    """

    def wrap(call: Call) -> Call:
        @functools.wraps(call)
        def wrapper(self: Any, *unnamed: Any, **given: Any) -> Any:
            named, options = self.understand(given)
            first = self.read_positional(unnamed)
            if not first.keys().isdisjoint(named):
                raise InputError(f"{', '.join(first)}: wanted once, got twice")
            inputs = {"inputs": None, **first, **named}
            return self.wrap(call(self, **inputs, options=options), inputs["inputs"], given)

        wrapper.__signature__ = _signature(call, options)  # type: ignore[attr-defined]
        return wrapper

    return wrap


def _signature(call: Callable[..., Any], options: type[CallOptions]) -> inspect.Signature:
    """Return the signature of a call: its inputs, the task's options, then what all tasks share."""
    shared = {each.name for each in fields(CallOptions)} - {"on_error"}
    own = [each for each in fields(options) if each.name not in shared]
    own.sort(key=lambda each: each.name == "on_error")
    kind = inspect.Parameter
    signature = inspect.signature(call)
    parameters = [p for p in signature.parameters.values() if p.name != "options"]
    parameters += [
        kind(each.name, kind.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in own
    ]
    others = kind("options", kind.VAR_KEYWORD, annotation="Unpack[StreamOptions]")
    return signature.replace(parameters=[*parameters, others])
