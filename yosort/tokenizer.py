"""Text -> ids and back: a thin wrapper of the tokenizers library."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from yosort.errors import CheckpointError, InputError

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
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special_tokens: dict[str, str],
        *,
        token_types: bool = True,
    ) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.special_tokens = special_tokens
        self.token_types = token_types
        self._truncating: dict[tuple[int, int, str], Tokenizer] = {}

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """Read a model folder's tokenizer: tokenizer.json, or vocab.json and merges.txt.

        Raises:
            CheckpointError: the folder holds neither, or one that cannot be read.
        """
        names = _read_json(Path(folder, "tokenizer_config.json")).get("model_input_names")
        token_types = not isinstance(names, list) or "token_type_ids" in names
        path = Path(folder, "tokenizer.json")
        if not path.exists() and Path(folder, "vocab.json").exists():
            backend = _byte_bpe(Path(folder))
            return cls(backend, _special_tokens(Path(folder), backend), token_types=token_types)
        try:
            # One call for the text: tokenizers reports a missing file and a broken one alike.
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(
                f"{folder}: wanted tokenizer.json, or vocab.json and merges.txt, found neither; "
                "transformers' AutoTokenizer writes a tokenizer.json: from_pretrained, then "
                "save_pretrained"
            ) from None
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
        return cls(backend, _special_tokens(Path(folder), backend), token_types=token_types)

    def encode(
        self, text: str | list[str], pair: str | None = None, *, add_special_tokens: bool = True
    ) -> tokenizers.Encoding:
        """Tokenize a text, a pair of texts, or a list of words.

        Raises:
            InputError: a text that is no Unicode, as bytes read in a wrong encoding leave it.
        """
        words = not isinstance(text, str)
        try:
            return self.backend.encode(
                text, pair, is_pretokenized=words, add_special_tokens=add_special_tokens
            )
        except TypeError:
            raise InputError(
                "wanted Unicode text, got one with lone surrogates: was it read as UTF-8?"
            ) from None

    def truncating(self, max_tokens: int, stride: int, strategy: str) -> Tokenizer:
        """Return a copy that cuts at max_tokens; its encodings' `overflowing` are the rest.

        A copy, because truncation is a setting of the whole tokenizer, which other threads use.

        Raises:
            InputError: windows of max_tokens that overlap by stride would not advance.
        """
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
        """Return tokens as the text that they spell."""
        decoder = self.backend.decoder
        return str(decoder.decode(list(tokens))) if decoder is not None else " ".join(tokens)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of ids."""
        return str(self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, or None if the vocabulary has no such token."""
        found = self.backend.token_to_id(token)
        return None if found is None else int(found)

    def id_of(self, role: str) -> int:
        """Return the id of a special token such as "mask_token".

        Raises:
            InputError: the tokenizer has none.
        """
        token = self.special_tokens.get(role)
        found = None if token is None else self.token_id(token)
        if found is None:
            raise InputError(f"this model's tokenizer has no {role}")
        return found


def _byte_bpe(folder: Path) -> tokenizers.Tokenizer:
    """Build RoBERTa's tokenizer, which vocab.json and merges.txt imply, from those files."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

    config = _read_json(folder / "tokenizer_config.json")
    names = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    for values in (_read_json(folder / "special_tokens_map.json"), config):
        for role in names:
            entry = values.get(role)
            content = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(content, str):
                names[role] = content
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
        values = _read_json(folder / name)
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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    return values if isinstance(values, dict) else {}
