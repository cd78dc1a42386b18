"""Processes killed at random moments leave the old file or the new one; see kills.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reliability.kills import BOTH, make, which
from yosort.conversion import convert
from yosort.errors import CheckpointError
from yosort.replacing import COMMITTED, finish_files, replace_files

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        *[(kind, 4) for kind in ("save", "convert", "npy", "jsonl")],
        *[
            pytest.param(kind, kills, marks=pytest.mark.slow)
            for kind, kills in (("save", 40), ("convert", 40), ("npy", 16), ("jsonl", 16))
        ],
    ],
)
def test_nothing_is_lost(kind: str, kills: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            str(KILLS),
            kind,
            "--kills",
            str(kills),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = json.loads(done.stdout)
    assert line["kills"] == kills
    assert line["lost"] == []
    assert line.get("finished", 1) >= 1


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_save_that_died_among_its_renames_is_finished_by_the_next_reader(
    moved: int, tmp_path: Path
) -> None:
    folder, new = tmp_path / "model", tmp_path / "new"
    for (seed, config), target in zip(BOTH, (folder, new), strict=True):
        make(seed, config).save_pretrained(target)
    (folder / "notes.txt").write_text("mine")
    # What is there when the process dies: the set counts, and `moved` of its files are in place.
    for name in ("config.json", "model.safetensors")[:moved]:
        os.replace(new / name, folder / name)
    os.rename(new, folder / COMMITTED)
    assert which(folder) == {1}
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors", "notes.txt"]


def test_a_save_that_failed_leaves_the_old_files_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def save() -> None:
        with replace_files(tmp_path) as new:
            (new / "a").write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        save()
    finish_files(tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "old"}


def test_what_killed_processes_left_is_overwritten_with_the_model(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    make(*BOTH[0]).save_pretrained(source)
    make(*BOTH[1]).save_pretrained(out)
    (out / ".0a1b2c3d.tmp").mkdir()
    (out / ".model.safetensors.0a1b2c3d.tmp").write_bytes(np.zeros(3).tobytes())
    convert(source, out, overwrite=True)
    assert which(out) == {0}
    assert sorted(os.listdir(out)) == ["config.json", "model.safetensors"]


def test_a_save_finishes_what_a_dead_process_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / COMMITTED).mkdir()
    (tmp_path / COMMITTED / "earlier").write_text("1")
    attempts = []

    def rename(*paths: Path) -> None:
        attempts.append(paths)
        assert len(attempts) == 1, "the way is free at the first attempt"
        os.replace(*paths)

    monkeypatch.setattr(os, "rename", rename)
    with replace_files(tmp_path) as new:
        (new / "later").write_text("2")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"earlier": "1", "later": "2"}


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
def test_a_strangers_folder_moves_no_files_of_others(tmp_path: Path) -> None:
    """A link in the place of a save that died: what it names is not this folder's."""
    folder, other = tmp_path / "model", tmp_path / "other"
    make(*BOTH[0]).save_pretrained(folder)
    other.mkdir()
    (other / "key").write_text("mine")
    (folder / COMMITTED).symlink_to(other)
    assert which(folder) == {0}
    with pytest.raises(CheckpointError, match="cannot be written"):
        make(*BOTH[1]).save_pretrained(folder)
    assert which(folder) == {0}
    assert os.listdir(other) == ["key"]
    assert not (folder / "key").exists()


@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="makes files of two users")
def test_in_a_sticky_folder_only_who_may_replace_files_does(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make(*BOTH[0]).save_pretrained(folder)
    make(*BOTH[1]).save_pretrained(folder / COMMITTED)
    os.chown(folder / COMMITTED, 65534, -1)
    folder.chmod(0o1777)
    assert which(folder) == {0}
    with pytest.raises(CheckpointError, match=r"cannot be written.*not empty"):
        make(*BOTH[1]).save_pretrained(folder)
    assert which(folder) == {0}
    folder.chmod(0o777)  # where everybody may replace everything, everybody's saves count
    assert which(folder) == {1}
