"""Text -> ids and back: a thin wrapper of the tokenizers library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from yosort.arguments import (
    are_texts,
    check_choice,
    check_count,
    check_flag,
    check_path,
    is_integer,
    is_row,
)
from yosort.checkpoint.mapped import read_file, read_json, regular_size
from yosort.errors import CheckpointError, InputError, show

#: What truncation may cut of a pair.
STRATEGIES = ("longest_first", "only_first", "only_second")
NO_UNICODE = "wanted Unicode text, got one with lone surrogates: was it read as UTF-8?"
_SPECIAL = (
    "mask_token",
    "pad_token",
    "bos_token",
    "eos_token",
    "cls_token",
    "sep_token",
    "unk_token",
)


class Tokenizer:
    """A model's tokenizer, with the special tokens that its files name.

    Padding and truncation stored in tokenizer.json are switched off: batches are packed, and
    nothing is cut unasked.

    Attributes:
        backend: the `tokenizers.Tokenizer` underneath.
        special_tokens: content by role ("mask_token", "pad_token", ...), as the files say.
        token_types: whether the model is given the token types of a pair; not where
            tokenizer_config.json's `model_input_names` leaves them out.

    Raises:
        InputError: no backend of `tokenizers`, or special tokens that are not by role.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special_tokens: dict[str, str],
        *,
        token_types: bool = True,
    ) -> None:
        if not isinstance(backend, tokenizers.Tokenizer):
            raise InputError(f"backend: wanted a tokenizers.Tokenizer, got {show(backend)}")
        if not isinstance(special_tokens, dict):
            raise InputError(f"special_tokens: wanted tokens by role, got {show(special_tokens)}")
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.special_tokens = special_tokens
        self.token_types = check_flag("token_types", token_types)
        self._truncating: dict[tuple[int, int, str], Tokenizer] = {}

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """Read a model folder's tokenizer: tokenizer.json, or vocab.json and merges.txt.

        Raises:
            CheckpointError: the folder holds neither, or one that cannot be read.
        """
        where = check_path("folder", folder)
        names = _read_fields(where / "tokenizer_config.json").get("model_input_names")
        token_types = not isinstance(names, list) or "token_type_ids" in names
        path = where / "tokenizer.json"
        if os.path.exists(path):
            text = read_file(path)
            try:
                backend = tokenizers.Tokenizer.from_buffer(text)
            except Exception as error:  # tokenizers raises bare Exception
                raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
        elif os.path.exists(where / "vocab.json"):
            backend = _byte_bpe(where)
        else:
            raise CheckpointError(
                f"{folder}: wanted tokenizer.json, or vocab.json and merges.txt, found neither; "
                "transformers' AutoTokenizer writes a tokenizer.json: from_pretrained, then "
                "save_pretrained"
            )
        return cls(backend, _special_tokens(where, backend), token_types=token_types)

    def encode(
        self, text: str | list[str], pair: str | None = None, *, add_special_tokens: bool = True
    ) -> tokenizers.Encoding:
        """Tokenize a text, a pair of texts, or a list of words.

        Raises:
            InputError: no text, or one that is no Unicode, as bytes read in a wrong encoding leave
                it.
        """
        words = isinstance(text, (list, tuple))
        for part in (text,) if pair is None else (text, pair):
            if not (are_texts(part) if words else isinstance(part, str)):
                raise InputError(f"wanted a text, or a list of words, got {show(part)}")
        check_flag("add_special_tokens", add_special_tokens)
        try:
            return self.backend.encode(
                text, pair, is_pretokenized=words, add_special_tokens=add_special_tokens
            )
        except (TypeError, UnicodeEncodeError):
            raise InputError(NO_UNICODE) from None

    def truncating(self, max_tokens: int, stride: int, strategy: str) -> Tokenizer:
        """Return a copy that cuts at max_tokens; its encodings' `overflowing` are the rest.

        A copy, because truncation is a setting of the whole tokenizer, which other threads use.

        Raises:
            InputError: an argument of another type or range, or windows of max_tokens that would
                not advance, since they overlap by stride.
        """
        check_count("max_tokens", max_tokens)
        check_count("stride", stride, least=0)
        check_choice("strategy", strategy, STRATEGIES)
        key = (max_tokens, stride, strategy)
        if key not in self._truncating:
            copy = Tokenizer(
                tokenizers.Tokenizer.from_str(self.backend.to_str()), self.special_tokens
            )
            try:
                copy.backend.enable_truncation(max_tokens, stride=stride, strategy=strategy)
            except BaseException as error:  # tokenizers panics on some sizes
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise InputError(
                    f"windows of {max_tokens} tokens cannot overlap by {stride}: {error}"
                ) from None
            self._truncating[key] = copy
        return self._truncating[key]

    def join(self, tokens: Sequence[str]) -> str:
        """Return tokens as the text that they spell.

        Raises:
            InputError: no list of texts.
        """
        if not are_texts(tokens):
            raise InputError(f"tokens: wanted a list of texts, got {show(tokens)}")
        decoder = self.backend.decoder
        try:
            return str(decoder.decode(list(tokens))) if decoder is not None else " ".join(tokens)
        except (TypeError, UnicodeEncodeError):
            raise InputError(NO_UNICODE) from None

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of ids; those that the vocabulary lacks are left out.

        Raises:
            InputError: something that is no token id.
        """
        check_flag("skip_special_tokens", skip_special_tokens)
        if not (is_row(ids) or isinstance(ids, (list, tuple, range))) or not all(map(_is_id, ids)):
            raise InputError(f"ids: wanted a list of token ids, got {show(ids)}")
        whole = [int(token) for token in ids]
        return str(self.backend.decode(whole, skip_special_tokens=skip_special_tokens))

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


def _is_id(value: Any) -> bool:
    return is_integer(value) and 0 <= value < 1 << 32


def _byte_bpe(folder: Path) -> tokenizers.Tokenizer:
    """Build RoBERTa's tokenizer, which vocab.json and merges.txt imply, from those files."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

    config = _read_fields(folder / "tokenizer_config.json")
    names = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    for values in (_read_fields(folder / "special_tokens_map.json"), config):
        for role in names:
            entry = values.get(role)
            content = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(content, str):
                names[role] = content
    for name in ("vocab.json", "merges.txt"):
        regular_size(folder / name)  # the next line would wait for a pipe without end
    try:
        model = models.BPE.from_file(
            str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token=names["unk_token"]
        )
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(
            f"{folder}: vocab.json and merges.txt are not a byte-level BPE: {error}"
        ) from None
    backend = tokenizers.Tokenizer(model)
    prefix = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    ids = backend.get_vocab()
    missing = [token for token in names.values() if token not in ids]
    if missing:
        raise CheckpointError(
            f"{folder / 'vocab.json'}: wanted special tokens {missing}, found none"
        )
    begin, end = ((names[role], ids[names[role]]) for role in ("bos_token", "eos_token"))
    backend.post_processor = processors.RobertaProcessing(
        end, begin, trim_offsets=True, add_prefix_space=prefix
    )
    backend.add_special_tokens(
        [
            AddedToken(token, lstrip=role == "mask_token", special=True, normalized=False)
            for role, token in names.items()
        ]
    )
    return backend


def _special_tokens(folder: Path, backend: tokenizers.Tokenizer) -> dict[str, str]:
    """Collect special tokens by role; the later file wins, as in transformers."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        values = _read_fields(folder / name)
        for role in _SPECIAL:
            entry = values.get(role)
            content = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(content, str):
                found[role] = content
    if "mask_token" not in found:
        # Without a config the tokenizer still lists its own special tokens.
        added = backend.get_added_tokens_decoder().values()
        for token in added:
            if token.special and token.content in ("<mask>", "[MASK]"):
                found["mask_token"] = token.content
    return found


def _read_fields(path: Path) -> dict[str, Any]:
    return read_json(path) if os.path.exists(path) else {}
