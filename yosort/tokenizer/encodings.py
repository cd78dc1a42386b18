"""What a tokenizer answers: the model's arguments, and the way from tokens to words and letters."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tokenizers

from yosort.arguments import checks_calls, is_integer
from yosort.elsewhere import ENCODINGS, no_attribute
from yosort.errors import InputError, show
from yosort.ops.cuda import finding


class CharSpan(NamedTuple):
    """Characters `start` to `end` (exclusive) of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (exclusive) of an encoded text."""

    start: int
    end: int


class Encoding:
    """One encoded sequence: a `tokenizers.Encoding` whose lists are made once, not at each access.

    Attributes that are not listed here are the library's own: `char_to_token`, `n_sequences`, ...
    """

    def __init__(self, backend: tokenizers.Encoding) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name == "_backend":  # not there yet while an Encoding is unpickled
            raise AttributeError(name)
        return getattr(self._backend, name)

    def __getstate__(self) -> dict[str, Any]:
        return {"_backend": self._backend}

    def __len__(self) -> int:
        return len(self._backend)

    def __repr__(self) -> str:
        return repr(self._backend)

    @cached_property
    def ids(self) -> list[int]:
        """The token ids."""
        return list(self._backend.ids)

    @cached_property
    def type_ids(self) -> list[int]:
        """The token types: which of the two texts of a pair a token belongs to, for the model."""
        return list(self._backend.type_ids)

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens as the vocabulary spells them."""
        return list(self._backend.tokens)

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """The characters of the text, begin and end, that each token stands for."""
        return list(self._backend.offsets)

    @cached_property
    def word_ids(self) -> list[int | None]:
        """The word of each token; None for special tokens."""
        return list(self._backend.word_ids)

    @cached_property
    def sequence_ids(self) -> list[int | None]:
        """The text of the pair, 0 or 1, of each token; None for special tokens."""
        return list(self._backend.sequence_ids)

    @cached_property
    def attention_mask(self) -> list[int]:
        """1 for a token, 0 for padding."""
        return list(self._backend.attention_mask)

    @cached_property
    def special_tokens_mask(self) -> list[int]:
        """1 for a special token that the tokenizer added, 0 for one of the text."""
        return list(self._backend.special_tokens_mask)

    @cached_property
    def overflowing(self) -> list[Encoding]:
        """The windows that follow this one, where the text was cut."""
        return [Encoding(backend) for backend in self._backend.overflowing]


