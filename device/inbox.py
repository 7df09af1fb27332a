"""The folder that comes down: commands for the watching process, one small file each.

Whoever may write there is not trusted: no links, regular files only, a limit on size and number, and every message checked.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from device.contract import MAX_MESSAGE_BYTES, PauseCommand, dump
from device.errors import SpoolError

MAX_FILES: Final = 64  # looked at in one go


def put(folder: Path, command: PauseCommand) -> Path:
    """Leave a command for the watching process.

    Raises:
        SpoolError: The inbox cannot be written.
    """
    name = f"{uuid4().hex}.json"
    final = folder / "command" / name
    temporary = folder / "tmp" / name
    try:
        for needed in (final.parent, temporary.parent):
            needed.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(dump(command))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, final)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise SpoolError(
            f"{folder}: the command cannot be left there ({error.strerror}); make it writable for this user"
        ) from error
    return final


def take(folder: Path) -> tuple[list[PauseCommand], list[str]]:
    """Read and remove the commands that wait; an inbox that is not there is empty.

    Returns:
        The commands, the oldest first, and a complaint about each file that was none.
    """
    commands: list[PauseCommand] = []
    complaints: list[str] = []
    try:
        names = os.listdir(folder / "command")[:MAX_FILES]
    except OSError:
        return commands, complaints
    found: list[tuple[int, PauseCommand]] = []
    for name in names:
        path = folder / "command" / name
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                about = os.fstat(file.fileno())
                content = file.read(MAX_MESSAGE_BYTES + 1) if stat.S_ISREG(about.st_mode) else b""
            found.append((about.st_mtime_ns, PauseCommand.model_validate_json(content[: MAX_MESSAGE_BYTES + 1])))
        except (OSError, ValidationError):
            complaints.append(f"{path}: is not a command, and was removed; expected {{'command': 'pause', 'seconds': 0 to 86400}}")
        with suppress(OSError):
            path.unlink()
    commands += [command for _, command in sorted(found, key=lambda one: one[0])]
    return commands, complaints
