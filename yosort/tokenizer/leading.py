"""The beginning of a long text that holds all the tokens that are kept of it.

Cutting a text of twenty million letters to 512 tokens needs its first pages, not the other tokens,
each of which the tokenizers library holds in some hundred bytes. So a text is cut before it is
tokenized, where that changes none of the tokens that are kept:

- between a letter and a single space that another letter follows, where there is one. There every
  tokenizer of the kinds below ends a word, and words are tokenized one by one;
- else between two letters, if the words before and the tokens of the word itself that are settled
  (settled.py) are enough.

Of other tokenizers, and of texts without such places, nothing is cut here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import tokenizers
from tokenizers import models

from yosort.tokenizer.settled import Pieces

# Letters and digits, but for those that Unicode lets vanish or join what stands before them:
# the fillers of Hangul and the voicing marks of half-width kana.
_LETTER = "[^\\W_\u115f\u1160\u3164\uffa0\uff9e\uff9f]"
_CUT = re.compile(f"(?<={_LETTER}) (?={_LETTER})")
# Letters and digits of scripts in which no normalizer joins one to the letter before it.
_PLAIN = (
    "[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0400-\u0481\u048a-\u052f\u0e01-\u0e2e"
    "\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]"
)
# An English contraction ('re) is read ahead of what follows.
_WITHIN = re.compile(f"(?<={_PLAIN})(?<!'{_PLAIN})(?={_PLAIN})")
#: How many letters are tried first, for each token that is wanted and besides.
_LETTERS, _MORE = 8, 256
#: How often the letters are doubled to find a place within a word: tokens of up to 128 letters.
_TRIES = 5
#: Letters from which on a text is longer to tokenize than a vocabulary to look through.
_WORTH = 1 << 17
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
    if 2 * size >= len(text) or not _is_local_all(backend):
        return text
    spaces = _ends_words_at_spaces(backend)
    within = _Within(backend, worth=len(text) >= _WORTH)
    tries = _TRIES if within.worth else 1
    while 2 * size < len(text):
        place = _CUT.search(text, size, 2 * size) if spaces else None
        if place is not None:
            part = text[: place.start()]
            if len(backend.encode(part, add_special_tokens=False)) > max_tokens:
                return part
        elif tries:
            tries -= 1
            end = within.place(text, size, 2 * size)
            if end is not None and within.is_enough(text[:end], max_tokens):
                return text[:end]
        size *= 2
    return text


class _Within:
    """Cuts between two letters of a word, by a tokenizer all of whose steps are local."""

    def __init__(self, backend: tokenizers.Tokenizer, *, worth: bool) -> None:
        self.backend = backend
        self.worth = worth
        self.normalize = _normalizing(backend)

    @cached_property
    def taken(self) -> set[str]:
        """The last letter of each added token, and each two of its letters."""
        added = [token.content for token in self.backend.get_added_tokens_decoder().values()]
        spelt = [form for token in added for form in (token, self.normalize(token))]
        return {part for form in spelt for part in (*_pairs(form), form[-1:])}

    @cached_property
    def words(self) -> tokenizers.Tokenizer:
        """A tokenizer whose tokens are the words, as the model gets them."""
        # Unigram spells an unknown token as it is in the text.
        made = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0)], 0, False))
        for part in ("normalizer", "pre_tokenizer"):
            if getattr(self.backend, part) is not None:
                setattr(made, part, getattr(self.backend, part))
        added = self.backend.get_added_tokens_decoder()
        made.add_tokens([token for _, token in sorted(added.items())])
        made.encode_special_tokens = self.backend.encode_special_tokens
        return made

    @cached_property
    def pieces(self) -> Pieces | None:
        """The vocabulary, where a long word is worth looking through it."""
        return Pieces.of(self.backend) if self.worth else None

    def place(self, text: str, begin: int, end: int) -> int | None:
        """Return a place between two letters where no added token ends, nor reaches across."""
        for match in _WITHIN.finditer(text, begin, end):
            at = match.start()
            before, both = text[at - 1], text[at - 1 : at + 1]
            around = {before, *self.normalize(before), *_pairs(both), *_pairs(self.normalize(both))}
            if self.taken.isdisjoint(around):
                return at
        return None

    def is_enough(self, part: str, max_tokens: int) -> bool:
        """Whether the first `max_tokens` tokens of a part stay, however its last word goes on."""
        encoding = self.backend.encode(part, add_special_tokens=False)
        if len(encoding) <= max_tokens:
            return False
        words = self.words.encode(part, add_special_tokens=False)
        # Without special tokens each one is of a word.
        last = cast(int, words.word_ids[-1])
        settled = sum(cast(int, word) < last for word in encoding.word_ids)
        if settled < max_tokens and self.pieces is not None:
            spelt = zip(words.tokens, words.word_ids, strict=True)
            start = "".join(token for token, word in spelt if word == last)
            settled += self.pieces.count_settled(self.backend, start, max_tokens - settled)
        return bool(settled >= max_tokens)


def _pairs(text: str) -> list[str]:
    return [text[i : i + 2] for i in range(len(text) - 1)]


def _normalizing(backend: tokenizers.Tokenizer) -> Callable[[str], str]:
    return str if backend.normalizer is None else backend.normalizer.normalize_str


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


def _is_local_all(backend: tokenizers.Tokenizer) -> bool:
    """Whether what stands far from a place changes nothing there, before the model."""
    steps = [step for step in (backend.normalizer, backend.pre_tokenizer) if step is not None]
    try:
        return all(_is_local(json.loads(step.__getstate__())) for step in steps)
    except Exception:  # written in Python: tokenizers raises bare Exception
        return False


def _ends_words_at_spaces(backend: tokenizers.Tokenizer) -> bool:
    """Whether a word ends between a letter and a single space; of local steps."""
    if backend.pre_tokenizer is None:
        return False
    added = backend.get_added_tokens_decoder().values()
    if any(re.search(r"\w[\s▁]", token.content) for token in added):
        return False
    pieces = backend.pre_tokenizer.pre_tokenize_str(_normalizing(backend)("ab cd"))
    return any(piece.endswith("b") for piece, _ in pieces)


def _is_local(step: dict[str, Any]) -> bool:
    kind = step["type"]
    if kind == "Sequence":
        return all(map(_is_local, step.get("normalizers", step.get("pretokenizers", ()))))
    if kind in ("Replace", "Split"):
        pattern = step["pattern"]
        if "String" in pattern:  # one that covers a place holds a letter, and what stands behind it
            return not re.search(r"\w[\w\s▁]", pattern["String"])
        return pattern.get("Regex") in _RUNS_OF_SPACES
    return kind in _LOCAL
