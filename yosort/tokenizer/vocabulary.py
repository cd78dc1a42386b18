"""Tokens, ids and the text that they spell: what a tokenizer is without a text to tokenize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tokenizers

from yosort.arguments import are_texts, check_flag, checks_calls, is_integer, with_names
from yosort.elsewhere import DECODING, TOKENIZERS, Hinted
from yosort.errors import InputError, show
from yosort.tokenizer.backend import NO_UNICODE

#: Special tokens by role, in the order in which transformers lists them.
ROLES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
# What clean_up_tokenization_spaces takes back: spaces before punctuation and contractions.
_SPACED = {
    **{f" {mark}": mark for mark in ".?!,"},
    " ' ": "'",
    **{f" {end}": end for end in ("n't", "'m", "'s", "'ve", "'re")},
}


def _token(role: str) -> Any:
    """Return the attribute of a special token: its text, or None."""

    def get(self: Vocabulary) -> str | None:
        return self.special_tokens.get(role)

    def put(self: Vocabulary, token: str | None) -> None:
        if token is None:
            self.special_tokens.pop(role, None)
        elif self.token_id(token) is None:
            raise InputError.wanted(role, "a token of the vocabulary", token)
        else:
            self.special_tokens[role] = token

    return property(get, put, doc=f"The text of the {role}; None where there is none.")


def _token_id(role: str) -> Any:
    """Return the attribute of a special token's id, or None."""

    def get(self: Vocabulary) -> int | None:
        token = self.special_tokens.get(role)
        return None if token is None else self.token_id(token)

    def put(self: Vocabulary, index: Any) -> None:
        token = self.backend.id_to_token(int(index)) if _is_id(index) else None
        if index is not None and token is None:
            raise InputError.wanted(f"{role}_id", "the id of a token", index)
        setattr(self, role, token)

    return property(get, put, doc=f"The id of the {role}; None where there is none.")


