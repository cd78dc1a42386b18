"""Text -> ids and back: a thin wrapper of the tokenizers library."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from yosort.errors import CheckpointError, InputError

_SPECIAL = ("mask_token", "pad_token", "bos_token", "eos_token", "cls_token", "sep_token")


class Tokenizer:
    """A model's tokenizer, with the special tokens that its files name.

    Padding and truncation stored in tokenizer.json are switched off: batches are packed, and
    nothing is cut unasked.

    Attributes:
        backend: the `tokenizers.Tokenizer` underneath.
        special_tokens: content by role ("mask_token", "pad_token", ...), as the files say.
    """

    def __init__(self, backend: tokenizers.Tokenizer, special_tokens: dict[str, str]) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.special_tokens = special_tokens

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """Read tokenizer.json and the special tokens from a model folder.

        Raises:
            CheckpointError: the folder holds no tokenizer.json, or one that cannot be read.
        """
        path = Path(folder, "tokenizer.json")
        try:
            # One call for the text: tokenizers reports a missing file and a broken one alike.
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{folder}: wanted a tokenizer.json, found none") from None
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
        return cls(backend, _special_tokens(Path(folder), backend))

    def encode(
        self, text: str, pair: str | None = None, *, add_special_tokens: bool = True
    ) -> tokenizers.Encoding:
        """Tokenize a text, or a pair of texts."""
        return self.backend.encode(text, pair, add_special_tokens=add_special_tokens)

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
