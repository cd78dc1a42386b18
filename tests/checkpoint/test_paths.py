"""Names that no file can have, file systems without mmap, and what is on the disk when."""

from __future__ import annotations

import errno
import io
import mmap
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_builders import logits, model_folder, weights, write_torch
from tasks.models import make

import yosort
from yosort import files, replacing
from yosort.checkpoint import read_state
from yosort.cli.converting import convert_main
from yosort.conversion import convert
from yosort.errors import CheckpointError
from yosort.replacing import COMMITTED


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000 + "b"])
def test_convert_to_a_name_that_no_file_can_have(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_folder(tmp_path / "m")
    with pytest.raises(CheckpointError, match=f"{name[:40]}.*: cannot be written: .*too long"):
        convert(path, tmp_path / name)
    assert convert_main([str(path), str(tmp_path / name)]) == 1
    assert "too long" in capsys.readouterr().err


def test_convert_to_a_place_that_is_none(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "m")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (("file/out", "file is a file"), ("loop", ""), ("loop/out", "")):
        with pytest.raises(CheckpointError, match=f"{name}: .*{why}"):
            convert(path, tmp_path / name)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_convert_to_a_path_that_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")  # strict, as a terminal's is
    monkeypatch.setattr(sys, "stdout", stdout)
    assert convert_main([str(model_folder(tmp_path / "m")), out]) == 0
    assert stdout.buffer.getvalue() == os.fsencode(out) + b"\n"
    assert set(read_state(out)) == set(weights())


@pytest.mark.parametrize("code", [errno.ENODEV, errno.EINVAL])
def test_a_file_system_without_mmap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    from yosort.checkpoint import safetensors

    path = model_folder(tmp_path / "m")
    write_torch(tmp_path / "w.bin", {"a": np.arange(4, dtype="f4")})
    wanted = logits(path)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    # The reference library maps in Rust, which the patch of Python's mmap does not reach.
    monkeypatch.setattr(mmap, "mmap", refuse)
    monkeypatch.setattr(safetensors, "safe_open", refuse)
    np.testing.assert_array_equal(logits(path), wanted)
    state = read_state(tmp_path / "w.bin")
    np.testing.assert_array_equal(state["a"], np.arange(4))
    assert not state["a"].flags.writeable


def test_what_cannot_be_mapped_for_another_reason_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    path = model_folder(tmp_path / "m")
    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(CheckpointError, match="cannot be mapped into memory"):
        read_state(path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record fsync and renames, in their order, with the names of what they were given."""
    log: list[tuple[str, str]] = []

    def record(kind: str, function: Callable[..., Any]) -> None:
        def recorded(*arguments: Any) -> Any:
            what = arguments[0]
            if isinstance(what, int):
                what = os.readlink(f"/proc/self/fd/{what}")
            log.append((kind, Path(what).name))
            return function(*arguments)

        monkeypatch.setattr(os, function.__name__, recorded)

    record("fsync", os.fsync)
    record("rename", os.rename)
    record("rename", os.replace)
    return log


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors have no names here")
def test_files_are_on_the_disk_before_they_are_renamed(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    with replacing.replace_file(tmp_path / "f") as file:
        file.write(b"content")
    (first, temporary), second, third = calls
    assert first == "fsync"
    assert temporary.startswith(".f.")
    assert second == ("rename", temporary)
    assert third == ("fsync", tmp_path.name)

    for replace, target in (
        (replacing.replace_files, tmp_path),
        (replacing.replace_folder, tmp_path / "d"),
    ):
        calls.clear()
        with replace(target) as new:
            for name in ("a", "b"):
                (new / name).write_bytes(b"content")
        renamed = calls.index(("rename", new.name))
        assert {("fsync", "a"), ("fsync", "b"), ("fsync", new.name)} <= set(calls[:renamed])
        assert calls[-1][0] == "fsync", "the folder's new entries reach the disk, too"


def test_a_file_may_be_as_large_as_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    assert files.read_file(path, 5) == b"12345"
    with pytest.raises(CheckpointError, match="wanted at most 4 bytes, got 5"):
        files.read_file(path, 4)
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)  # a hole, which takes no room
    with pytest.raises(CheckpointError, match="wanted at most 67108864 bytes, got 67108865"):
        files.read_json(path)


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_what_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "m")
    model = yosort.load(path)
    path.chmod(0o2770)
    (path / "model.safetensors").chmod(0o400)
    model.save_pretrained(path)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (path, *path.iterdir())}
    assert modes == {"m": 0o2770, "model.safetensors": 0o400, "config.json": 0o666 & ~umask()}
    source = model_folder(
        tmp_path / "other", weights() | {"cls.predictions.bias": np.ones(11, "f4")}
    )
    convert(source, path, overwrite=True)
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in (path, *path.iterdir())} == modes
    assert read_state(path)["cls.predictions.bias"].all()
    with replacing.replace_file(path / "model.safetensors") as file:
        file.write(b"new")
    assert stat.S_IMODE((path / "model.safetensors").stat().st_mode) == 0o400


def umask() -> int:
    """Return the process's mask of modes."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_a_link_to_nothing_is_not_a_file_that_never_was(tmp_path: Path) -> None:
    """As in a hub's cache of which somebody removed a blob, or a folder copied without it."""
    path = make(tmp_path / "m", "YosoForMaskedLM")
    (path / "vocab.json").symlink_to("../blobs/ab")  # nobody reads it beside tokenizer.json
    yosort.load(path)
    for name in ("tokenizer_config.json", "config.json", "tokenizer.json"):
        kept = path.with_name(name)
        if (path / name).exists():
            (path / name).rename(kept)
        (path / name).symlink_to("../blobs/cd")
        for use in (yosort.load, yosort.Tokenizer.from_pretrained):
            with pytest.raises(CheckpointError, match=rf"{name}: .*'../blobs/cd', which is not"):
                use(path)
        (path / name).unlink()
        if kept.exists():
            kept.rename(path / name)


def test_a_model_keeps_its_tokenizer_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "m", "YosoForMaskedLM")
    monkeypatch.chdir(tmp_path)
    model, fresh = yosort.load("m"), yosort.load("m")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    model.save_pretrained("saved")
    assert (tmp_path / "elsewhere/saved/tokenizer.json").is_file()
    assert model.tokenizer is not None
    shutil.rmtree(tmp_path / "m")
    for target in ("again", tmp_path / "m"):  # what has been read of it is written
        model.save_pretrained(target)
        loaded = yosort.Tokenizer.from_pretrained(target)
        assert loaded.get_vocab() == model.tokenizer.get_vocab()
        shutil.rmtree(target)
    assert caplog.messages == []
    fresh.save_pretrained("bare")
    assert len(caplog.messages) == 1
    assert "bare: written without a tokenizer: there is no " in caplog.text


def committed(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    """Return a save that died when all its files were in place, on a disk that refuses its end."""

    def rmdir(self: Path) -> None:
        raise OSError(code, os.strerror(code))

    (model_folder(path) / COMMITTED).mkdir()
    monkeypatch.setattr(Path, "rmdir", rmdir)
    return path


def test_a_save_that_nobody_may_finish_further_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = committed(tmp_path / "m", monkeypatch, errno.EROFS)
    assert set(yosort.load(path)._parameters) >= set(weights())


def test_a_save_that_a_broken_disk_keeps_from_its_end_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = committed(tmp_path / "m", monkeypatch, errno.EIO)
    with pytest.raises(CheckpointError, match="Input/output error"):
        yosort.load(path)


def refusing(call: Callable[..., Any], *paths: Path) -> Callable[..., Any]:
    """Return a call of os that is denied one path, as a user who is not root may be."""

    def denied(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(path) in paths:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return call(path, *arguments, **options)

    return denied


@pytest.mark.skipif(os.name != "posix", reason="syncs folders as POSIX does")
def test_a_folder_that_may_be_written_but_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = model_folder(tmp_path / "m")
    monkeypatch.setattr(os, "open", refusing(os.open, tmp_path))
    convert(source, tmp_path / "out")
    assert set(read_state(tmp_path / "out")) == set(weights())


def test_a_folder_that_may_not_be_entered_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_folder(tmp_path / "m")
    monkeypatch.setattr(os, "lstat", refusing(os.lstat, path / COMMITTED))
    with pytest.raises(CheckpointError, match=r"m: cannot be read: Permission denied$"):
        yosort.load(path)


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX's")
def test_a_link_that_leads_out_of_a_folder_is_said_where_its_file_is_copied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger's folder may link to what is private; who passes its copy on has to know."""
    (tmp_path / "private").write_text("{}", encoding="utf-8")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "123"
    shutil.copytree(make(tmp_path / "m", "YosoForMaskedLM"), snapshot)
    blob = tmp_path / "models--a--b" / "blobs" / "ab"
    blob.parent.mkdir()
    (snapshot / "tokenizer.json").rename(blob)  # as the hub's cache has it
    (snapshot / "tokenizer.json").symlink_to("../../blobs/ab")
    (snapshot / "tokenizer_config.json").rename(snapshot / "within.json")
    (snapshot / "tokenizer_config.json").symlink_to("within.json")

    def copies(folder: Path) -> list[str]:
        convert(folder, tmp_path / "out", overwrite=True)
        yosort.load(folder).save_pretrained(tmp_path / "saved")
        for made in (tmp_path / "out", tmp_path / "saved"):
            assert not any(path.is_symlink() for path in made.iterdir())
            assert (made / "tokenizer.json").read_bytes() == blob.read_bytes()
        messages = caplog.messages[:]
        caplog.clear()
        return messages

    assert copies(snapshot) == []
    (snapshot / "added_tokens.json").symlink_to("../../../private")
    said = (
        f"{snapshot / 'added_tokens.json'}: copied from {tmp_path / 'private'}, where it links to"
    )
    assert copies(snapshot) == [said] * 2
    (tmp_path / "link").symlink_to(snapshot)  # a folder may be named by a link
    assert copies(tmp_path / "link")[0].endswith(f"from {tmp_path / 'private'}, where it links to")


def test_an_empty_folder_is_filled_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container's volume has to be: it cannot be renamed, nor anything be put beside it."""
    source, volume = model_folder(tmp_path / "m"), tmp_path / "mnt" / "volume"
    volume.mkdir(parents=True)
    before, made = volume.stat(), os.mkdir

    def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
        if Path(path).parent == volume.parent:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        made(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    convert(source, volume)
    assert volume.stat().st_ino == before.st_ino
    assert sorted(os.listdir(volume)) == ["config.json", "model.safetensors"]
    assert read_state(volume).keys() == read_state(source).keys()
    with pytest.raises(CheckpointError, match=r"cannot be written: .*Read-only"):
        convert(source, volume, overwrite=True)
    # What fails on its way leaves nothing behind.
    for name in os.listdir(volume):
        (volume / name).unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(replacing, "_sync_files", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
        convert(source, volume)
    assert os.listdir(volume) == []


def test_a_folder_that_has_to_stay_is_overwritten_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a process that died there had begun is finished, and replaced as the rest is."""
    source, out = model_folder(tmp_path / "m"), tmp_path / "out"
    convert(source, out, max_shard_size=1_000)
    (out / "1_Pooling").mkdir()
    (out / COMMITTED).mkdir()
    (out / COMMITTED / "merges.txt").touch()
    before, renamed = out.stat().st_ino, os.rename

    def rename(path: Any, *arguments: Any) -> None:
        if Path(path) == out:
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        renamed(path, *arguments)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(replacing, "_has_to_stay", lambda folder: folder == out)
    convert(source, out, overwrite=True)
    assert out.stat().st_ino == before
    assert sorted(os.listdir(out)) == ["config.json", "model.safetensors"]
    assert sorted(os.listdir(tmp_path)) == ["m", "out"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux lists what is mounted")
def test_a_folder_has_to_stay_where_something_is_mounted(tmp_path: Path) -> None:
    assert replacing._has_to_stay(Path("/proc"))
    assert replacing._has_to_stay(Path("/"))
    assert not replacing._has_to_stay(tmp_path)


@pytest.mark.parametrize("told", [None, b"1 2\n"])
def test_a_system_that_lists_no_mounts_lets_folders_go(
    told: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: Any) -> io.BytesIO:
        if told is None:
            raise FileNotFoundError
        return io.BytesIO(told)

    monkeypatch.setattr(replacing, "open", opened, raising=False)
    assert replacing._has_to_stay(tmp_path) is False
    assert replacing._has_to_stay(Path("/")) is True


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param("mount -t tmpfs none volume", id="another file system"),
        pytest.param("mount --bind shelf volume", id="the same file system"),
        pytest.param(
            'mount --bind . . && mount -o remount,bind,ro . && cd "$1" && '
            "mount --bind shelf volume && mount -o remount,bind,rw volume",
            id="beside nothing",
        ),
    ],
)
def test_a_volume_is_overwritten_where_it_is(tmp_path: Path, mount: str) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("an unprivileged process may mount nothing here")
    source, volume = model_folder(tmp_path / "m"), tmp_path / "a place" / "volume"
    for name in ("volume", "shelf"):
        (volume.parent / name).mkdir(parents=True)
    program = """if True:
        import os, sys
        from yosort.conversion import convert
        source, volume = sys.argv[1:]
        convert(source, volume, max_shard_size=1_000)
        os.mkdir(f"{volume}/1_Pooling")
        assert len(os.listdir(volume)) > 4, os.listdir(volume)
        before = os.stat(volume).st_ino
        convert(source, volume, overwrite=True)
        print(os.stat(volume).st_ino == before, *sorted(os.listdir(volume)))
        print(*sorted(os.listdir(os.path.dirname(volume))))
    """
    script = f'cd "$1" && {mount} && exec "$2" -c "$3" "$4" "$1/volume"'
    done = subprocess.run(
        [unshare, "-rm", "sh", "-ec", script, "sh", volume.parent, sys.executable, program, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["True", "config.json", "model.safetensors", "shelf", "volume"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere no open file can be replaced")
def test_a_file_that_is_replaced_or_removed_changes_no_loaded_model(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "m")
    model = yosort.load(path)
    wanted = model([[1, 2, 3]]).logits
    other = {name: np.zeros_like(w) for name, w in weights().items()}
    os.replace(
        model_folder(tmp_path / "n", other) / "model.safetensors", path / "model.safetensors"
    )
    np.testing.assert_array_equal(model([[1, 2, 3]]).logits, wanted)
    assert not yosort.load(path)([[1, 2, 3]]).logits.any()
    shutil.rmtree(path)
    np.testing.assert_array_equal(model([[1, 2, 3]]).logits, wanted)
