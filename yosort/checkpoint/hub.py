"""From what a user names to a local folder: a folder as it is, or a download from the hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from yosort.arguments import check_flag, check_path
from yosort.checkpoint.atomic import finish_files
from yosort.checkpoint.shards import WEIGHT_FILES
from yosort.checkpoint.stored import quote
from yosort.errors import CheckpointError

# The files that tokenizers of YOSO checkpoints consist of.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_SAFETENSORS_FILES = (
    "config.json",
    *TOKENIZER_FILES,
    "model*.safetensors",
    "model.safetensors.index.json",
)
_TORCH_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_-])?"
_HUB_ID = re.compile(rf"{_NAME}/{_NAME}")


def resolve(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    weights: bool = True,
) -> Path:
    """Return the local folder of a model.

    A folder that exists is returned as it is, before any network code is imported; if a process
    died while it saved a model there, the save is finished. Otherwise a
    string of the form "owner/name" is a hub id: its config, tokenizer and weights come through
    huggingface_hub (pytorch_model.bin only if there is no safetensors file), which keeps a cache
    and honours HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT.

    Args:
        source: a folder, or a hub id.
        revision: a branch, tag or commit of the hub repository.
        local_files_only: use only what the cache holds.
        cache_dir: a cache other than huggingface_hub's own.
        token: an access token; None: the one that huggingface_hub finds.
        weights: whether a download brings the weights, besides config and tokenizer.

    Raises:
        CheckpointError: neither a folder nor a hub id; a save that cannot be finished;
            huggingface_hub is not installed; an option of another type; the repository, the
            revision or the network is not there.
    """
    check_flag("local_files_only", local_files_only, CheckpointError)
    check_flag("weights", weights, CheckpointError)
    if cache_dir is not None:
        check_path("cache_dir", cache_dir)
    if revision is not None and not isinstance(revision, str):
        raise CheckpointError(f"revision: wanted a branch, tag or commit, got {quote(revision)}")
    try:
        path = Path(source)
        found = source != "" and path.exists()  # an empty name would be the current folder
    except (TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"source: wanted a folder or a hub id such as 'uw-madison/yoso-4096', "
            f"got {quote(source)}: {error}"
        ) from None
    if found and path.is_dir():
        try:
            finish_files(path)
        except OSError as error:
            raise CheckpointError(
                f"{path}: a process died while it saved here, and what it began cannot be "
                f"finished: {error}"
            ) from error
        return path
    if found:
        raise CheckpointError(
            f"{path}: wanted a model folder, got a file; `yosort convert {path} OUT` makes a "
            "folder of it"
        )
    # A Path object is a place on this machine; only text may also be an id.
    if not isinstance(source, str) or not _HUB_ID.fullmatch(source) or ".." in source:
        raise CheckpointError(
            f"{str(source)!r}: no such folder, and not a hub id of the form 'owner/name' such as "
            "'uw-madison/yoso-4096'"
        )
    return _download(
        source,
        weights=weights,
        revision=revision,
        local_files_only=local_files_only,
        cache_dir=cache_dir,
        token=token,
    )


def _download(hub_id: str, *, weights: bool, **options: Any) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{hub_id}: no such folder here, and fetching it from the hub needs huggingface_hub: "
            "pip install 'yosort[hub]'"
        ) from error
    try:
        first = [*_SAFETENSORS_FILES] if weights else ["config.json", *TOKENIZER_FILES]
        folder = Path(snapshot_download(hub_id, allow_patterns=first, **options))
        if weights and not any((folder / name).exists() for name in WEIGHT_FILES[:2]):
            patterns = [*_SAFETENSORS_FILES, *_TORCH_FILES]
            folder = Path(snapshot_download(hub_id, allow_patterns=patterns, **options))
    # The library's errors, and those of the two HTTP stacks that its versions use, share no base
    # class but Exception.
    except Exception as error:
        raise CheckpointError(_explain(hub_id, options, error)) from error
    return folder


def _explain(hub_id: str, options: dict[str, Any], error: Exception) -> str:
    revision = options["revision"]
    wanted = f"{hub_id} at revision {quote(revision)}" if revision else hub_id
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        reason = "access to it must be granted on the hub, and a token given (HF_TOKEN)"
    elif "RepositoryNotFoundError" in kinds:
        reason = "the hub has no such repository, or it is private and needs a token (HF_TOKEN)"
    elif "RevisionNotFoundError" in kinds:
        reason = "the repository has no such revision"
    elif kinds & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        why = (
            "local_files_only is set"
            if options["local_files_only"]
            else "the hub cannot be reached or HF_HUB_OFFLINE is set"
        )
        reason = f"it is not in the local cache, and {why}"
    else:
        first = (str(error).strip().splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first[:200]}"
    return f"{wanted}: cannot be fetched from the hub: {reason}"
