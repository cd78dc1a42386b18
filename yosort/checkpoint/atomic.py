"""Writes that are there wholly or not at all, whenever the process may die."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

#: Files of a set that counts, on their way to their places.
COMMITTED = ".committed.tmp"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success it is flushed to disk and takes its name.

    On any error `path` is as it was before. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _sync_files(folder: Path) -> None:
    """Have a folder of files on the disk, names and contents."""
    for file in folder.iterdir():
        _sync_file(file)
    sync_folder(folder)


@contextlib.contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """Give a folder within `folder` to fill; on success its files take their places, as one.

    The set counts from one rename on, that of its own folder to COMMITTED; then its files move to
    their places. If the process dies among them, `finish_files` moves the rest. What else is in
    `folder` stays. Raises OSError.
    """
    temporary = folder / f".{secrets.token_hex(4)}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        _sync_files(temporary)
        while True:
            finish_files(folder)
            try:
                os.rename(temporary, folder / COMMITTED)
                break
            except OSError as error:  # another process has committed to this folder in between
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
        finish_files(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish_files(folder: Path) -> None:
    """Finish what a process that died in `replace_files` had begun to put in place, if any did.

    Every reader of a folder does so first; several may at once. Raises OSError.
    """
    committed = folder / COMMITTED
    try:
        names = os.listdir(committed)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.replace(committed / name, folder / name)
    try:
        committed.rmdir()
    except OSError as error:  # gone, or filled again by another process
        if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
            raise
    sync_folder(folder)


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path` to fill; on success it takes its name.

    Whatever stood at `path` is removed only after that. Where the system can exchange two names
    (Linux) no moment is without a whole folder at `path`; elsewhere the old one is for an instant
    at `.NAME.HEX.old`. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tag = secrets.token_hex(4)
    temporary = path.with_name(f".{path.name}.{tag}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        _sync_files(temporary)
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


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system knows of that (Windows does not)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # Some network file systems refuse it; the rename itself has been done.
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step. False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # musl before 1.2.6, glibc before 2.28
        return False
    rename.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    first_name, second_name = os.fsencode(first), os.fsencode(second)
    result: int = rename(_AT_FDCWD, first_name, _AT_FDCWD, second_name, _RENAME_EXCHANGE)
    return result == 0
