"""Files that are there whole or not at all, also after a power cut, and files that somebody else has left."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes, *, temporary: Path | None = None, mode: int = 0o666) -> None:
    """Replace a file: write aside, sync, rename, sync the folder. Folders that are missing are made.

    Args:
        path: The file.
        content: All of it.
        temporary: Where to write aside, on the same disk; beside the file when not given.
        mode: Of the file, less the umask.

    Raises:
        OSError: It could not be written; the file is as it was, except where only the last sync failed.
    """
    aside = temporary or path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for needed in {path.parent, aside.parent}:
        needed.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def is_full(error: OSError) -> bool:
    """Whether there was no room: on the disk, in a quota, or in a limit on the size of files."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        content = file.read(limit + 1)
    return content if len(content) <= limit else None
