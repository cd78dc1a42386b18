"""Files and folders written wholly or not at all, whoever dies meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_log = logging.getLogger("yosort")

#: Files of a set that counts, on their way to their places.
COMMITTED = ".committed.tmp"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it is flushed to disk and takes its name.

    On any error `path` is as it was before. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            _take_mode(temporary, path)  # before anything is in it
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def copy_file(path: Path, new: Path) -> None:
    """Copy a file's bytes alone: a cache's files may be read-only. Raises OSError.

    Where a link in a stranger's folder leads out of it is said: what it brings may be private.
    """
    real, folder = path.resolve(), path.parent.resolve()
    # The hub's cache links into its own folder of contents.
    cached = real.parent.name == "blobs" and real.parent.parent in folder.parents
    if folder not in real.parents and not cached:
        _log.warning("%s: copied from %s, where it links to", path, real)
    shutil.copyfile(path, new)


def _sync_files(folder: Path, old: Path) -> None:
    """Have a folder of files on the disk, names, contents and the modes of those in `old`."""
    for file in folder.iterdir():
        if file.is_dir():
            _sync_files(file, old / file.name)
            continue
        _sync_file(file)
        _take_mode(file, old / file.name)  # which may be one that nobody may write
    sync_folder(folder)


def _take_mode(new: Path, old: Path) -> None:
    """Give a file or folder the mode of the one that it replaces: a private one stays private."""
    with contextlib.suppress(OSError):  # there is none, or no modes
        shutil.copymode(old, new)


@contextlib.contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """Give a folder within `folder` to fill; on success its files take their places, as one.

    The set counts from one rename on, that of its own folder to COMMITTED; then its files move to
    their places. If the process dies among them, `finish_files` moves the rest. What else is in
    `folder` stays. Raises OSError.
    """
    temporary = folder / f".{os.urandom(4).hex()}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        _sync_files(temporary, folder)
        while True:
            finish_files(folder)
            try:
                os.rename(temporary, folder / COMMITTED)
                break
            except OSError as error:  # another process has committed to this folder in between
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                with contextlib.suppress(FileNotFoundError):
                    if _is_strange(folder / COMMITTED, folder):
                        raise
        _move_committed(folder)  # our own, whoever a network's disk says has made it
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish_files(folder: Path) -> None:
    """Finish what a process that died in `replace_files` had started to put in place, if any did.

    Every reader of a folder does so first; several may at once. Raises OSError.
    """
    try:
        if _is_strange(folder / COMMITTED, folder):
            return
    except FileNotFoundError:
        return
    _move_committed(folder)


def _move_committed(folder: Path) -> None:
    """Move the files of a committed set to their places. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        _move_files(folder / COMMITTED, folder)


def _move_files(source: Path, target: Path) -> None:
    """Move all files of a folder, and of those in it, and remove it. Raises OSError."""
    for entry in list(os.scandir(source)):
        place = target / entry.name
        with contextlib.suppress(FileNotFoundError):
            if not entry.is_dir(follow_symlinks=False):
                os.replace(entry, place)
                continue
            if os.path.islink(place):  # its files are another folder's
                os.unlink(place)
            place.mkdir(exist_ok=True)
            _move_files(source / entry.name, place)
    try:
        source.rmdir()
    except OSError as error:  # gone, filled again by another process, or never to be written
        if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EROFS):
            raise
    sync_folder(target)


def _is_strange(committed: Path, folder: Path) -> bool:
    """Whether no save of this program is there, or one of somebody who may not save here.

    A link, which a stranger's folder may hold, would have the files of any other folder moved here.
    In a sticky folder, such as /tmp, everybody may add files, but not replace those of others.
    Raises FileNotFoundError: nothing is there.
    """
    begun, place = os.lstat(committed), os.stat(folder)
    sticky = bool(place.st_mode & stat.S_ISVTX)
    stranger = sticky and begun.st_uid not in (place.st_uid, os.geteuid())
    return stranger or not stat.S_ISDIR(begun.st_mode)


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path` to fill; on success it takes its name.

    Whatever stood at `path` is removed only after that. Where the system can exchange two names
    (Linux) no moment is without a whole folder at `path`; elsewhere the old one is for an instant
    at `.NAME.HEX.old`. A folder that has to stay, as a container's volume, or that is empty gets
    the files as one, and loses then what else it held: whoever dies between the two leaves some of
    that beside them. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and (not os.listdir(path) or _has_to_stay(path)):
        finish_files(path)
        before = {*os.listdir(path)}
        with replace_files(path) as temporary:
            yield temporary
            written = {*os.listdir(temporary)}
        for name in before - written:
            _remove(path / name)
        sync_folder(path)
        return
    tag = os.urandom(4).hex()
    temporary = path.with_name(f".{path.name}.{tag}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        _sync_files(temporary, path)
        _take_mode(temporary, path)
        if not path.exists():
            os.rename(temporary, path)
        elif _exchange(temporary, path):
            shutil.rmtree(temporary)
        else:
            old = path.with_name(f".{path.name}.{tag}.old")
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)


def _has_to_stay(folder: Path) -> bool:
    """Whether a folder cannot be renamed: something is mounted there, or its parent is closed."""
    if not os.access(folder.parent, os.W_OK | os.X_OK) or os.path.ismount(folder):
        return True
    try:
        # A folder bound from the same file system, which no number of a device tells.
        with open("/proc/self/mountinfo", "rb") as file:
            places = [line.split()[4] for line in file]
    except (OSError, IndexError):  # no Linux
        return False
    spelt = re.sub(rb"[\\ \t\n]", lambda m: b"\\%03o" % m[0][0], os.fsencode(folder.resolve()))
    return spelt in places


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all in it. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system knows of that (Windows does not)."""
    if os.name != "posix":
        return
    # Some network file systems refuse it, and so does a folder that may be written, but not read;
    # the rename itself has been done.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_file(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step. False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:  # musl before 1.2.6, glibc before 2.28
        return False
    rename.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    first_name, second_name = os.fsencode(first), os.fsencode(second)
    result: int = rename(_AT_FDCWD, first_name, _AT_FDCWD, second_name, _RENAME_EXCHANGE)
    return result == 0
