"""sentence-transformers' files beside a model: how a text's vector is made of its tokens'.

    modules.json                        what is computed: an encoder, a pooling, a normalisation
    1_Pooling/config.json               which pooling
    sentence_bert_config.json           where texts are cut, and whether they are lowered
    config_sentence_transformers.json   what is put before every text

Modules that are not computed here are no error of a folder's, whose encoder may be all that is
wanted: `Sentence.refusal` says what they are to whoever asks for vectors.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yosort.errors import CheckpointError, quote, show
from yosort.files import parse_json, parse_list, read_file

MODULES = "modules.json"
LIMITS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
#: Where all of them are as sentence-transformers writes them.
SENTENCE_FILES = (MODULES, LIMITS, PROMPTS, "1_Pooling/config.json")

_MAX_BYTES = 1 << 20
#: A module's folder; sentence-transformers makes its name of a number and a class.
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: What is computed here; dropout is nothing but in training.
_KNOWN = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

_log = logging.getLogger("yosort")


@dataclass(frozen=True)
class Sentence:
    """What a folder says of the vectors of texts.

    Attributes:
        pooling: "mean" or "cls".
        normalize: whether a vector is divided by its length.
        max_length: tokens at which a text is cut; None: no say.
        do_lower_case: whether texts are lowered first.
        prompt: what is put before every text.
        files: the files that say so, by name.
        refusal: why yosort cannot make these vectors, where it cannot; then `pooling` is "mean".
    """

    pooling: str = "mean"
    normalize: bool = False
    max_length: int | None = None
    do_lower_case: bool = False
    prompt: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    refusal: str | None = None

    def read(self, text: str) -> str:
        """Return what the tokenizer gets of a text."""
        text = self.prompt + text
        return text.lower() if self.do_lower_case else text

    def with_limit(self, tokens: int) -> Sentence:
        """Return the same for a model that takes another number of tokens."""
        limits = {"max_seq_length": tokens, "do_lower_case": self.do_lower_case}
        text = (json.dumps(limits, indent=2) + "\n").encode()
        return replace(self, max_length=tokens, files={**self.files, LIMITS: text})

    def write(self, folder: Path) -> None:
        """Write the files into a new folder; raises OSError.

        Modules with weights of their own, of which there are none here, are left out.
        """
        if not self.files:
            _log.warning("%s: written without %s: %s", folder.name, MODULES, self.refusal)
        for name, data in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def read_sentence(folder: Path) -> Sentence | None:
    """Return what a folder says; None where there is no modules.json.

    Raises:
        CheckpointError: files that cannot be read, or that mean nothing.
    """
    if not (folder / MODULES).is_file():
        return None
    files = {MODULES: read_file(folder / MODULES, _MAX_BYTES)}
    modules = [
        (kind, path)
        for kind, path in _modules(files[MODULES], f"{folder / MODULES}")
        if kind != "Dropout"
    ]
    kinds = [kind for kind, _ in modules]
    if kinds not in _KNOWN or modules[0][1]:
        got = ", ".join(f"{kind} in {path}" if path else kind for kind, path in modules)
        wanted = "Transformer, Pooling and at most Normalize"
        return Sentence(refusal=f"{folder / MODULES}: wanted {wanted}, got {got or 'nothing'}")
    pooling = f"{modules[1][1]}/config.json" if modules[1][1] else ""
    for name in (LIMITS, PROMPTS, pooling):
        if name == pooling or (folder / name).is_file():
            files[name] = read_file(folder / name, _MAX_BYTES)
    fields = {
        name: parse_json(files.get(name, b"{}"), f"{folder / name}")
        for name in (LIMITS, PROMPTS, pooling)
    }
    modes = _modes(fields[pooling], f"{folder / pooling}")
    prompt = _prompt(fields[PROMPTS], f"{folder / PROMPTS}")
    refusal: str | None = None
    if modes not in (["mean"], ["cls"]):
        got = " and ".join(map(quote, modes))
        refusal = f"{folder / pooling}: wanted a pooling of 'mean' or 'cls', got {got}"
    elif prompt and not _flag(fields[pooling], "include_prompt", f"{folder / pooling}", True):
        refusal = f"{folder / pooling}: wanted a prompt that counts, got include_prompt=false"
    return Sentence(
        pooling="mean" if refusal else modes[0],
        normalize="Normalize" in kinds,
        max_length=_limit(fields[LIMITS], f"{folder / LIMITS}"),
        do_lower_case=_flag(fields[LIMITS], "do_lower_case", f"{folder / LIMITS}", False),
        prompt=prompt,
        files=files,
        refusal=refusal,
    )


def _modules(data: bytes, where: str) -> list[tuple[str, str]]:
    """Return each module's class, without its package, and its folder."""
    found = []
    for number, module in enumerate(parse_list(data, where)):
        what = f"{where}: module {number}"
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            raise CheckpointError.wanted(what, "an object with a type", module)
        path = module.get("path", "")
        if not isinstance(path, str) or not (path == "" or _FOLDER.fullmatch(path)):
            raise CheckpointError.wanted(f"{what}: path", "the name of a folder beside it", path)
        found.append((module["type"].rpartition(".")[2], path))
    return found


def _modes(fields: Mapping[str, Any], where: str) -> list[str]:
    """Return the names of the poolings whose vectors are joined."""
    modes = fields.get("pooling_mode")
    if modes is None:
        modes = [mode for name, mode in _FLAGS.items() if _flag(fields, name, where, False)]
    modes = modes if isinstance(modes, list) else [modes]
    if not all(isinstance(mode, str) for mode in modes):
        raise CheckpointError.wanted(f"{where}: pooling_mode", "a name, or several", modes)
    return modes or ["mean"]


def _prompt(fields: Mapping[str, Any], where: str) -> str:
    """Return the text that is put before each where none is asked for."""
    name, prompts = fields.get("default_prompt_name"), fields.get("prompts") or {}
    if name is None:
        return ""
    text = prompts.get(name) if isinstance(name, str) and isinstance(prompts, dict) else None
    if not isinstance(text, str):
        raise CheckpointError.wanted(
            f"{where}: default_prompt_name", "the name of one of the prompts", got=show(name)
        )
    return text


def _limit(fields: Mapping[str, Any], where: str) -> int | None:
    limit = fields.get("max_seq_length")
    if limit is None or (type(limit) is int and limit > 0):
        return limit
    raise CheckpointError.wanted(f"{where}: max_seq_length", "a number of tokens", limit)


def _flag(fields: Mapping[str, Any], name: str, where: str, usual: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return usual
    if not isinstance(value, bool):
        raise CheckpointError.wanted(f"{where}: {name}", "true or false", value)
    return value
