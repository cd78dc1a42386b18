"""A folder's tokenizer, read as transformers 5.2's AutoTokenizer reads that very folder.

tokenizer_config.json names a class, config.json a model. Which of them counts:

- Beside a config.json of YOSO's, tokenizer.json is the tokenizer as it is, whatever class is named
  and whatever `add_prefix_space` says, but for AlbertTokenizer, which transformers takes for YOSO's
  own (also where no class is named): of a tokenizer.json with a Unigram vocabulary it keeps that
  vocabulary alone.
- Without a config.json, RobertaTokenizer, BertTokenizer and AlbertTokenizer keep the vocabulary of
  tokenizer.json and make everything around it anew, from tokenizer_config.json's options.
- Without a tokenizer.json, the class builds a tokenizer of vocab.json and merges.txt, or of
  vocab.txt; where the class is none that could, the files say which it is.

`model_input_names` that are not in tokenizer_config.json are the class's: token types of pairs are
given where BertTokenizer builds, and nowhere else. special_tokens_map.json comes before
tokenizer_config.json. Tokens of added_tokens.json, of `added_tokens_decoder` and special tokens
that the vocabulary lacks are added to it, in the order of their ids.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from yosort.arguments import are_texts
from yosort.checkpoint.mapped import read_file, read_json, regular_size
from yosort.errors import CheckpointError, show
from yosort.tokenizer_classes import CLASSES, TokenizerClass

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
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder's files say of its tokenizer.

    Attributes:
        backend: with neither padding nor truncation.
        special_tokens: content by role.
        extra_special_tokens: special tokens without a role.
        model_input_names: what a call returns unasked.
        padding_side: "right" or "left".
        truncation_side: where tokens are dropped, "right" or "left".
        model_max_length: the limit of truncation=True; None: there is none.
        clean_up_tokenization_spaces: whether decoding drops spaces before punctuation.
        split_special_tokens: whether "<s>" in a text is text.
    """

    backend: tokenizers.Tokenizer
    special_tokens: dict[str, str]
    extra_special_tokens: tuple[str, ...]
    model_input_names: tuple[str, ...]
    padding_side: str
    truncation_side: str
    model_max_length: int | None
    clean_up_tokenization_spaces: bool
    split_special_tokens: bool


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read a folder's tokenizer.

    Raises:
        CheckpointError: the folder holds none, one that cannot be read, or files that contradict
            each other.
    """
    config = _fields(folder / "tokenizer_config.json")
    kind = _built_by(folder, config)
    found = _special_tokens(folder, config)
    roles = {**(kind.special_tokens if kind else {}), **{r: t.content for r, t in found.items()}}
    backend = _backend(folder, config, kind, roles)
    extra = config.get("extra_special_tokens", config.get("additional_special_tokens"))
    others = tuple(extra or ()) if are_texts(extra) else ()
    _add_listed(folder, backend, config, roles)
    if kind is not None and not os.path.exists(folder / "tokenizer.json"):
        missing = [token for token in roles.values() if backend.token_to_id(token) is None]
        if missing:
            raise CheckpointError(
                f"{folder / kind.files[0]}: wanted the special tokens {missing}, found none"
            )
    _add_special(backend, kind, found, roles, others)
    if kind is not None and (backend.post_processor is None or not kind.keeps_post_processor):
        kind.finish(backend, config, roles)
    stored = {side: _stored_side(backend, side) for side in ("padding", "truncation")}
    backend.no_padding()
    backend.no_truncation()
    if "mask_token" not in roles:
        # Without a config the tokenizer still lists its own special tokens.
        for token in backend.get_added_tokens_decoder().values():
            if token.special and token.content in ("<mask>", "[MASK]"):
                roles["mask_token"] = token.content
    names: Any = config.get("model_input_names")
    if not are_texts(names):
        names = kind.model_input_names if kind else ("input_ids", "attention_mask")
    return TokenizerFiles(
        backend=backend,
        special_tokens={role: roles[role] for role in ROLES if role in roles},
        extra_special_tokens=others,
        model_input_names=tuple(names),
        padding_side=_side(folder, config, "padding_side", stored["padding"]),
        truncation_side=_side(folder, config, "truncation_side", stored["truncation"]),
        model_max_length=_length(config.get("model_max_length")),
        clean_up_tokenization_spaces=config.get("clean_up_tokenization_spaces") is True,
        split_special_tokens=config.get("split_special_tokens") is True,
    )


def _built_by(folder: Path, config: dict[str, Any]) -> TokenizerClass | None:
    """Return the class that builds the tokenizer; None where tokenizer.json is it."""
    named = config.get("tokenizer_class")
    name = named.removesuffix("Fast") if isinstance(named, str) else None
    stored = folder / "tokenizer.json"
    if os.path.exists(stored):
        model_type = _fields(folder / "config.json").get("model_type")
        if model_type:
            name = "AlbertTokenizer" if name in (None, "AlbertTokenizer") else None
        kind = CLASSES.get(name or "")
        if kind is None:
            return None
        model = _json(stored).get("model")
        fits = isinstance(model, dict) and model.get("type") == kind.model
        return kind if fits else None
    if name in CLASSES and _all_there(folder, CLASSES[name].files):
        return CLASSES[name]
    for kind in CLASSES.values():
        if _all_there(folder, kind.files):
            return kind
    there = [n for n in ("spiece.model", "sentencepiece.bpe.model") if (folder / n).exists()]
    what = f"found {there[0]} alone, which only SentencePiece reads" if there else "found none"
    raise CheckpointError(
        f"{folder}: wanted tokenizer.json, vocab.json and merges.txt, or vocab.txt, {what}; "
        "transformers' AutoTokenizer writes a tokenizer.json: from_pretrained, then save_pretrained"
    )


def _all_there(folder: Path, names: tuple[str, ...]) -> bool:
    return bool(names) and os.path.exists(folder / names[0])


def _backend(
    folder: Path, config: dict[str, Any], kind: Any, roles: dict[str, str]
) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    stored = os.path.exists(path)
    try:
        if stored:
            backend = tokenizers.Tokenizer.from_buffer(read_file(path))
            if kind is None:
                return backend
            made = kind.build(_json(path)["model"], config, roles)
            if kind.keeps_post_processor and backend.post_processor is not None:
                made.post_processor = backend.post_processor
            return made
        for name in kind.files:
            regular_size(folder / name)  # the library would wait for a pipe without end
        return kind.build([str(folder / name) for name in kind.files], config, roles)
    except CheckpointError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        what = str(path) if stored else f"{folder}: {' and '.join(kind.files)}"
        raise CheckpointError(f"{what}: not a tokenizer: {error}") from None


def _special_tokens(folder: Path, config: dict[str, Any]) -> dict[str, AddedToken]:
    """Return special tokens by role; special_tokens_map.json comes first, as in transformers."""
    found: dict[str, AddedToken] = {}
    for values in (config, _fields(folder / "special_tokens_map.json")):
        for role in ROLES:
            token = _token(values.get(role), special=True)
            if token is not None:
                found[role] = token
    return found


def _token(entry: Any, *, special: bool) -> AddedToken | None:
    """Return a token as the files describe it: by its content, or with flags."""
    if isinstance(entry, str):
        return AddedToken(entry, special=special, normalized=not special)
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        return None
    flags = {flag: entry[flag] for flag in _FLAGS if isinstance(entry.get(flag), bool)}
    return AddedToken(entry["content"], special=entry.get("special", special) is True, **flags)


def _add_listed(
    folder: Path, backend: tokenizers.Tokenizer, config: dict[str, Any], roles: dict[str, str]
) -> None:
    """Enter the added tokens that the files list by id, or their flags.

    Raises:
        CheckpointError: no such list, or ids that the tokens cannot have.
    """
    decoder = config.get("added_tokens_decoder")
    wanted: dict[int, AddedToken] = {}
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        token = _token(entry, special=False)
        if token is None or not str(number).isdecimal():
            raise CheckpointError(
                f"{folder / 'tokenizer_config.json'}: added_tokens_decoder: wanted tokens by id, "
                f"got {show({number: entry})}"
            )
        wanted[int(number)] = token
    for content, number in _fields(folder / "added_tokens.json").items():
        if not isinstance(number, int) or isinstance(number, bool):
            got = show({content: number})
            raise CheckpointError(f"{folder / 'added_tokens.json'}: wanted ids by token, got {got}")
        wanted.setdefault(number, AddedToken(content, special=content in roles.values()))
    known = backend.get_added_tokens_decoder()
    for number, token in sorted(wanted.items()):
        if known.get(number) != token:
            backend.add_tokens([token])
        got = backend.token_to_id(token.content)
        if got != number:
            raise CheckpointError(
                f"{folder}: the added token {token.content!r}: wanted the id {number}, got {got}; "
                "ids of added tokens follow the vocabulary's without a gap"
            )


def _add_special(
    backend: tokenizers.Tokenizer,
    kind: TokenizerClass | None,
    found: dict[str, AddedToken],
    roles: dict[str, str],
    others: tuple[str, ...],
) -> None:
    """Enter the special tokens that are not listed yet, with the flags that their files give."""
    listed = {token.content for token in backend.get_added_tokens_decoder().values()}
    for role, content in roles.items():
        token = found.get(role)
        if content in listed:
            continue
        if token is None or not token.lstrip:
            lstrip = kind is not None and role in kind.lstrip
            token = AddedToken(content, special=True, normalized=False, lstrip=lstrip)
        backend.add_tokens([token])
        listed.add(content)
    backend.add_tokens([AddedToken(t, special=True) for t in others if t not in listed])


def _stored_side(backend: tokenizers.Tokenizer, name: str) -> str | None:
    stored = getattr(backend, name)
    return None if stored is None else str(stored["direction"]).lower()


def _side(folder: Path, config: dict[str, Any], name: str, stored: str | None) -> str:
    value = config.get(name, stored or "right")
    if value not in ("left", "right"):
        raise CheckpointError(
            f"{folder / 'tokenizer_config.json'}: {name}: wanted left or right, got {show(value)}"
        )
    return str(value)


def _length(value: Any) -> int | None:
    """Return the longest text; transformers writes 1e30 where there is no limit."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if number and 1 <= value < 1e20 else None


def _fields(path: Path) -> dict[str, Any]:
    return read_json(path) if os.path.exists(path) else {}


def _json(path: Path) -> dict[str, Any]:
    """Return tokenizer.json's fields, which may hold a key twice and still be the library's."""
    try:
        values = json.loads(bytes(read_file(path)))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
    return values if isinstance(values, dict) else {}
