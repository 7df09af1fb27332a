"""The folder that comes down, from the sending process to the watching one.

    command/{id}.json   commands, one small file each        twin.json    the settings that are desired
    model/              model files that were downloaded     model.json   the rollout job that they belong to

Whoever may write there is not trusted: no links, regular files only, a limit on size and number. Whoever reads checks every
message again. Files are written whole; where there is one slot, the newest wins.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from device import durable
from device.contract import MAX_MESSAGE_BYTES
from device.errors import SpoolError

Slot = Literal["twin", "model"]
STAGING: Final = "model"  # the folder for downloaded files
MAX_FILES: Final = 64  # commands looked at in one go
MAX_FILE_BYTES: Final = 2 * MAX_MESSAGE_BYTES  # a message, and what send adds to it
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\.json")


def put_command(folder: Path, name: str, content: bytes) -> None:
    """Leave a command; the same name again replaces it. Raises SpoolError when the inbox cannot be written."""
    _put(folder, folder / "command" / f"{name}.json", content)


def put_slot(folder: Path, slot: Slot, content: bytes) -> None:
    """Leave the newest of its kind. Raises SpoolError when the inbox cannot be written."""
    _put(folder, folder / f"{slot}.json", content)


def commands(folder: Path) -> tuple[list[tuple[Path, bytes]], list[str]]:
    """Read the commands that wait; an inbox that is not there is empty. ``remove`` them when they are done.

    Returns:
        Path and content of each, the oldest first, and a complaint about each file that cannot be a command and was removed.
    """
    found: list[tuple[int, Path, bytes]] = []
    complaints: list[str] = []
    try:
        names = os.listdir(folder / "command")[:MAX_FILES]
    except OSError:
        return [], []
    for name in names:
        path = folder / "command" / name
        try:
            about = path.lstat()
            content = durable.read_regular(path, MAX_FILE_BYTES) if NAME.fullmatch(name) else None
        except OSError:
            content = None
        if content is None:
            complaints.append(f"{path}: cannot be a command, and was removed; expected a small file of its own, {{id}}.json")
            remove(path)
        else:
            found.append((about.st_mtime_ns, path, content))
    return [(path, content) for _, path, content in sorted(found)], complaints


def slot(folder: Path, which: Slot) -> bytes | None:
    """Read the newest of its kind, not checked; ``None`` when there is none, or no small regular file."""
    try:
        return durable.read_regular(folder / f"{which}.json", MAX_FILE_BYTES)
    except OSError:
        return None


def remove(path: Path) -> None:
    """Remove what was left, whatever it is."""
    with suppress(OSError):
        durable.remove(path)


def _put(folder: Path, final: Path, content: bytes) -> None:
    try:
        durable.write(final, content, temporary=folder / "tmp" / f"{final.parent.name}-{final.name}")
    except OSError as error:
        raise SpoolError(f"{folder}: nothing can be left there ({error.strerror}); make it writable for this user") from error
