"""What a folder's tokenizer files mean: what transformers 5.2's AutoTokenizer makes of them.

The rule, for a folder whose config.json is a YOSO model's:

- tokenizer.json goes before every other vocabulary, and is taken as it stands. Where
  tokenizer_config.json names no `tokenizer_class`, or AlbertTokenizer, which is YOSO's own in
  transformers, only its Unigram vocabulary is, and Albert's tokenizer is made anew around it.
- Without it, vocab.json and merges.txt are RobertaTokenizer's, vocab.txt is BertTokenizer's.
- A pair's token types are given to the model where `model_input_names` lists them. Where that key
  is missing, BertTokenizer has them and nothing else has, tokenizer.json least of all.
- special_tokens_map.json goes before tokenizer_config.json, unless the latter has an
  `added_tokens_decoder`: then it alone counts, and added_tokens.json does not either.
- Tokens that these files add and the vocabulary lacks come after it, in the order of their ids.

A folder without config.json holds a tokenizer alone: there transformers builds the class that is
named. Where transformers fails or is left without a vocabulary, the files are read for what they
are; where it would do what is not done here, the folder is refused. docs/tokenizer-files.md has
the tables.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from yosort.arguments import are_texts
from yosort.errors import CheckpointError, show
from yosort.files import parse_json, read_file, read_json, regular_size
from yosort.tokenizer.classes import CLASSES, TokenizerClass
from yosort.tokenizer.vocabulary import ROLES

#: Names of tokenizer_config.json that mean no class of their own, less "Fast".
_GENERIC = (None, "PreTrainedTokenizer", "TokenizersBackend", "AutoTokenizer")
#: The class that transformers takes for a model's own, by config.json's model_type.
_OWN_CLASS = {
    "yoso": "AlbertTokenizer",
    "albert": "AlbertTokenizer",
    "nystromformer": "AlbertTokenizer",
    "bert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
}
#: transformers writes 1e30 for a length that nobody has set.
_NO_LENGTH = 10**20
_REMEDY = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes a tokenizer.json"


@dataclass(frozen=True)
class TokenizerFiles:
    """A folder's tokenizer and what its files say beside it.

    Attributes:
        backend: the tokenizer, which neither pads nor truncates.
        special_tokens: content by role ("mask_token", "pad_token", ...).
        extra_special_tokens: further ones that the files name, without those roles.
        model_input_names: what the tokenizer gives to the model; with "token_type_ids" the token
            types of a pair.
        padding_side: "left" or "right".
        truncation_side: the end that is cut off, "left" or "right".
        model_max_length: tokens that the model takes by tokenizer_config.json, None for no say.
        clean_up_tokenization_spaces: whether decoding removes blanks before punctuation.
        split_special_tokens: whether a special token within a text is split as any other word.
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
    """Read the tokenizer of a folder.

    Raises:
        CheckpointError: no tokenizer, one that cannot be read, or one of which transformers would
            make something that this does not.
    """
    config = _read_fields(folder / "tokenizer_config.json")
    if config.get("auto_map"):
        raise CheckpointError(
            f"{folder / 'tokenizer_config.json'}: auto_map names a tokenizer of code that comes "
            f"along, which yosort does not run; {_REMEDY}"
        )
    fields = _fields(folder, config)
    named = {role: fields[role] for role in ROLES if isinstance(fields.get(role), _Token)}
    has_json = _has(folder, "tokenizer.json")
    backend, made = (_from_json if has_json else _from_files)(folder, config, named)
    truncation, padding = backend.truncation, backend.padding
    if padding:
        named.setdefault("pad_token", _Token(padding["pad_token"]))
    defaults = made.special_tokens if made else {}
    roles = {**{role: _Token(token) for role, token in defaults.items()}, **named}
    if made and not has_json and _class_named(config) is None and "mask_token" not in named:
        # RoBERTa's takes in the space before it; transformers 5.2 has lost that where it is named.
        roles["mask_token"].flags = {"lstrip": made.model == "BPE", "normalized": False}
    extra = _extra_tokens(fields)
    in_order = [roles[role] for role in ROLES if role in roles]
    _add(folder, backend, _added_tokens(folder, config, fields), in_order, extra)
    if made and not (made.keeps_post_processor and backend.post_processor is not None):
        made.finish(backend, config, {role: str(token) for role, token in roles.items()})
    elif backend.post_processor is None:
        backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    special_tokens = {role: str(roles[role]) for role in ROLES if role in roles}
    backend.encode_special_tokens = bool(fields.get("split_special_tokens", False))
    return TokenizerFiles(
        backend=backend,
        special_tokens=special_tokens or _guess_mask(backend),
        extra_special_tokens=tuple(dict.fromkeys(str(token) for token in extra)),
        model_input_names=_input_names(folder, fields, made),
        padding_side=_side(folder, fields, "padding_side", padding),
        truncation_side=_side(folder, fields, "truncation_side", truncation),
        model_max_length=_length(folder, fields),
        clean_up_tokenization_spaces=bool(fields.get("clean_up_tokenization_spaces", False)),
        split_special_tokens=backend.encode_special_tokens,
    )


