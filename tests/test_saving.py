"""Options of every save_pretrained: what is done anyway passes, others say what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from yosort import CheckpointError, ConfigError, InputError
from yosort.saving import check_place, check_room, check_saving, make_folder, read_size

#: By name: the one value that asks for nothing else, one that does, and words of the hint.
OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "safe_serialization": (True, False, "safetensors"),
    "push_to_hub": (False, True, "upload_folder"),
    "repo_id": (None, "me/mine", "upload_folder"), "token": (None, "t", "upload_folder"),
    "is_main_process": (True, False, "one process"), "state_dict": (None, {}, "save_file"),
    "variant": (None, "fp16", "rename"), "filename_prefix": (None, "a", "rename"),
    "legacy_format": (False, True, "tokenizer.json"), "save_peft_format": (True, False, "adapters"),
    "save_original_format": (True, False, "names of weights"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_asks_for_what_is_done_anyway_passes(name: str) -> None:
    usual, other, hint = OPTIONS[name]
    for value in (usual, None):
        check_saving({name: value}, ("folder",), ConfigError)
    for error in (ConfigError, InputError):
        with pytest.raises(error, match=f"^{name}: wanted {usual}, got .*; .*{hint}"):
            check_saving({name: other}, ("folder",), error)
    near = name.replace("_", "") + "x"
    with pytest.raises(ConfigError, match=rf"{near}: no such option; did you mean {name}\?"):
        check_saving({near: usual}, ("folder",), ConfigError)


def test_names_of_the_call_are_offered_too() -> None:
    with pytest.raises(ConfigError, match=r"foldr: no such option; did you mean folder\?"):
        check_saving({"foldr": 1}, ("folder",), ConfigError)
    check_saving({}, (), ConfigError)


def test_a_folder_is_made_with_those_above_it_or_says_what_is_in_the_way(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b", CheckpointError)
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file: wanted a folder to save into, got a file; n"):
        make_folder(tmp_path / "file", CheckpointError)
    with pytest.raises(ConfigError, match=r"below: wanted .*, got one below .*file, which is a fi"):
        make_folder(tmp_path / "file" / "below", ConfigError)
    with pytest.raises(CheckpointError, match=r"cannot be made: .*too long"):
        make_folder(tmp_path / ("x" * 300), CheckpointError)


def test_a_place_for_a_new_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    check_place(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("there", "file", "link"):
        with pytest.raises(CheckpointError, match=f"{name}: wanted a new folder, got one that ex"):
            check_place(tmp_path / name)
    for place in (
        tmp_path / "file" / "below",
        tmp_path / ("x" * 300),
        tmp_path / "a" / ("x" * 300),
    ):
        with pytest.raises(CheckpointError, match=f"{place.name}: cannot be written: "):
            check_place(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "there"]


def test_a_disk_has_room_or_says_how_much_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=3_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    check_room(tmp_path / "a" / "b", 3_000_000)
    with pytest.raises(CheckpointError, match=r"b: .* it takes 4 MB, and the disk has 3 MB left"):
        check_room(tmp_path / "a" / "b", 4_000_000)
    with pytest.raises(CheckpointError, match="it takes 3 MB, and the disk has 3 MB left"):
        check_room(tmp_path / "a" / "b", 3_000_001)
    assert asked == [tmp_path] * 3

    def unknown(path: Path) -> None:
        raise OSError

    monkeypatch.setattr(shutil, "disk_usage", unknown)  # a file system that does not say
    check_room(tmp_path / "a", 1 << 60)


@pytest.mark.parametrize(
    ("value", "bytes_"),
    [
        (None, None), (1, 1), (1000, 1000), ("1B", 1), ("7 KB", 7000), ("7kib", 7 * 1024),
        ("1.5MB", 1_500_000), ("2MiB", 2 << 20), ("5GB", 5 * 10**9), (" 0.5GiB ", 1 << 29),
        ("1TB", 10**12), ("1TiB", 1 << 40),
    ],
)  # fmt: skip
def test_sizes(value: Any, bytes_: int | None) -> None:
    assert read_size("max_shard_size", value) == bytes_


@pytest.mark.parametrize(
    "value", ["5", "GB", "5XB", "-5GB", "5iB", "5 G", 0, -1, 1.5, True, "0KB", []]
)
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(ConfigError, match="max_shard_size: wanted"):
        read_size("max_shard_size", value)
