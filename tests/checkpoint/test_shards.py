"""Which file of a folder is read; shards and their index; writing in pieces."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import write_torch
from safetensors.numpy import save_file

from yosort.checkpoint import read_state, shards, write_state
from yosort.errors import CheckpointError

A = np.arange(6, dtype="f4").reshape(2, 3)
B = np.ones(4, "f4")


def index(folder: Path, weight_map: Any, name: str = "model.safetensors.index.json") -> None:
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_order_of_preference(tmp_path: Path) -> None:
    write_torch(tmp_path / "t1.bin", {"a": A + 3})
    index(tmp_path, {"a": "t1.bin"}, "pytorch_model.bin.index.json")
    assert read_state(tmp_path)["a"][0, 0] == 3
    write_torch(tmp_path / "pytorch_model.bin", {"a": A + 2})
    assert read_state(tmp_path)["a"][0, 0] == 2
    save_file({"a": A + 1}, tmp_path / "s1.safetensors")
    index(tmp_path, {"a": "s1.safetensors"})
    assert read_state(tmp_path)["a"][0, 0] == 1
    save_file({"a": A}, tmp_path / "model.safetensors")
    assert read_state(str(tmp_path))["a"][0, 0] == 0


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "readme.md").touch()
    with pytest.raises(CheckpointError) as caught:
        read_state(tmp_path)
    for part in (*shards.WEIGHT_FILES, "readme.md", str(tmp_path)):
        assert part in str(caught.value)
    with pytest.raises(CheckpointError, match="cannot be opened"):
        read_state(tmp_path / "absent")


def test_shards(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "one.safetensors")
    save_file({"b": B}, tmp_path / "two.safetensors")
    index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    state = read_state(tmp_path)
    np.testing.assert_array_equal(state["a"], A)
    np.testing.assert_array_equal(state["b"], B)


def test_shards_of_torch(tmp_path: Path) -> None:
    names = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    write_torch(tmp_path / names[0], {"a": A})
    write_torch(tmp_path / names[1], {"b": B})
    index(tmp_path, {"a": names[0], "b": names[1]}, "pytorch_model.bin.index.json")
    assert set(read_state(tmp_path)) == {"a", "b"}


def test_linked_shards_as_in_the_hub_cache(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_file({"a": A}, blobs / "123")
    try:
        (snapshot / "one.safetensors").symlink_to(Path("../../blobs/123"))
    except OSError:
        pytest.skip("no symbolic links here")
    index(snapshot, {"a": "one.safetensors"})
    np.testing.assert_array_equal(read_state(snapshot)["a"], A)


@pytest.mark.parametrize(
    "name",
    ["../out.safetensors", "/etc/passwd", "sub/x", "..", ".", "", "a\\b", "C:x", "a\0", 3, None],
)
def test_shards_stay_in_their_folder(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": A}, tmp_path / "out.safetensors")
    index(folder, {"a": name})
    with pytest.raises(CheckpointError, match="names of files in its own folder"):
        read_state(folder)


def test_index_faults(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "one.safetensors")
    index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    with pytest.raises(
        CheckpointError, match=r"a shard that it lists is missing: 'two\.safetensors'"
    ):
        read_state(tmp_path)
    index(tmp_path, {"a": "one.safetensors", "b": "one.safetensors"})
    with pytest.raises(CheckpointError, match=r"one\.safetensors: lacks 'b'"):
        read_state(tmp_path)
    save_file({"a": A, "b": B}, tmp_path / "one.safetensors")
    index(tmp_path, {"a": "one.safetensors"})
    with pytest.raises(CheckpointError, match=r"holds 'b', which .* does not place there"):
        read_state(tmp_path)
    for wrong in ({}, [], "x", None):
        index(tmp_path, wrong)
        with pytest.raises(CheckpointError, match="wanted weight_map"):
            read_state(tmp_path)
    path = tmp_path / "model.safetensors.index.json"
    for text, match in [
        ("[]", "JSON object, got list"),
        ("{", "valid JSON"),
        ("[" * 100_000, "valid JSON"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "given twice"),
    ]:
        path.write_text(text)
        with pytest.raises(CheckpointError, match=match):
            read_state(tmp_path)
    path.write_bytes(b"\xff{")
    with pytest.raises(CheckpointError, match="valid JSON"):
        read_state(tmp_path)


def test_dangling_link_is_named(tmp_path: Path) -> None:
    try:
        (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be opened"):
        read_state(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="regular file"):
        read_state(tmp_path)


STATE = {"a": A, "b": B, "c": np.zeros(100, "f2"), "d": np.arange(3)}


def check(folder: Path, wanted: dict[str, np.ndarray] = STATE) -> None:
    state = read_state(folder)
    assert set(state) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(state[name], array)


def test_write_in_shards(tmp_path: Path) -> None:
    write_state(tmp_path, STATE, max_shard_size=64)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)),
        "model.safetensors.index.json",
    ]
    content = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert content["metadata"]["total_size"] == sum(array.nbytes for array in STATE.values())
    assert content["weight_map"]["c"] == names[1]
    check(tmp_path)
    with pytest.raises(CheckpointError, match="max_shard_size"):
        write_state(tmp_path, STATE, max_shard_size=0)


@pytest.mark.parametrize("size", [None, 64])
def test_a_folder_that_cannot_be_written(
    size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for name, reason in (("absent", "No such file"), ("file", "Not a directory")):
        with pytest.raises(CheckpointError, match=f"{name}: cannot be written: .*{reason}"):
            write_state(tmp_path / name, STATE, max_shard_size=size)
    write_state(tmp_path, STATE, max_shard_size=64 if size is None else None)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("busy")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(CheckpointError, match="old weights cannot be removed: busy"):
        write_state(tmp_path, STATE, max_shard_size=size)
    monkeypatch.undo()
    write_state(tmp_path, STATE, max_shard_size=size)
    check(tmp_path)


@pytest.mark.parametrize("first", [None, 64, 256])
@pytest.mark.parametrize("second", [None, 64, 256])
def test_writing_again_replaces_all(tmp_path: Path, first: int | None, second: int | None) -> None:
    write_state(tmp_path, {name: array + 1 for name, array in STATE.items()}, max_shard_size=first)
    write_state(tmp_path, STATE, max_shard_size=second)
    check(tmp_path)
    held = {path.name for path in tmp_path.iterdir()}
    wanted = {"model.safetensors"}
    if second is not None:
        listed = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
        wanted = {"model.safetensors.index.json", *listed.values()}
    assert held == wanted


@pytest.mark.parametrize("first", [None, 64, 256])
@pytest.mark.parametrize("second", [None, 64, 256])
@pytest.mark.parametrize("point", range(8))
def test_death_at_any_step_leaves_one_of_the_two(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: int | None,
    second: int | None,
    point: int,
) -> None:
    class Killed(BaseException):
        pass

    old = {name: array + 1 for name, array in STATE.items()}
    write_state(tmp_path, old, max_shard_size=first)
    steps = iter(range(100))
    real_replace, real_unlink = os.replace, Path.unlink

    def replace(*args: Any) -> None:
        if next(steps) == point:
            raise Killed
        real_replace(*args)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        # Not the clean-up of a temporary file, which a killed process would not do.
        if not self.name.endswith(".tmp") and next(steps) == point:
            raise Killed
        real_unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    with contextlib.suppress(Killed):
        write_state(tmp_path, STATE, max_shard_size=second)
    monkeypatch.undo()
    first_value = read_state(tmp_path)["a"][0, 0]
    check(tmp_path, STATE if first_value == 0 else old)
