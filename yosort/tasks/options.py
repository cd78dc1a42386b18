"""The options that the calls of all tasks share, in our words and in transformers'."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, cast

from yosort.arguments import check_choice, check_count, check_flag, no_such_option
from yosort.errors import InputError, YosortError, show
from yosort.tokenizer.arguments import STRATEGIES

OVERFLOW = ("error", "truncate", "stride")
ON_ERROR = ("raise", "collect")


class StreamOptions(TypedDict, total=False):
    """Keywords of every pipeline's call, beside its own and `on_error`.

    Attributes:
        batch_tokens: tokens the model gets at once (16384).
        batch_size: texts the model gets at once, at most; None: as many as batch_tokens takes.
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


@dataclass(frozen=True)
class Stream:
    """`StreamOptions` and `on_error`, checked."""

    batch_tokens: int
    batch_size: int | None
    progress: bool
    overflow: str
    max_tokens: int
    strategy: str
    on_error: str


#: A word of transformers' that changes no answer here: there are no worker processes.
_WITHOUT_EFFECT = {"num_workers"}
#: How transformers pads batches, besides True and False: no result here depends on it.
_PADDING = ("longest", "max_length", "do_not_pad")
#: Dictionaries of keywords that transformers hands on to the tokenizer.
_NESTED = ("tokenizer_kwargs", "tokenize_kwargs")
_TEXTS = "texts are all that is read: tokenizer="
_INSTEAD = {
    "return_all_scores": "top_k=None gives the score of every label",
    "grouped_entities": 'aggregation_strategy="simple" joins neighbours of one label',
    "ignore_subwords": 'aggregation_strategy="first" labels words by their first token',
    "framework": "yosort is its own; leave it out",
    "add_special_tokens": "a model reads texts with them, as it was trained",
    "pipeline_class": "the task's name chooses it",
    **dict.fromkeys(("feature_extractor", "image_processor", "processor"), _TEXTS),
}
#: Every word of transformers' that `translate` knows, beside our own.
WORDS = frozenset({*_WITHOUT_EFFECT, *_NESTED, *_INSTEAD})


def is_batch_padding(value: Any) -> bool:
    """Whether a value of `padding` says how to fill up batches, which changes no answer here."""
    if isinstance(value, str):
        return value.lower() in _PADDING
    return value is None or isinstance(value, bool)


def read_stream(
    *,
    longest: int,
    default_overflow: str = "error",
    batch_tokens: int = 16384,
    batch_size: int | None = None,
    progress: bool = False,
    overflow: str | None = None,
    truncation: bool | str | None = None,
    max_length: int | None = None,
    on_error: str = "raise",
) -> Stream:
    """Check the options of `StreamOptions`.

    Args:
        longest: tokens of a text that the model takes.
        default_overflow: what the task does with longer ones unless told.
        batch_tokens: see `StreamOptions`, like the following.
        batch_size: see there.
        progress: see there.
        overflow: see there.
        truncation: see there.
        max_length: see there.
        on_error: "raise" or "collect".

    Raises:
        InputError: an option that means nothing, or two that contradict each other.
    """
    strategy = "longest_first"
    cut = truncation
    if isinstance(truncation, str):
        known = (*STRATEGIES, "do_not_truncate")
        strategy = check_choice("truncation", truncation, known)
        cut = strategy != "do_not_truncate"
        strategy = strategy if cut else "longest_first"
    elif truncation is not None:
        cut = check_flag("truncation", truncation)
    if overflow is not None:
        overflow = check_choice("overflow", overflow, OVERFLOW)
        if cut and overflow != "truncate":
            raise InputError(
                f"truncation: wanted none beside overflow={overflow!r}, got {show(truncation)}"
            )
    elif cut or (cut is None and max_length is not None):
        overflow = "truncate"
    if max_length is not None and check_count("max_length", max_length) > longest:
        raise InputError(
            f"max_length: wanted at most {longest}, the model's max_position_embeddings, "
            f"got {max_length}"
        )
    return Stream(
        batch_tokens=check_count("batch_tokens", batch_tokens),
        batch_size=None if batch_size is None else check_count("batch_size", batch_size),
        progress=check_flag("progress", progress),
        overflow=overflow or default_overflow,
        max_tokens=longest if max_length is None else int(max_length),
        strategy=strategy,
        on_error=check_choice("on_error", on_error, ON_ERROR),
    )


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
    for name, value in given.items():
        if name in known:
            found[name] = value
        elif name in _NESTED:
            if value is not None and not isinstance(value, Mapping):
                raise error(f"{name}: wanted a dictionary of options, got {show(value)}")
            found |= translate(value or {}, known, instead, error)
        elif name == "padding":
            if not is_batch_padding(value):
                wanted = f"True, False or one of {', '.join(_PADDING)}"
                raise error(f"padding: wanted {wanted}, got {show(value)}")
        elif name not in _WITHOUT_EFFECT:
            hint = {**_INSTEAD, **instead}.get(name)
            if hint is None or value is not None:  # None is transformers' "not given"
                raise no_such_option(name, known, error, hint)
    return found


Call = TypeVar("Call", bound=Callable[..., Any])


def with_options(call: Call) -> Call:
    """Wrap a pipeline's `__call__`: keywords in all words, the pipeline's own as defaults.

    The wrapped call sees our names alone. Nothing that a caller writes is a TypeError.
    """

    @functools.wraps(call)
    def wrapper(self: Any, *inputs: Any, **given: Any) -> Any:
        options = self.understand(given)
        named = self.read_positional(inputs)
        if not named.keys().isdisjoint(options):
            raise InputError(f"{', '.join(named)}: wanted once, got twice")
        options = {"inputs": None, **named, **options}
        return self.wrap(call(self, **options), options["inputs"], given)

    return cast(Call, wrapper)


def option_names(call: Callable[..., Any]) -> tuple[str, ...]:
    """Return the keywords that a pipeline's `__call__` takes, its inputs left out."""
    own = (p.name for p in inspect.signature(call).parameters.values() if p.kind is p.KEYWORD_ONLY)
    return (
        *(name for name in own if name != "on_error"),
        *StreamOptions.__annotations__,
        "on_error",
    )
