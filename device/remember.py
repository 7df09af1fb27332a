"""What a process has to remember about commands: one small file, replaced whole with every change.

An id is remembered for longer than any message with it may be on its way, so whatever comes again is known. ``forget`` is a time of
one boot; what was remembered before the machine started is remembered for as long again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device import durable
from device.clock import Clock
from device.contract_command import LONGEST, CommandResult

REMEMBER: Final = LONGEST + 60.0  # seconds
UNFINISHED: Final = 2 * 86_400.0  # seconds more for a command that has not ended: a window may be a day long
MOST: Final = 256  # commands remembered; more within an hour are refused
MAX_BYTES: Final = 4 * 2**20


class Known(BaseModel):
    """A command that came.

    Attributes:
        boot: Whose times these are.
        forget: Seconds on the monotonic clock.
        result: What became of it, so far.
    """

    model_config = ConfigDict(extra="forbid")

    boot: str
    forget: float = Field(allow_inf_nan=False)
    result: CommandResult

    def over(self, now: float) -> bool:
        """Whether it may be forgotten."""
        return now >= self.forget + (UNFINISHED if self.result.state == "accepted" else 0)


class Memory(BaseModel):
    """Base of what is remembered; ``known`` maps a command's id to it."""

    model_config = ConfigDict(extra="forbid")


M = TypeVar("M", bound=Memory)


def load(kind: type[M], path: Path, complain: Callable[[str], object]) -> M:
    """What is remembered; nothing where there is no file, or none that can be read: that one is set aside."""
    try:
        content = durable.read(path, MAX_BYTES)
        return kind() if content is None else kind.model_validate_json(content)
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "not what was written there"
        with suppress(OSError):
            durable.set_aside(path)
        complain(f"{path}: cannot be read ({why}); which commands there were before is forgotten")
        return kind()


def save(memory: Memory, path: Path, complain: Callable[[str], object]) -> bool:
    """Remember; returns False, after a complaint, where that is not possible."""
    try:
        durable.write(path, memory.model_dump_json(by_alias=True).encode(), mode=0o600)
    except OSError as error:
        complain(f"{path}: cannot be written ({error.strerror}); free some space, or make the folder writable for this user")
        return False
    return True


def of_this_boot(known: Known, clock: Clock) -> bool:
    """Give what was remembered before the machine started a time of this boot; returns False where that was needed."""
    if known.boot == clock.boot:
        return True
    known.boot, known.forget = clock.boot, clock.now() + REMEMBER
    return False
