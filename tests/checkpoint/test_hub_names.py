"""What a model may be named by: a folder, or a hub id, and what is said of neither."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from yosort.checkpoint import resolve
from yosort.cli import main
from yosort.errors import CheckpointError


def test_a_missing_folder_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **_: asked.append(a))
    with pytest.raises(CheckpointError, match="no such folder; models holds the folders 'mine'; "):
        resolve("models/nope")
    with pytest.raises(CheckpointError, match=r"no such folder.* current folder holds .*'models'"):
        resolve("./nope")
    with pytest.raises(CheckpointError, match=r"say revision='main'$"):
        resolve("models/nope")
    assert main(["fill-mask", "--model", "models/nope", "a"]) == 1
    assert capsys.readouterr().err.endswith(" here, say --revision main\n")
    assert not asked
    with pytest.raises(CheckpointError, match="nor is there a folder of this name"):
        resolve("models/nope", revision="main")  # an id, in so many words
    assert asked


def test_a_missing_folder_says_what_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for source, near in (
        (tmp_path / "models" / "nope", f"; {tmp_path / 'models'} holds the folders 'mine'"),
        (tmp_path / "models" / "no" / "pe", f"; {tmp_path / 'models'} holds the folders 'mine'"),
        (Path("~/models/nope"), f"; {tmp_path / 'models'} holds the folders 'mine'"),
        (Path("~/empty/nope"), f"; {tmp_path / 'empty'} holds no folders"),
        (Path("nope"), "; the current folder holds the folders 'empty', 'models'"),
        (Path("~nobody here/nope"), "; the current folder holds the folders 'empty', 'models'"),
        (Path("/nope/of/a/root"), ""),
    ):
        with pytest.raises(CheckpointError, match=f"'uw-madison/yoso-4096'{re.escape(near)}$"):
            resolve(source)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such files")
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("model")
        with pytest.raises(CheckpointError, match=r"got a file that cannot be read: .*'model'$"):
            resolve("model")


def test_a_local_folder_imports_no_network_code(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    script = (
        "import sys; from yosort.checkpoint import resolve; print(resolve(sys.argv[1])); "
        "bad = {'huggingface_hub', 'requests', 'httpx', 'urllib3', 'socket', 'http.client'}; "
        "print(sorted(bad & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str(tmp_path), "[]"]


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"pip install '\.\[hub\]'"):
        resolve("owner/name")


@pytest.mark.parametrize(
    "source",
    [
        "./missing",
        "/no/such/place",
        "a/b/c",
        "name",
        "",
        "own er/name",
        "../x",
        "owner/..",
        "C:\\x",
    ],
)
def test_neither_folder_nor_id(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(
        CheckpointError, match="no such folder or installed model, and not a hub id"
    ):
        resolve(source)


def test_paths_are_never_ids() -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        resolve(Path("owner/name"))


def test_odd_sources(tmp_path: Path) -> None:
    (tmp_path / "x.bin").touch()
    with pytest.raises(CheckpointError, match="got a file; `yosort convert"):
        resolve(tmp_path / "x.bin")
    for wrong in (None, 3, "a\0b"):
        with pytest.raises(CheckpointError, match=r"no such folder|wanted a folder"):
            resolve(wrong)  # type: ignore[arg-type]