@checks_calls(InputError)
class BatchEncoding(UserDict[str, Any]):
    """The arrays or lists of one or several encoded texts, by key and by attribute.

    `model(**batch)` takes it as it is. The methods answer for the text `batch_index` (a window,
    where overflowing tokens were asked for); with one index they mean the first text.

    Attributes:
        data: the arrays or lists, by name.
        encodings: one `Encoding` a text; also `batch[0]`, `batch[1]`, ...; None for a batch that
            no tokenizer made.
    """

    def __init__(
        self, data: dict[str, Any] | None = None, encodings: Sequence[Encoding] | None = None
    ) -> None:
        super().__init__(data or {})
        self.encodings = None if encodings is None else list(encodings)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self.encodings is not None and (is_integer(item) or isinstance(item, slice)):
            return self.encodings[item]
        raise KeyError(item)

    def __getattr__(self, name: str) -> Any:
        # `data` itself is not there yet while a batch is unpickled.
        if name != "data" and name in self.data:
            return self.data[name]
        names = ", ".join(self.__dict__.get("data", ()))
        raise no_attribute(f"a batch of {names}", name, ENCODINGS)

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs."""
        return self.encodings[0].n_sequences if self.encodings else None

    @property
    def is_fast(self) -> bool:
        """Whether there are encodings, which the methods below ask."""
        return self.encodings is not None

    def to(self, device: Any, **_: Any) -> BatchEncoding:
        """Return the batch itself: a model moves what it is given to its own device."""
        return self

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return a text's tokens.

        Raises:
            InputError: no such text, or no encodings.
        """
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the word of each of a text's tokens; None for special tokens.

        Raises:
            InputError: no such text, or no encodings.
        """
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return 0 or 1, the text of the pair, for each token; None for special tokens.

        Raises:
            InputError: no such text, or no encodings.
        """
        return self._encoding(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> Any:
        """Return the text of the pair, 0 or 1, of a token; None for a special token.

        Raises:
            InputError: no such text, or no encodings.
        """
        encoding, token = self._place(batch_or_token_index, token_index)
        return encoding.token_to_sequence(_from_end(token, encoding))

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> Any:
        """Return the word of a token; None for a special token.

        Raises:
            InputError: no such text, or no encodings.
        """
        encoding, token = self._place(batch_or_token_index, token_index)
        return encoding.token_to_word(_from_end(token, encoding))

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> CharSpan | None:
        """Return the characters of a token; None for a special token.

        Raises:
            InputError: no such text, or no encodings.
        """
        encoding, token = self._place(batch_or_token_index, token_index)
        found = encoding.token_to_chars(_from_end(token, encoding))
        return None if found is None else CharSpan(*found)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word; None for a word without any.

        Raises:
            InputError: no such text or sequence, an index below 0, or no encodings.
        """
        encoding, word = self._place(batch_or_word_index, word_index)
        found = encoding.word_to_tokens(_count(word), _sequence(sequence_index, encoding))
        return None if found is None else TokenSpan(*found)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan:
        """Return the characters of a word.

        Raises:
            InputError: no such text or word, or no encodings.
        """
        encoding, word = self._place(batch_or_word_index, word_index)
        found = encoding.word_to_chars(_count(word), _sequence(sequence_index, encoding))
        if found is None:
            raise InputError(f"no word {word} in text {sequence_index} of this encoding")
        return CharSpan(*found)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> Any:
        """Return the token of a character; None for one of no token, such as a trimmed space.

        Raises:
            InputError: no such text or sequence, an index below 0, or no encodings.
        """
        encoding, char = self._place(batch_or_char_index, char_index)
        return encoding.char_to_token(_count(char), _sequence(sequence_index, encoding))

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> Any:
        """Return the word of a character; None for one of no word.

        Raises:
            InputError: no such text or sequence, an index below 0, or no encodings.
        """
        encoding, char = self._place(batch_or_char_index, char_index)
        return encoding.char_to_word(_count(char), _sequence(sequence_index, encoding))

    def _place(self, first: int, second: int | None) -> tuple[Encoding, int]:
        """Return what (index) or (batch_index, index) means."""
        batch_index, index = (0, first) if second is None else (first, second)
        return self._encoding(batch_index), index

    def _encoding(self, batch_index: int) -> Encoding:
        if not self.encodings:
            raise InputError("wanted a batch that a tokenizer made, got one without encodings")
        count = len(self.encodings)
        if not is_integer(batch_index) or not -count <= batch_index < count:
            raise InputError.wanted("batch_index", f"an integer from 0 to {count - 1}", batch_index)
        return self.encodings[batch_index]


def _count(value: Any) -> int:
    if not is_integer(value) or value < 0:
        raise InputError(f"wanted an index of at least 0, got {show(value)}")
    return int(value)


def _sequence(index: Any, encoding: Encoding) -> int:
    """Return which text of a pair is meant; the library takes any other number for the first."""
    if not is_integer(index) or not 0 <= index < encoding.n_sequences:
        raise InputError.wanted(
            "sequence_index", f"an integer from 0 to {encoding.n_sequences - 1}", index
        )
    return int(index)


def _from_end(token: Any, encoding: Encoding) -> int:
    """Return a token's index, which may count from the end."""
    if is_integer(token) and token < 0:
        token += len(encoding)
    return _count(token)


def as_arrays(data: dict[str, list[Any]], kind: str) -> dict[str, Any]:
    """Return lists as arrays of NumPy ("np") or, on the current GPU, CuPy ("cp"): int64 [texts, n].

    Raises:
        InputError: texts that differ in length; what are no numbers.
        DeviceError: no GPU for CuPy's.
    """
    xp: Any = np
    if kind == "cp":
        xp, _ = finding.find_gpu()
    lengths = {len(row) for row in data["input_ids"]}
    if len(lengths) > 1:
        raise InputError(
            f"return_tensors={kind!r}: wanted texts of one length, got {min(lengths)} to "
            f"{max(lengths)} tokens; padding=True fills the short ones up, truncation=True cuts "
            "the long ones"
        )
    return {name: xp.asarray(_as_array(name, rows)) for name, rows in data.items()}


def _as_array(name: str, rows: list[Any]) -> npt.NDArray[Any]:
    try:
        array = np.asarray(rows)
    except ValueError:  # of several lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise InputError.wanted(name, "numbers of one length a text", rows)
    # Of nothing at all NumPy makes floats.
    return array.astype(np.int64) if array.dtype.kind in "iu" or not array.size else array
