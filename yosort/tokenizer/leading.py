"""The beginning of a long text that holds all the tokens that are kept of it.

Cutting a text of twenty million letters to 512 tokens needs its first pages, not the other tokens,
each of which the tokenizers library holds in some hundred bytes. So a text is cut before it is
tokenized, where that changes no token before the cut: between a letter and a single space that
another letter follows. There every tokenizer of the kinds below ends a word, and words are
tokenized one by one. Of other tokenizers, and of texts without such places, nothing is cut here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import tokenizers

# Letters and digits, but for those that Unicode lets vanish or join what stands before them:
# the fillers of Hangul and the voicing marks of half-width kana.
_LETTER = "[^\\W_\u115f\u1160\u3164\uffa0\uff9e\uff9f]"
_CUT = re.compile(f"(?<={_LETTER}) (?={_LETTER})")
#: How many letters are tried first, for each token that is wanted and besides.
_LETTERS, _MORE = 8, 256
# What normalizers and pre-tokenizers do at a place depends on the letters next to it alone.
_LOCAL = {
    *("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Precompiled"),
    *("Nmt", "Strip", "Prepend", "ByteLevel", "BertPreTokenizer", "Whitespace", "WhitespaceSplit"),
    *("Punctuation", "Digits", "Metaspace"),
}
_RUNS_OF_SPACES = (" {2,}", " +", r"\s+", r"\s{2,}")


def leading(
    backend: tokenizers.Tokenizer, text: str | Sequence[str], max_tokens: int
) -> str | Sequence[str]:
    """Return the beginning of a text, or of a list of words, that is enough to cut it.

    Args:
        backend: without padding and truncation.
        text: a text or a list of words.
        max_tokens: how many tokens are kept, special ones aside.

    Returns:
        The text itself, or a beginning of it that has more tokens than `max_tokens`; the first
        `max_tokens` of them, their offsets and words are those of the text.
    """
    if not isinstance(text, str):
        return _leading_words(backend, text, max_tokens)
    size = _LETTERS * max_tokens + _MORE
    if 2 * size >= len(text) or not _ends_words_at_spaces(backend):
        return text
    while 2 * size < len(text):
        place = _CUT.search(text, size, 2 * size)
        if place is not None:
            part = text[: place.start()]
            if len(backend.encode(part, add_special_tokens=False)) > max_tokens:
                return part
        size *= 2
    return text


def _leading_words(
    backend: tokenizers.Tokenizer, words: Sequence[str], max_tokens: int
) -> Sequence[str]:
    count = max_tokens + 1
    while True:
        part = []
        for word in words[:count]:
            part.append(str(leading(backend, word, max_tokens)))
            if len(part[-1]) < len(word):  # it alone has more tokens than are kept
                return part
        if count >= len(words):
            return words
        encoding = backend.encode(part, is_pretokenized=True, add_special_tokens=False)
        if len(encoding) > max_tokens:
            return part
        count *= 2  # some words have no token


def _ends_words_at_spaces(backend: tokenizers.Tokenizer) -> bool:
    """Whether a word ends between a letter and a single space, whatever stands further away."""
    if backend.pre_tokenizer is None:
        return False
    steps = [step for step in (backend.normalizer, backend.pre_tokenizer) if step is not None]
    try:
        described = [json.loads(step.__getstate__()) for step in steps]
    except Exception:  # written in Python: tokenizers raises bare Exception
        return False
    if not all(map(_is_local, described)):
        return False
    added = backend.get_added_tokens_decoder().values()
    if any(re.search(r"\w[\s▁]", token.content) for token in added):
        return False
    probe = "ab cd" if backend.normalizer is None else backend.normalizer.normalize_str("ab cd")
    pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(probe)]
    return any(piece.endswith("b") for piece in pieces)


def _is_local(step: dict[str, Any]) -> bool:
    kind = step["type"]
    if kind == "Sequence":
        return all(map(_is_local, step.get("normalizers", step.get("pretokenizers", ()))))
    if kind in ("Replace", "Split"):
        pattern = step["pattern"]
        if "String" in pattern:  # one that covers the place holds a letter and a space
            return not re.search(r"\w[\s▁]", pattern["String"])
        return pattern.get("Regex") in _RUNS_OF_SPACES
    return kind in _LOCAL
