"""From what a user names to a local folder: one that is here, a package's, or a download."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from yosort.arguments import check_flag, check_path, with_names
from yosort.checkpoint.installed import find_installed, installed_models
from yosort.checkpoint.sentence import SENTENCE_FILES
from yosort.checkpoint.shards import WEIGHT_FILES, has_weights
from yosort.errors import CheckpointError, install_hint, quote
from yosort.files import read_json
from yosort.foreign import OTHERS, START, list_names, name_content, name_folder
from yosort.replacing import COMMITTED, finish_files

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
_SMALL_FILES = ("config.json", *TOKENIZER_FILES, *SENTENCE_FILES)
# What nobody reads where there is a tokenizer.json.
_VOCABULARIES = ("vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
_SAFETENSORS_FILES = (*_SMALL_FILES, "model*.safetensors", "model.safetensors.index.json")
_TORCH_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")

_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_-])?"
_HUB_ID = re.compile(rf"{_NAME}/{_NAME}")


@with_names(CheckpointError)
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
    died while it saved a model there, the save is finished. Otherwise a string is the name of a
    model that an installed package offers (see installed.py), if any does and no `revision` is
    given; and one of the form "owner/name" is a hub id: its config, tokenizer and weights come
    through huggingface_hub (pytorch_model.bin only if there is no safetensors file), which keeps a
    cache and honours HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT. Where a folder "owner" is
    here but no "name" in it, a folder was meant: the hub is asked only if `revision` is given, or
    if its cache has the id.

    Args:
        source: a folder, an installed model's name, or a hub id.
        revision: a branch, tag or commit of the hub repository.
        local_files_only: use only what the cache holds.
        cache_dir: a cache other than huggingface_hub's own.
        token: an access token; None: the one that huggingface_hub finds.
        weights: False: config and tokenizer are enough.

    Raises:
        CheckpointError: neither a folder nor a hub id, nor the name of one installed model; a
            folder of another kind (a Trainer's output, an adapter of PEFT ...); a link of it to a
            file that is gone; a save that cannot be finished; huggingface_hub is not installed; an
            option of another type; the repository, the revision or the network is not there.
    """
    check_flag("local_files_only", local_files_only, CheckpointError)
    check_flag("weights", weights, CheckpointError)
    if cache_dir is not None:
        check_path("cache_dir", cache_dir)
    if revision is not None and not isinstance(revision, str):
        raise CheckpointError.wanted("revision", "a branch, tag or commit", got=quote(revision))
    try:
        path = Path(source)
        found = source != "" and path.exists()  # an empty name would be the current folder
    except (TypeError, ValueError, OSError) as error:
        why = "" if isinstance(error, TypeError) else f": {error}"
        raise CheckpointError(
            f"source: wanted a folder or a hub id such as 'uw-madison/yoso-4096', "
            f"got {quote(source)}{why}"
        ) from None
    if found and path.is_dir():
        try:
            finish_files(path)
        except OSError as error:
            if not os.path.lexists(path / COMMITTED):
                raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
            raise CheckpointError(
                f"{path}: a process died while it saved here, and what it began cannot be "
                f"finished: {error}"
            ) from error
        if weights and not has_weights(path) and (kind := name_folder(path)):
            raise CheckpointError.wanted(
                path, "a model folder", got=kind, hint=f"the folder holds {list_names(path)}"
            )
        return _check_links(path)
    if found:
        raise CheckpointError.wanted(path, "a model folder", got=_name_file(path))
    # A Path object is a place on this machine; only text may also be an id.
    if isinstance(source, str) and revision is None and (package := find_installed(source)):
        return package
    if not isinstance(source, str) or not _HUB_ID.fullmatch(source) or ".." in source:
        offers = installed_models() if isinstance(source, str) else []
        names = ", ".join(dict.fromkeys(quote(offer.name) for offer in offers))
        raise CheckpointError(
            f"{str(source)!r}: no such folder or installed model, and not a hub id of the form "
            f"'owner/name' such as 'uw-madison/yoso-4096'{_neighbours(path)}"
            + (f"; installed models: {names}" if names else "")
        )
    if revision is None and path.parent.is_dir() and not _cached_folder(source, None, cache_dir):
        raise CheckpointError(
            f"{source!r}: no such folder{_neighbours(path)}; to take it for a hub id, though there "
            f"is a folder {str(path.parent)!r} here, say revision='main'"
        )
    return _check_links(
        _download(
            source,
            weights=weights,
            revision=revision,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            token=token,
        )
    )


def _check_links(folder: Path) -> Path:
    """Return a folder; raise CheckpointError if a link in it names a small file that is gone.

    Such a file would pass for one that the model never had: other settings, in silence.
    """
    for name in _needed(folder, _SMALL_FILES):
        path = folder / name
        if os.path.islink(path) and not os.path.exists(path):
            raise CheckpointError.wanted(
                path,
                "a file",
                got=f"a link to {quote(os.readlink(path))}, which is not there",
                hint="download the model again, or copy it by what its links name (cp -L)",
            )
    return folder


def _needed(folder: Path, names: Iterable[str]) -> list[str]:
    """Return the names of small files without those that nobody reads in this folder."""
    whole = (folder / "tokenizer.json").exists()
    return [name for name in names if not (whole and name in _VOCABULARIES)]