@checks_calls(InputError)
class Vocabulary(Hinted):
    """The tokens of a `tokenizers.Tokenizer`, with special ones by their role."""

    _instead = TOKENIZERS
    backend: tokenizers.Tokenizer
    special_tokens: dict[str, str]
    extra_special_tokens: list[str]
    clean_up_tokenization_spaces: bool

    bos_token, bos_token_id = _token("bos_token"), _token_id("bos_token")
    eos_token, eos_token_id = _token("eos_token"), _token_id("eos_token")
    unk_token, unk_token_id = _token("unk_token"), _token_id("unk_token")
    sep_token, sep_token_id = _token("sep_token"), _token_id("sep_token")
    pad_token, pad_token_id = _token("pad_token"), _token_id("pad_token")
    cls_token, cls_token_id = _token("cls_token"), _token_id("cls_token")
    mask_token, mask_token_id = _token("mask_token"), _token_id("mask_token")
    #: The token type of padding.
    pad_token_type_id = 0

    def __len__(self) -> int:
        """Return the size of the vocabulary, added tokens included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary without added tokens."""
        return int(self.backend.get_vocab_size(with_added_tokens=False))

    @property
    def vocab(self) -> dict[str, int]:
        """The ids by token, added tokens included."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Return the ids by token, added tokens included."""
        return dict(self.backend.get_vocab(with_added_tokens=True))

    def get_added_vocab(self) -> dict[str, int]:
        """Return the ids of added tokens, in their order."""
        return {token.content: place for place, token in self.added_tokens_decoder.items()}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of added tokens: transformers' other name of `get_added_vocab`."""
        return self.get_added_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, tokenizers.AddedToken]:
        """The added tokens by id, special ones among them."""
        return dict(sorted(self.backend.get_added_tokens_decoder().items()))

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Special tokens by role, in transformers' order."""
        return {r: self.special_tokens[r] for r in ROLES if r in self.special_tokens}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        named = self.special_tokens_map.values()
        return list(dict.fromkeys([*named, *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The special tokens' ids."""
        found: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return found

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None if the vocabulary has no such token.

        Raises:
            InputError: no text.
        """
        try:
            found = self.backend.token_to_id(token)
        except (TypeError, UnicodeEncodeError):
            got = NO_UNICODE if isinstance(token, str) else f"wanted text, got {show(token)}"
            raise InputError(f"token: {got}") from None
        return None if found is None else int(found)

    def id_of(self, role: str) -> int:
        """Return the id of a special token such as "mask_token".

        Raises:
            InputError: the tokenizer has none.
        """
        token = self.special_tokens.get(role) if isinstance(role, str) else None
        found = None if token is None else self.token_id(token)
        if found is None:
            raise InputError(f"this model's tokenizer has no {show(role)}")
        return found

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """Return the id of a token, or those of a list of them; the unknown token's for others.

        Raises:
            InputError: no text, or list of texts.
        """
        if not isinstance(tokens, str) and not are_texts(tokens):
            raise InputError.wanted("tokens", "a token or a list of them", tokens)
        several = [tokens] if isinstance(tokens, str) else tokens
        found = [self.token_id(token) for token in several]
        ids = [self.unk_token_id if each is None else each for each in found]
        return ids[0] if isinstance(tokens, str) else ids

    def get_special_tokens_mask(
        self,
        token_ids_0: Any,
        token_ids_1: Any = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each id of a special token, 0 for the others.

        Args:
            token_ids_0: a list or array of ids, [n].
            token_ids_1: None: ids that have their special tokens are of one list.
            already_has_special_tokens: True; for other ids, whose special tokens are not there yet,
                the call says it: `return_special_tokens_mask=True`.

        Raises:
            InputError: something that is no token id, or other options.
        """
        name = "already_has_special_tokens"
        if not check_flag(name, already_has_special_tokens) or token_ids_1 is not None:
            raise InputError(
                f"{name}: wanted True and one list of ids; of a text, or a pair, "
                "tokenizer(text, return_special_tokens_mask=True) returns the mask"
            )
        special = set(self.all_special_ids)
        row = _check_row("token_ids_0", _as_lists(token_ids_0), token_ids_0)
        return [int(token in special) for token in row]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or those of a list or array [n]; None for ids of no token.

        Raises:
            InputError: something that is no token id.
        """
        skip = check_flag("skip_special_tokens", skip_special_tokens)
        listed = _as_lists(ids)
        if _is_id(listed):
            return self.backend.id_to_token(int(listed))
        row = _check_row("ids", listed, ids)
        skipped = set(self.all_special_ids) if skip else set()
        return [self.backend.id_to_token(token) for token in row if token not in skipped]

    @with_names(InputError, DECODING)
    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        *,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> Any:
        """Return the text of ids; those that the vocabulary lacks are left out.

        Args:
            token_ids: an id, a list or array of them [n], or several of those, [texts, n].
            skip_special_tokens: whether to leave out `<s>`, `[CLS]` and their kind.
            clean_up_tokenization_spaces: whether to drop spaces before punctuation; None: as the
                tokenizer's files say, for several texts no.

        Returns:
            A text; a list of them for several.

        Raises:
            InputError: something that is no token id.
        """
        skip = check_flag("skip_special_tokens", skip_special_tokens)
        name = "clean_up_tokenization_spaces"
        ids = _as_lists(token_ids)
        several = isinstance(ids, (list, tuple)) and bool(ids) and _is_list(_as_lists(ids[0]))
        unset = False if several else self.clean_up_tokenization_spaces
        clean = check_flag(name, clean_up_tokenization_spaces, unset=unset)
        if several:
            return [self._text(_as_lists(row), row, skip=skip, clean=clean) for row in ids]
        return self._text([ids] if _is_id(ids) else ids, token_ids, skip=skip, clean=clean)

    @with_names(InputError, DECODING)
    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        *,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Return the texts of several lists of ids.

        Args:
            sequences: lists of ids, or an array [texts, n].
            skip_special_tokens: as in `decode`.
            clean_up_tokenization_spaces: as in `decode`; None: as the tokenizer's files say.

        Raises:
            InputError: something that is no token id.
        """
        clean = check_flag(
            "clean_up_tokenization_spaces",
            clean_up_tokenization_spaces,
            unset=self.clean_up_tokenization_spaces,
        )
        found = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces=clean)
        return [found] if isinstance(found, str) else list(found)

    def join(self, tokens: Sequence[str]) -> str:
        """Return tokens as the text that they spell.

        Raises:
            InputError: no list of texts.
        """
        if not are_texts(tokens):
            raise InputError.wanted("tokens", "a list of texts", tokens)
        decoder = self.backend.decoder
        try:
            return str(decoder.decode(list(tokens))) if decoder is not None else " ".join(tokens)
        except (TypeError, UnicodeEncodeError):
            raise InputError(NO_UNICODE) from None

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return tokens as the text that they spell: `join` by transformers' name.

        Raises:
            InputError: no list of texts.
        """
        return self.join(tokens)

    def _text(self, ids: Any, given: Any, *, skip: bool, clean: bool) -> str:
        row = _check_row("token_ids", ids, given)
        text = str(self.backend.decode(row, skip_special_tokens=skip))
        for spaced, joined in _SPACED.items() if clean else ():
            text = text.replace(spaced, joined)
        return text


def _as_lists(value: Any) -> Any:
    """Return an array of NumPy, CuPy or another library as lists, everything else as it is."""
    return value.tolist() if hasattr(value, "tolist") and not isinstance(value, type) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_id(value: Any) -> bool:
    return is_integer(value) and 0 <= value < 1 << 32


def _check_row(name: str, ids: Any, given: Any) -> list[int]:
    if not isinstance(ids, (list, tuple, range)) or not all(map(_is_id, ids)):
        raise InputError.wanted(name, "a list of token ids", given)
    return [int(token) for token in ids]
