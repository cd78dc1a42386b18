"""Any YOSO checkpoint -> a folder of config.json, safetensors and tokenizer files."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yosort.arguments import (
    check_choice,
    check_count,
    check_flag,
    check_path,
    is_integer,
    with_names,
)
from yosort.checkpoint import original
from yosort.checkpoint.hub import TOKENIZER_FILES, resolve
from yosort.checkpoint.integers import is_integers
from yosort.checkpoint.names import canonical_names, is_original, is_shared, to_canonical
from yosort.checkpoint.sentence import SENTENCE_FILES, read_sentence
from yosort.checkpoint.shards import WEIGHT_FILES, read_state, write_state
from yosort.checkpoint.stored import FLOATS, State, Tensor
from yosort.config import YosoConfig
from yosort.errors import CheckpointError, quote
from yosort.files import read_json
from yosort.model.architectures import (
    ANSWER_ENDS,
    ARCHITECTURES,
    DECODER_BIAS,
    DECODER_WEIGHT,
    MLM_BIAS,
    architecture_of,
)
from yosort.model.parameters import select, stored
from yosort.replacing import copy_file, replace_folder
from yosort.tuning.int8 import quantize_state

logger = logging.getLogger(__name__)

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
INT8 = "int8"

# What weights do not tell.
_REQUIRED = ("num_attention_heads", "hash_code_len", "num_hash")
_SIZES = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}
# What `overwrite` may remove: nothing but what a model folder is made of.
_OURS = re.compile(
    "|".join(
        [
            *map(re.escape, (*TOKENIZER_FILES, *SENTENCE_FILES, *WEIGHT_FILES)),
            r"config\.json|generation_config\.json|README\.md|\.gitattributes",
            r"\d+_(?:Pooling|Normalize)",
            r"model-[0-9a-f-]*of-\d+\.safetensors|pytorch_model-\d+-of-\d+\.bin",
            r"(?:\..*)?\.(?:[0-9a-f]{8}|committed)\.tmp",  # what a killed save left
        ]
    )
)


@with_names(CheckpointError)
def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    dtype: str | None = None,
    max_shard_size: int | None = None,
    overwrite: bool = False,
    num_attention_heads: int | None = None,
    hash_code_len: int | None = None,
    num_hash: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
) -> Path:
    """Convert a checkpoint into a folder that yosort and transformers load.

    The folder appears under its name only when it is whole and on disk; an empty one is filled.

    Args:
        source: a folder, a hub id, or one file of weights (safetensors, or torch's zip, a training
            checkpoint of the authors' among them).
        out: the folder to make.
        config: transformers' config.json or the authors' own, as a file or as its fields; None:
            the config.json beside the weights, or what the weights and the next options tell.
        dtype: "float32", "float16" or "bfloat16"; None: as the weights are (float64: float32).
            "int8": products and tables as integers, for yosort alone; transformers refuses them.
        max_shard_size: bytes of weights a file; None: one file.
        overwrite: replace a folder that holds a model, and nothing but one.
        num_attention_heads: in the place of the config's, or without one.
        hash_code_len: likewise.
        num_hash: likewise.
        revision: as for `resolve`.
        local_files_only: as for `resolve`.
        cache_dir: as for `resolve`.
        token: as for `resolve`.

    Returns:
        The folder.

    Raises:
        CheckpointError: the source cannot be read, is not a model that transformers' YOSO equals,
            or does not fit its config; or `out` cannot be written.
        ConfigError: the config is not one of a YOSO model.
    """
    if isinstance(dtype, np.dtype):
        dtype = dtype.name
    if dtype is not None:
        check_choice("dtype", dtype, (*DTYPES, INT8), CheckpointError)
    if config is not None and not isinstance(config, Mapping):
        config = check_path("config", config)
    if max_shard_size is not None:
        check_count("max_shard_size", max_shard_size, error=CheckpointError)
    check_flag("overwrite", overwrite, CheckpointError)
    try:
        target = Path(os.path.realpath(check_path("out", out)))
        _check_target(target, overwrite)
    except OSError as error:  # a name too long, a loop of links, no permission
        raise CheckpointError(f"{out}: cannot be written: {error}") from error
    path = check_path("source", source)
    if not os.path.isfile(path):
        path = resolve(
            source,
            revision=revision,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            token=token,
        )
    folder = path if path.is_dir() else path.parent
    if Path(os.path.realpath(folder)) == target:
        raise CheckpointError(f"{out}: wanted another folder than that of the source")
    options = {
        "num_attention_heads": num_attention_heads,
        "hash_code_len": hash_code_len,
        "num_hash": num_hash,
    }
    sentence = read_sentence(folder)
    state, fields = _load(path, folder, config, options)
    fields["architectures"] = [_architecture(state, fields)]
    state, model_config = _finish(state, fields, DTYPES.get(dtype or ""), what=f"{path}")
    if dtype == INT8:
        state = quantize_state(state, model_config, where=f"{path}")
    try:
        with replace_folder(target) as new:
            write_state(new, state, max_shard_size=max_shard_size)
            model_config.save(new)
            for name in TOKENIZER_FILES:
                if (folder / name).is_file():
                    copy_file(folder / name, new / name)
            if sentence is not None:
                sentence.write(new)
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be written: {error}") from error
    return Path(out)


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        above = next(path for path in target.parents if path.exists())
        if not above.is_dir():
            raise CheckpointError(f"{target}: cannot be written: {above} is a file")
        return
    if not target.is_dir():
        raise CheckpointError.wanted(target, "a folder to write", got="a file")
    names = sorted(entry.name for entry in target.iterdir())
    if names and not overwrite:
        raise CheckpointError(
            f"{target}: wanted a new or empty folder, got one with {len(names)} files; "
            "overwrite=True replaces it"
        )
    strangers = [name for name in names if not _OURS.fullmatch(name)]
    if strangers:
        raise CheckpointError(
            f"{target}: holds {quote(strangers[0])}, which is no part of a model; not overwritten"
        )


def _load(
    path: Path,
    folder: Path,
    config: str | os.PathLike[str] | Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[State, dict[str, Any]]:
    """Read the weights under canonical names, and the fields of their config."""
    raw = read_state(path)
    if is_integers(raw):
        raise CheckpointError(
            f"{path}: its weights are int8 already; wanted the checkpoint it was made from"
        )
    if config is None and (folder / "config.json").is_file():
        config = folder / "config.json"
    what = "config" if isinstance(config, Mapping) else f"{config}"
    values = config if config is None or isinstance(config, Mapping) else read_json(Path(config))
    given = {name: value for name, value in options.items() if value is not None}
    try:
        state = to_canonical(raw)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    by_authors = is_original(raw)
    if values is not None and not original.is_original_config(values):
        for name, value in given.items():
            if is_integer(value) and values.get(name, value) != value:
                was = quote(values[name])
                logger.warning("%s: %s is %s here, and becomes %s", what, name, was, quote(value))
        fields = {**values, **given}
    else:
        translated = {} if values is None else original.original_config(values, what=what)
        # A layer that all share is one layer to the weights.
        if is_shared(raw) and "num_hidden_layers" not in translated:
            raise CheckpointError(
                f"{path}: its layers share their weights; wanted a config with their number"
            )
        fields = {**_infer(path, state), **translated, **given}
        missing = [name for name in _REQUIRED if name not in fields]
        if missing:
            raise CheckpointError(
                f"{path}: the weights do not tell {', '.join(missing)}; wanted a config file, "
                "or these as options"
            )
        rows = original.position_rows(state)
        if "max_position_embeddings" not in fields and any("sen_class." in name for name in raw):
            raise CheckpointError(
                f"{path}: the weights do not tell whether positions count from 0 or from 2, as "
                "those of the authors' BERT and RoBERTa pretraining do; wanted a config file"
            )
        fields.setdefault("max_position_embeddings", rows - 2)
        if by_authors:
            fields.setdefault("layer_norm_eps", original.LAYER_NORM_EPS)
        if rows == fields["max_position_embeddings"]:
            # The authors' BERT variant: it pads with 0, and its tokenizer is not RoBERTa's.
            fields |= {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    if by_authors:
        state = _adapt(path, raw, state, YosoConfig.from_dict(fields))
    return state, fields


def _infer(path: Path, state: State) -> dict[str, Any]:
    try:
        return original.infer_config(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _adapt(path: Path, raw: State, state: State, config: YosoConfig) -> State:
    """Turn the authors' layout of weights, already renamed, into transformers'."""
    dropped = [name for name, to in canonical_names(raw).items() if to is None]
    if dropped:
        logger.warning("%s: left out, as transformers has no such weights: %s", path, dropped)
    head = f"{ANSWER_ENDS}.weight"
    if head in state and state.shape(head)[:1] == (1,):
        raise CheckpointError(
            f"{path}: qahead: unsupported: one output a token (WikiHop); transformers' question "
            "answering has two"
        )
    try:
        if is_shared(raw):
            state = original.unshare_layers(state, config.num_hidden_layers)
        return original.shift_positions(state, config.max_position_embeddings)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _architecture(state: State, fields: Mapping[str, Any]) -> str:
    """Return the class of the model: what the config names, else what the head's weights are."""
    named = fields.get("architectures")
    if isinstance(named, (list, tuple)) and named:
        if not isinstance(named[0], str) or named[0] not in ARCHITECTURES:
            raise CheckpointError.wanted(
                "architectures", f"one of {', '.join(ARCHITECTURES)}", got=quote(named[0])
            )
        return named[0]
    return architecture_of(state)


def _finish(
    state: State, fields: dict[str, Any], dtype: str | None, *, what: str
) -> tuple[State, YosoConfig]:
    """Check the weights against the config; return what to write of both."""
    config = YosoConfig.from_dict(fields)
    # Ties and shapes are judged on the bits, so that nothing is converted only to be compared.
    bits = {name: state.tensor(name).bits for name in state}
    head = ARCHITECTURES[fields["architectures"][0]].head
    chosen, _ = select(bits, config, head, where=what, allow_random_head=False)
    dtypes = {id(state.tensor(name).bits): state.tensor(name).dtype for name in state}
    kept: dict[str, Any] = dict(stored(chosen))
    if DECODER_WEIGHT in kept and MLM_BIAS in chosen:
        # transformers ties both or neither: an untied decoder needs its bias under its own name.
        kept[DECODER_BIAS] = chosen[DECODER_BIAS]
        fields["tie_word_embeddings"] = False
    tensors = {}
    for name, array in kept.items():
        tensor = Tensor(dtypes[id(array)], array)
        wanted = dtype or ("F32" if tensor.dtype == "F64" else tensor.dtype)
        tensors[name] = tensor.cast(wanted, name=name)
    broken = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype in FLOATS and not np.isfinite(tensor.array()).all()
    ]
    if broken:  # which sampled attention may hide: a code takes NaN for a sign
        logger.warning("%s: NaN or infinity in %d weights: %s", what, len(broken), broken)
    found = {tensor.dtype for tensor in tensors.values()}
    label = next((name for name, short in DTYPES.items() if found == {short}), "float32")
    # transformers 5 reads "dtype", 4 reads "torch_dtype".
    fields |= {"dtype": label, "torch_dtype": label}
    fields.pop("_name_or_path", None)
    return State(tensors), YosoConfig.from_dict(fields)


def parse_size(text: str) -> int:
    """Read a size such as 500000, "200MB" or "2GiB", in bytes.

    Raises:
        ValueError: anything else.
    """
    match = re.fullmatch(r"(\d{1,15})\s*([A-Za-z]*)", text.strip())
    if match is None or match[2].upper() not in _SIZES or int(match[1]) == 0:
        raise ValueError(f"wanted a size such as 200MB or 2GiB, got {text!r}")
    return int(match[1]) * _SIZES[match[2].upper()]
