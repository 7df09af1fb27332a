"""How the watching process is: one small file, replaced on a fixed schedule, read by the sending process.

The schedule does not follow what is in view, so the file's times tell nothing about people.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from device import durable
from device.contract import Health, Machine, ModelHashes, Trouble
from device.errors import SpoolError

EVERY: Final = 10.0  # seconds between two writings
STALE: Final = 3 * EVERY  # seconds after which a file says nothing any more
MAX_BYTES: Final = 4096


class WatchHealth(BaseModel):
    """What the watching process says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: float  # seconds on the monotonic clock
    health: Health
    trouble: Trouble | None
    models: ModelHashes | None
    machine: Machine | None = None


def write(folder: Path, health: WatchHealth) -> None:
    """Replace the file.

    Raises:
        SpoolError: The folder cannot be written.
    """
    final = folder / "health.json"
    temporary = final.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        durable.remove(temporary)  # or a pipe would be waited for
        temporary.write_text(health.model_dump_json())
        if final.is_dir():
            durable.set_aside(final)
        os.replace(temporary, final)
    except OSError as error:
        raise SpoolError(f"{final}: cannot be written ({error.strerror}); make run_folder writable for this user") from error


def read(folder: Path, now: float) -> WatchHealth:
    """Read the file; one that is missing, damaged or older than ``STALE`` seconds means that nobody is watching."""
    stopped = WatchHealth(at=now, health="degraded", trouble="stopped", models=None)
    try:
        health = WatchHealth.model_validate_json(durable.read(folder / "health.json", MAX_BYTES) or b"")
    except (OSError, ValidationError):
        return stopped
    if not 0 <= now - health.at <= STALE:  # of an earlier boot, or left behind
        return stopped.model_copy(update={"models": health.models})
    return health