def _name_file(path: Path) -> str:
    """Say what a file is in the place of a folder, and what to do."""
    try:
        with open(path, "rb") as file:
            content = name_content(file.read(START))
    except OSError as error:
        return f"a file that cannot be read: {error}"
    content = content or OTHERS.get(path.suffix.lower())
    if content is not None:
        return f"a file: {content}"
    if path.name in ("config.json", *TOKENIZER_FILES, *WEIGHT_FILES):
        return f"a file of one; name its folder, {path.parent}"
    return f"a file; `yosort convert {path} OUT` makes a folder of it"


def _neighbours(path: Path) -> str:
    """Return what the nearest folder above a missing one holds."""
    path = Path(os.path.expanduser(path))  # which leaves a user that is none as it stands
    above = next((p for p in path.parents if os.path.isdir(p)), None)
    if above is None or above == above.parent != Path():  # nothing, or the root of all
        return ""
    where = "the current folder" if above == Path() else above
    held = list_names(above, folders=True)
    return f"; {where} holds {'no folders' if held == 'nothing' else f'the folders {held}'}"


def _cached_folder(
    hub_id: str, revision: str | None, cache_dir: str | os.PathLike[str] | None
) -> Path | None:
    """Return the cache's snapshot of a hub id, if it has one with a config."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    where = None if cache_dir is None else Path(cache_dir)
    path = try_to_load_from_cache(hub_id, "config.json", cache_dir=where, revision=revision)
    return Path(path).parent if isinstance(path, str) else None


def _download(hub_id: str, *, weights: bool, **options: Any) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f"{hub_id}: no such folder here, and fetching it from the hub needs huggingface_hub: "
            f"{install_hint('hub')}"
        ) from error
    revision, cache_dir = options["revision"], options["cache_dir"]

    def fetch(*patterns: str) -> Path:
        try:
            return Path(snapshot_download(hub_id, allow_patterns=list(patterns), **options))
        except Exception as error:
            # Since 1.22 the library refuses a cache that lacks any file of the patterns.
            if type(error).__name__ != "IncompleteSnapshotError":
                raise
            found = getattr(error, "snapshot_path", None)  # since 1.23
            folder = Path(found) if found else _cached_folder(hub_id, revision, cache_dir)
            if folder is None:
                raise
            missing = _missing(hub_id, folder, weights, options)
            if missing:
                raise CheckpointError(
                    f"{_wanted(hub_id, options)}: the local cache lacks {', '.join(missing)} of it "
                    f"({folder}), and {_why_offline(options)}"
                ) from error
            return folder

    try:
        folder = fetch(*(_SAFETENSORS_FILES if weights else _SMALL_FILES))
        if weights and not any((folder / name).exists() for name in WEIGHT_FILES[:2]):
            folder = fetch(*_SAFETENSORS_FILES, *_TORCH_FILES)
    except CheckpointError:
        raise
    # The library's errors, and those of the two HTTP stacks that its versions use, share no base
    # class but Exception.
    except Exception as error:
        raise CheckpointError(_explain(hub_id, options, error)) from error
    return folder


def _missing(hub_id: str, folder: Path, weights: bool, options: dict[str, Any]) -> list[str]:
    """Return the files that a snapshot in the cache lacks and that loading it needs."""
    try:
        from huggingface_hub import get_cached_repo_tree
    except ImportError:  # 1.22 has the list, but does not show it: ask for what most models have
        listed = {"config.json", "tokenizer.json", "tokenizer_config.json", WEIGHT_FILES[0]}
    else:
        tree = get_cached_repo_tree(
            hub_id, revision=options["revision"], cache_dir=options["cache_dir"]
        )
        listed = {entry.path for entry in tree}
    needed = _needed(folder, (name for name in _SMALL_FILES if name in listed))
    if weights:
        first = next((name for name in WEIGHT_FILES if (folder / name).exists()), None)
        if first is None:
            needed += [name for name in WEIGHT_FILES if name in listed][:1]
        elif first.endswith(".index.json"):
            shards = read_json(folder / first).get("weight_map")
            needed += sorted(set(shards.values())) if isinstance(shards, dict) else []
    return [name for name in needed if not (folder / name).exists()]


def _wanted(hub_id: str, options: dict[str, Any]) -> str:
    revision = options["revision"]
    return f"{hub_id} at revision {quote(revision)}" if revision else hub_id


def _why_offline(options: dict[str, Any]) -> str:
    if options["local_files_only"]:
        return "local_files_only is set"
    return "the hub cannot be reached or HF_HUB_OFFLINE is set"


def _explain(hub_id: str, options: dict[str, Any], error: Exception) -> str:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        reason = "access to it must be granted on the hub, and a token given (HF_TOKEN)"
    elif "RepositoryNotFoundError" in kinds:
        reason = "the hub has no such repository, or it is private and needs a token (HF_TOKEN)"
    elif "RevisionNotFoundError" in kinds:
        reason = "the repository has no such revision"
    elif kinds & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        reason = f"it is not in the local cache, and {_why_offline(options)}"
    else:
        first = (str(error).strip().splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first[:200]}"
    return (
        f"{_wanted(hub_id, options)}: cannot be fetched from the hub: {reason}; nor is there a "
        "folder of this name here"
    )
