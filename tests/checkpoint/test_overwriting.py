"""What a conversion may replace, and what is there when it cannot."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoint_builders import check, hf_folder, weights

from yosort.config import YosoConfig
from yosort.conversion import convert
from yosort.errors import CheckpointError
from yosort.replacing import _exchange


def test_what_may_be_overwritten(tmp_path: Path) -> None:
    source = hf_folder(tmp_path / "in")
    out = tmp_path / "out"
    out.mkdir()
    convert(source, out)
    with pytest.raises(CheckpointError, match="new or empty folder"):
        convert(source, out)
    with pytest.raises(CheckpointError, match="another folder than that of the source"):
        convert(source, source, overwrite=True)
    before = (out / "model.safetensors").stat().st_ino
    beside = ("README.md", ".gitattributes", "generation_config.json", "vocab.txt",
              "model-00001-of-00002.safetensors", "pytorch_model-00001-of-00002.bin")  # fmt: skip
    for name in beside:  # what a hub's folder of a model has
        (out / name).touch()
    convert(source, out, overwrite=True)
    assert (out / "model.safetensors").stat().st_ino != before
    assert not any((out / name).exists() for name in beside)
    (out / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match=r"'thesis\.tex', which is no part of a model"):
        convert(source, out, overwrite=True)
    with pytest.raises(CheckpointError, match="got a file"):
        convert(source, out / "thesis.tex", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_failed_write_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = convert(hf_folder(tmp_path / "in"), tmp_path / "out")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(YosoConfig, "save", fail)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
        convert(tmp_path / "in", out, overwrite=True, dtype="float16")
    monkeypatch.undo()
    check(out, weights())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.skipif(sys.platform != "linux", reason="one step on Linux alone")
def test_two_names_are_exchanged_in_one_step(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    (first / "x").touch()
    second.mkdir()
    assert _exchange(first, second)
    assert not (first / "x").exists()
    assert (second / "x").exists()
    assert not _exchange(first, tmp_path / "nowhere")


def test_exchange_falls_back_to_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = convert(hf_folder(tmp_path / "in"), tmp_path / "out")
    monkeypatch.setattr("yosort.replacing._exchange", lambda *_: False)
    convert(tmp_path / "in", out, overwrite=True, dtype="float16")
    assert YosoConfig.from_pretrained(out).extra["dtype"] == "float16"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("lacks", ["Linux", "renameat2"])
def test_a_system_that_exchanges_no_names_renames_twice(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = convert(hf_folder(tmp_path / "in"), tmp_path / "out")
    if lacks == "Linux":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:  # musl, or an old glibc
        monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace())
    renamed: list[tuple[str, str]] = []
    rename = os.rename

    def noted(source: Path, target: Path) -> None:
        renamed.append((Path(source).name, Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "rename", noted)
    convert(tmp_path / "in", out, overwrite=True, dtype="float16")
    assert YosoConfig.from_pretrained(out).extra["dtype"] == "float16"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    (first, old), (new, last) = renamed
    assert (first, last) == ("out", "out")
    assert (old.endswith(".old"), new.endswith(".tmp")) == (True, True)
