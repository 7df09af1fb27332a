"""Files that are there whole or not at all, also after a power cut, and files that somebody else has left.

A file counts once its content, its name and the names of the folders above it are synced, in this order. What stands in the way of
a file, such as a folder of its name, is set aside as ``{name}.bad``: no store ever waits for somebody to tidy up.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes, *, temporary: Path | None = None, mode: int = 0o666) -> None:
    """Replace a file: write aside, sync, rename, sync the folder. Folders that are missing are made.

    One process writes a file at a time. What an earlier one that was killed has left aside is removed.

    Args:
        path: The file.
        content: All of it.
        temporary: Where to write aside, on the same disk; beside the file when not given.
        mode: Of the file, less the umask.

    Raises:
        OSError: It could not be written; the file is as it was, except where only the last sync failed. A device, such as
            ``/dev/null``, is never replaced.
    """
    if path.is_char_device() or path.is_block_device():
        raise OSError(errno.EINVAL, "it is a device, not a file", str(path))
    aside = temporary or path.with_name(f".{path.name}.tmp")
    for needed in {path.parent, aside.parent}:
        make_folder(needed)
    try:
        remove(aside)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(aside, path)
        except IsADirectoryError:
            set_aside(path)
            os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def read(path: Path, limit: int) -> bytes | None:
    """What a process has kept itself.

    Returns:
        The content; empty, so that it is taken for damaged, where something else stands there: a folder, a link, a larger file;
        ``None`` when there is nothing.

    Raises:
        OSError: It is there and cannot be read.
    """
    try:
        content = read_regular(path, limit)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        content = None
    return b"" if content is None and os.path.lexists(path) else content


def read_regular(path: Path, limit: int) -> bytes | None:
    """What somebody who is not trusted has left: follows no link, waits on no pipe, reads ``limit`` bytes at most.

    Returns:
        The content; ``None`` when there is nothing, or when it is no regular file or larger than the limit.

    Raises:
        OSError: It is there and cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)  # open() would refuse a folder, and leave it open
        return None
    with open(handle, "rb") as file:
        content = file.read(limit + 1)
    return content if len(content) <= limit else None


def read_given(path: Path, limit: int) -> bytes:
    """What a person has named: follows links, waits on no pipe, reads no device, and ``limit`` bytes at most.

    Raises:
        OSError: It is not there, no regular file, larger, or cannot be read; ``strerror`` says which.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
            raise OSError(number, os.strerror(number) if stat.S_ISDIR(mode) else "not a regular file", str(path))
        with open(handle, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", str(path))
    return content


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder that is missing, with its parents, and make their names durable. Raises OSError."""
    if folder.is_dir():
        return
    missing = [folder, *(one for one in folder.parents if not one.exists())]
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    for one in missing:
        sync_folder(one.parent)


def set_aside(path: Path) -> Path:
    """Move what cannot be used out of the way, to ``{name}.bad``, which it replaces; returns where it is. Raises OSError."""
    bad = path.with_name(f"{path.name}.bad")
    remove(bad)
    os.rename(path, bad)
    return bad


def open_lock(path: Path, *, mode: int) -> int:
    """Open the file that a process locks; a folder in its place is set aside. Raises OSError."""
    if path.is_dir():
        set_aside(path)
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, mode)


def remove(path: Path) -> None:
    """Remove whatever it is, if it is there. Raises OSError."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if not path.is_dir() or path.is_symlink():
            raise
        shutil.rmtree(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_full(error: OSError) -> bool:
    """Whether there was no room: on the disk, in a quota, or in a limit on the size of files."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
