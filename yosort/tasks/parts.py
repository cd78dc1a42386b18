"""Late pooling: which tokens of a whole text make up each of its parts.

A text is read once, so that a token's vector knows of all that is beside it, and only then are
vectors pooled, a part at a time. Parts are spans of characters, or windows of so many tokens.
Tokens that the tokenizer puts around a text belong to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_several, is_integer, pick_fields
from yosort.errors import InputError, show
from yosort.tasks.base import NO_TOKENS
from yosort.tasks.spans import trimmed
from yosort.tokenizer.encodings import Encoding


class Place(NamedTuple):
    """A part of a text: characters `start` to `end`, which tokens `first` to `last` stand for.

    `end` and `last` are those behind the last.
    """

    start: int
    end: int
    first: int
    last: int


def of_spans(text: str, encoding: Encoding, spans: Any, begin: int = 0) -> list[Place]:
    """Return the tokens of each span: those of which a character is in it.

    Args:
        text: what was read.
        encoding: of it.
        spans: pairs (start, end), or dictionaries with these two keys, as other tasks answer with.
        begin: where the user's text begins in it, behind a prompt; characters count from there.

    Raises:
        InputError: what is no span of the text, or one of which the tokenizer, or a cut, leaves no
            token.
    """
    tokens, starts, ends = _characters(text, encoding, begin)
    text = text[begin:]
    places = []
    for number, (start, end) in enumerate(_ends(text, spans)):
        inside = tokens[(starts < end) & (ends > start)]
        if not len(inside):
            raise InputError(
                f"spans[{number}]: wanted one with something to read, but no token is left of "
                f"{show(text[start:end])}"
            )
        places.append(Place(start, end, int(inside[0]), int(inside[-1]) + 1))
    return places


def of_windows(text: str, encoding: Encoding, most: int, begin: int = 0) -> list[Place]:
    """Return windows of at most `most` tokens, which end between words where they can.

    `begin` as in `of_spans`.

    Raises:
        InputError: a text without tokens of its own.
    """
    tokens, starts, ends = _characters(text, encoding, begin)
    if not len(tokens):
        raise InputError(f"{NO_TOKENS} {show(text[begin:])}")
    words = [encoding.word_ids[token] for token in tokens]
    places = []
    first = 0
    while first < len(tokens):
        end = room = int(np.searchsorted(tokens, tokens[first] + most))
        while first < end < len(tokens) and words[end] is not None and words[end - 1] == words[end]:
            end -= 1
        if end == first:  # a word that no window takes
            end = room
        characters = int(starts[first]), int(ends[end - 1])
        places.append(Place(*characters, int(tokens[first]), int(tokens[end - 1]) + 1))
        first = end
    return places


def _ends(text: str, spans: Any) -> list[tuple[int, int]]:
    found = []
    for number, span in enumerate(check_several("spans", spans, "pairs (start, end)")):
        ends = span
        if isinstance(span, Mapping):
            ends = tuple((pick_fields(span, ("start", "end")) or {}).values())
        pair = isinstance(ends, (tuple, list)) or (isinstance(ends, np.ndarray) and ends.ndim == 1)
        if not (pair and len(ends) == 2 and all(map(is_integer, ends))):
            raise InputError.wanted(f"spans[{number}]", "a pair (start, end) of integers", span)
        start, end = map(int, ends)
        if not 0 <= start < end <= len(text):
            raise InputError.wanted(
                f"spans[{number}]", f"0 <= start < end <= {len(text)}, the text's length", span
            )
        found.append((start, end))
    return found


def _characters(text: str, encoding: Encoding, begin: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the tokens that have a character of the text, blanks aside, and where it starts, ends.

    Those before `begin` are not of it, and do not count.

    All int64 [k].
    """
    columns = zip(encoding.special_tokens_mask, encoding.offsets, strict=True)
    found = [
        (token, *trimmed(text, *ends))
        for token, (special, ends) in enumerate(columns)
        if not special
    ]
    tokens, starts, ends = np.array(found, np.int64).reshape(-1, 3).T
    readable = (starts < ends) & (ends > begin)
    starts, ends = np.maximum(starts - begin, 0), ends - begin
    return tokens[readable], starts[readable], ends[readable]
