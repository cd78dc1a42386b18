"""A model's folder: its weights read, and the whole of it written."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from yosort.checkpoint import (
    TOKENIZER_FILES,
    Sentence,
    join_scales,
    read_state,
    split_scales,
    to_canonical,
    write_state,
)
from yosort.checkpoint.shards import remove_stale
from yosort.checkpoint.stored import DTYPES, State
from yosort.config import YosoConfig
from yosort.errors import CheckpointError
from yosort.model.parameters import stored
from yosort.quantized import Weight
from yosort.replacing import copy_file, replace_files
from yosort.saving import make_folder
from yosort.tokenizer import Tokenizer

_log = logging.getLogger("yosort")


class Weights(dict[str, Weight]):
    """Weights by canonical name, and the types that the file has them in.

    Attributes:
        types: the name of each weight's stored type.
    """

    types: Mapping[str, str]


def read_weights(folder: Path) -> Weights:
    """Return a folder's weights under canonical names.

    Raises:
        CheckpointError: no weights, or some that cannot be read or are no YOSO model's.
    """
    state = read_state(folder)
    try:
        state = to_canonical(state)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None
    weights = Weights(join_scales(state, where=str(folder)))
    weights.types = {name: DTYPES[state.tensor(name).dtype] for name in weights}
    return weights


def write_model(
    target: Path,
    config: YosoConfig,
    architecture: str,
    parameters: Mapping[str, Weight],
    source: Path | None,
    tokenizer: Tokenizer | None,
    *,
    sentence: Sentence | None = None,
    max_shard_size: int | None = None,
) -> None:
    """Write config.json, the weights and the tokenizer, as one.

    Args:
        target: the folder, made if need be.
        config: the model's.
        architecture: its class.
        parameters: its weights, ties filled in.
        source: the folder whose tokenizer goes along; None for none.
        tokenizer: what has been read of it, which goes along where the folder is gone.
        sentence: what is said of the vectors of texts, if anything.
        max_shard_size: bytes of weights a file; None: one file.

    Raises:
        CheckpointError: the folder cannot be made or written (ConfigError: its config.json).
    """
    weights = State.of(split_scales(stored(parameters)))
    extra = {**config.extra, **_dtype_fields(config, weights)}
    described = replace(config, architectures=(architecture,), extra=extra)
    gone = source is not None and not source.is_dir()  # asked before the target may take its place
    make_folder(target, CheckpointError)
    try:
        # All is written before anything is replaced: a process that dies leaves the old model.
        with replace_files(target) as new:
            described.save(new)
            write_state(new, weights, max_shard_size=max_shard_size)
            if gone and tokenizer is not None:
                tokenizer.save_pretrained(new)
            elif gone:
                _log.warning("%s: written without a tokenizer: there is no %s now", target, source)
            elif source is not None and source.resolve() != target.resolve():
                for name in TOKENIZER_FILES:
                    if (source / name).is_file():
                        copy_file(source / name, new / name)
            if sentence is not None:
                sentence.write(new)
            written = {path.name for path in new.iterdir()}
        remove_stale(target, written)
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written: {error}") from error


def _dtype_fields(config: YosoConfig, weights: State) -> dict[str, str]:
    """Return config.json's names of the weights' type, where it has any, true of these weights.

    transformers would round what the file holds to what it says: where types are mixed it is the
    widest, float32.
    """
    types = {DTYPES[weights.tensor(name).dtype] for name in weights}
    name = types.pop() if len(types) == 1 else "float32"
    return {field: name for field in ("dtype", "torch_dtype") if field in config.extra}