# --- the fields of tokenizer_config.json, special_tokens_map.json and added_tokens.json


class _Token(str):
    """A token as files name it; `flags` are those of an AddedToken, None for a plain text."""

    flags: dict[str, bool] | None = None

    def added(self, *, special: bool) -> AddedToken:
        """Return the token as tokenizers takes it."""
        if self.flags is None:
            return AddedToken(str(self), special=special)
        flags = {**self.flags, "special": special or self.flags.get("special", False)}
        return AddedToken(str(self), **flags)


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def _token(value: Any, where: str, **flags: bool) -> _Token:
    """Read a token: a text, or a dictionary of its content and flags."""
    if isinstance(value, str):
        return _Token(value)
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, str):
        raise CheckpointError.wanted(where, "a token", value)
    token = _Token(content)
    token.flags = {name: bool(value[name]) for name in FLAGS if name in value} | flags
    return token


def _fields(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return tokenizer_config.json's fields with those of special_tokens_map.json over them.

    Everything whose key ends with "_token" becomes a `_Token`, and what
    `additional_special_tokens`, the older name, holds becomes `extra_special_tokens`.
    """
    where = str(folder / "tokenizer_config.json")
    fields = _with_tokens(config, where)
    if "added_tokens_decoder" not in config:
        path = folder / "special_tokens_map.json"
        over = _with_tokens(_read_fields(path), str(path), special=True)
        more = [*fields.get("extra_special_tokens", []), *over.get("extra_special_tokens", [])]
        fields = {**fields, **over, "extra_special_tokens": list(dict.fromkeys(more))}
    return fields


def _with_tokens(values: dict[str, Any], where: str, **flags: bool) -> dict[str, Any]:
    found = dict(values)
    extra = found.pop("additional_special_tokens", None)
    extra = found.pop("extra_special_tokens", None) or extra or []
    for key, value in values.items():
        # add_bos_token and its like are flags.
        if key.endswith("_token") and isinstance(value, (str, dict)):
            found[key] = _token(value, f"{where}: {key}", **flags)
    if isinstance(extra, dict):  # by name, as image_token is
        found |= {key: _token(value, f"{where}: {key}", **flags) for key, value in extra.items()}
        extra = []
    if not isinstance(extra, list):
        raise CheckpointError.wanted(f"{where}: extra_special_tokens", "a list", extra)
    tokens = [_token(value, f"{where}: extra_special_tokens", **flags) for value in extra]
    return {**found, "extra_special_tokens": tokens}


def _extra_tokens(fields: dict[str, Any]) -> list[_Token]:
    """Return the special tokens that are in no role: named ones first."""
    named = [value for key, value in fields.items() if isinstance(value, _Token)]
    roles = [fields[role] for role in ROLES if isinstance(fields.get(role), _Token)]
    return [*(token for token in named if token not in roles), *fields["extra_special_tokens"]]


def _added_tokens(
    folder: Path, config: dict[str, Any], fields: dict[str, Any]
) -> dict[int, _Token]:
    """Return added tokens by id: `added_tokens_decoder`'s, or else added_tokens.json's."""
    where = folder / "tokenizer_config.json"
    stored = config.get("added_tokens_decoder")
    if stored is None:
        where = folder / "added_tokens.json"
        special = {str(token) for token in fields.values() if isinstance(token, _Token)}
        special |= set(fields["extra_special_tokens"])
        stored = {
            index: {"content": content, "normalized": content not in special}
            | {"special": content in special}
            for content, index in _read_fields(where).items()
        }
    found = {}
    for index, value in stored.items() if isinstance(stored, dict) else ():
        number = str(index)
        if not re.fullmatch("[0-9]{1,18}", number):
            raise CheckpointError.wanted(where, f"the id of {show(value)}", index)
        found[int(number)] = _token(value, f"{where}: token {number}")
    return dict(sorted(found.items()))


# --- the tokenizer itself


def _class_named(config: dict[str, Any]) -> str | None:
    name = config.get("tokenizer_class")
    return name.replace("Fast", "") if isinstance(name, str) and name else None


def _own_class(folder: Path, config: dict[str, Any]) -> str | None:
    """Return the class that makes tokenizer.json's vocabulary anew; None: it stands as it is."""
    model = _read_fields(folder / "config.json")
    model_type = model.get("model_type") or None
    name = _class_named(config)
    if name is not None and model_type is not None and _OWN_CLASS.get(model_type) != name:
        return None
    if name is None and isinstance(model.get("tokenizer_class"), str):
        name = model["tokenizer_class"].replace("Fast", "")
    if name is None and model_type is not None:
        name = _OWN_CLASS.get(model_type)
    if name in _GENERIC or name in CLASSES:
        return None if name in _GENERIC else name
    raise CheckpointError.wanted(
        f"{folder}: tokenizer_class",
        f"one of {', '.join(CLASSES)}, or none",
        name,
        hint="of some classes transformers makes tokenizer.json's vocabulary anew; beside a YOSO "
        "model's config.json, or with 'PreTrainedTokenizerFast', it is taken as it stands",
    )


def _from_json(
    folder: Path, config: dict[str, Any], named: dict[str, str]
) -> tuple[tokenizers.Tokenizer, TokenizerClass | None]:
    """Return tokenizer.json's tokenizer, and its class if that is made anew."""
    path = folder / "tokenizer.json"
    text = read_file(path)
    try:
        backend = tokenizers.Tokenizer.from_buffer(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from None
    name = _own_class(folder, config)
    if name is None:
        return backend, None
    made = CLASSES[name]
    model = parse_json(text, f"{path}")["model"]
    roles = {**made.special_tokens, **named}
    ends = (roles["cls_token"], roles["sep_token"])
    # Where its class cannot be made of it, transformers fails, and it stands as it is.
    if model.get("type") != made.model or any(backend.token_to_id(end) is None for end in ends):
        return backend, None
    anew = made.build(model, config, roles)
    if made.keeps_post_processor and backend.post_processor is not None:
        anew.post_processor = backend.post_processor
    # Added tokens keep their flags; those that the vocabulary lacks come in the order of their ids.
    anew.add_tokens([token for _, token in sorted(backend.get_added_tokens_decoder().items())])
    return anew, made


def _from_files(
    folder: Path, config: dict[str, Any], named: dict[str, str]
) -> tuple[tokenizers.Tokenizer, TokenizerClass]:
    """Build the tokenizer that vocab.json and merges.txt, or vocab.txt, imply."""
    name = _class_named(config)
    there = [key for key, made in CLASSES.items() if made.files and _has(folder, made.files[0])]
    if name in there:
        there = [name]
    elif name not in (*_GENERIC, "AlbertTokenizer") and there:
        raise CheckpointError(
            f"{folder}: transformers builds a {show(name)} of {CLASSES[there[0]].files[0]}, which "
            f"yosort does not; {_REMEDY}"
        )
    if not there:
        raise CheckpointError(
            f"{folder}: wanted tokenizer.json, or vocab.json and merges.txt, or vocab.txt, found "
            f"none; {_REMEDY}"
        )
    if len(there) > 1:
        raise CheckpointError(
            f"{folder}: holds vocab.json and vocab.txt; tokenizer_class in tokenizer_config.json "
            f"has to say which counts: {' or '.join(there)}"
        )
    made = CLASSES[there[0]]
    for file in made.files:
        _check_text(folder / file)
    roles = {**made.special_tokens, **named}
    try:
        backend = made.build([str(folder / file) for file in made.files], config, roles)
    except Exception as error:  # tokenizers raises bare Exception
        kind = "a byte-level BPE" if made.model == "BPE" else f"a {made.model}"
        raise CheckpointError(
            f"{folder}: {' and '.join(made.files)} are not {kind}: {error}"
        ) from None
    missing = {roles[role] for role in made.special_tokens if role not in named}
    missing = {token for token in missing if backend.token_to_id(token) is None}
    if missing:
        raise CheckpointError(
            f"{folder / made.files[0]}: wanted special tokens {sorted(missing)}, found none; "
            "special_tokens_map.json may name others"
        )
    return backend, made


def _add(
    folder: Path,
    backend: tokenizers.Tokenizer,
    added: dict[int, _Token],
    roles: list[_Token],
    extra: list[_Token],
) -> None:
    """Add the tokens that the files name, as transformers does; flags of the last one count."""
    special = set(roles) | set(extra)
    tokens = [token.added(special=token in special) for token in added.values()]
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    known |= set(added.values())
    for token in (*roles, *extra):
        if token not in known:
            tokens.append(token.added(special=True))
            known.add(token)
    backend.add_tokens(tokens)
    for index, token in added.items():
        found = backend.token_to_id(token)
        if found != index:
            raise CheckpointError(
                f"{folder}: an added token's id has to follow the vocabulary's, in order: wanted "
                f"{show(str(token))} at {found}, got {index}; {_REMEDY}"
            )


def _guess_mask(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """Return the mask token of a tokenizer whose files name no special token at all."""
    for token in backend.get_added_tokens_decoder().values():
        if token.special and token.content in ("<mask>", "[MASK]"):
            return {"mask_token": token.content}
    return {}


# --- single settings


def _input_names(
    folder: Path, fields: dict[str, Any], made: TokenizerClass | None
) -> tuple[str, ...]:
    names = fields.get("model_input_names")
    if names is None:
        return made.model_input_names if made else ("input_ids", "attention_mask")
    if not are_texts(names):
        raise CheckpointError.wanted(
            f"{folder / 'tokenizer_config.json'}: model_input_names", "a list of texts", names
        )
    return tuple(names)


def _side(folder: Path, fields: dict[str, Any], key: str, stored: dict[str, Any] | None) -> str:
    side = fields.get(key, stored["direction"] if stored else "right")
    if side not in ("left", "right"):
        raise CheckpointError.wanted(
            f"{folder / 'tokenizer_config.json'}: {key}", "'left' or 'right'", side
        )
    return str(side)


def _length(folder: Path, fields: dict[str, Any]) -> int | None:
    length = fields.get("model_max_length", fields.get("max_len"))
    if length is None:
        return None
    if not isinstance(length, (int, float)) or isinstance(length, bool) or not length >= 1:
        raise CheckpointError.wanted(
            f"{folder / 'tokenizer_config.json'}: model_max_length", "a number of tokens", length
        )
    return int(length) if length < _NO_LENGTH else None


def _check_text(path: Path) -> None:
    """Refuse by its name what the tokenizers library would wait for or take for text."""
    if len(read_file(path)) != regular_size(path):
        raise CheckpointError.wanted(
            path, "text in UTF-8", got="one with a byte order mark", hint="save it without"
        )


def _has(folder: Path, name: str) -> bool:
    return os.path.exists(folder / name)


def _read_fields(path: Path) -> dict[str, Any]:
    return read_json(path) if os.path.exists(path) else {}
