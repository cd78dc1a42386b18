"""Which folders cannot be renamed, and are filled where they are."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from yosort import replacing

#: As Linux lists what is mounted: the fifth field is where, with odd letters as numbers.
MOUNTED = b"36 35 98:0 / /proc rw - proc proc rw\n40 36 98:0 /x %b rw,noatime - ext4 /dev/sda rw\n"


@pytest.mark.skipif(os.name != "posix", reason="names of POSIX")
@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("plain", b"plain"), ("a b", b"a\\040b"), ("a\\b", b"a\\134b"), ("a\tb", b"a\\011b"),
        ("a\nb", b"a\\012b"), ("\u00e9", "\u00e9".encode()),
    ],
)  # fmt: skip
def test_a_folder_that_is_listed_as_mounted(
    name: str, spelt: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opened(path: str, mode: str) -> io.BytesIO:
        asked.append(path)
        return io.BytesIO(MOUNTED % os.path.join(os.fsencode(tmp_path.resolve()), spelt))

    monkeypatch.setattr(replacing, "open", opened, raising=False)
    (tmp_path / name).mkdir()
    assert replacing._has_to_stay(tmp_path / name)
    assert not replacing._has_to_stay(tmp_path)
    (tmp_path / f"{name}2").mkdir()
    assert not replacing._has_to_stay(tmp_path / f"{name}2")
    assert asked == ["/proc/self/mountinfo"] * 3


@pytest.mark.parametrize("lacks", [os.W_OK, os.X_OK])
def test_a_folder_whose_parent_is_closed(
    lacks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    assert not replacing._has_to_stay(folder)

    def access(path: Any, mode: int) -> bool:
        return Path(path) != tmp_path or not mode & lacks

    monkeypatch.setattr(os, "access", access)
    assert replacing._has_to_stay(folder)
