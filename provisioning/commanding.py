"""Commands, as the fleet decides about them. Pure: what is stored, what was heard and the time are arguments.

=============  ================================================  ==================================================
state          what its time brings                              what the device may say
=============  ================================================  ==================================================
``waiting``    it is sent (again); too late: ``expired``         ``accepted``, or how it ended
``accepted``   the device is asked how it ended; too late:       how it ended
               ``failed``, for it is silent
``succeeded``  nothing                                           nothing new
``failed``     nothing                                           how it ended after all, where it was silent
``rejected``   nothing                                           how it ended after all, where it had been too late
``expired``    nothing                                           all of it: it was on its way
=============  ================================================  ==================================================

Sent again it has the same id, by which the device knows it: nothing is done twice. What a device accepted is asked about with
``again``, which never begins anything, since by then the command may be too old to be begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from device.contract import dump, topic
from device.contract_command import FINAL, Command, CommandResult, Name

Held = Literal["waiting", "accepted", "succeeded", "failed", "rejected", "expired"]
FIRST: Final = 2  # seconds until it is sent again; doubles each time
SLOWEST: Final = 30  # seconds between two sendings
SLOWEST_QUESTION: Final = 300  # seconds between two questions about what was accepted
SILENT: Final = 2 * 86_400  # seconds after its end for which a device may be at a command: a window may be a day long
DEFAULT_EXPIRES: Final = 60  # seconds


@dataclass(frozen=True, slots=True)
class Asked:
    """A command to one device, as it is stored; times are seconds since 1970."""

    id: str
    device: str
    command: Name
    seconds: int | None
    state: Held
    expires_at: int
    tries: int


@dataclass(frozen=True, slots=True)
class Send:
    """Publish this, and come back at ``due_at``."""

    topic: str
    payload: bytes
    expiry: int
    due_at: int


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more is to be sent; perhaps it is over in another way than the device said."""

    state: Held
    reason: str | None


def due(asked: Asked, now: int) -> Send | End:
    """Its time has come: what to do."""
    if asked.state not in ("waiting", "accepted"):
        return End(asked.state, None)
    question = asked.state == "accepted"
    ends = asked.expires_at + (SILENT if question else 0)
    if now >= ends:
        return End("failed", "silent") if question else End("expired", None)
    message = Command(command=asked.command, seconds=asked.seconds, again=question)
    wait = min(SLOWEST_QUESTION if question else SLOWEST, FIRST * 2 ** min(asked.tries, 10))
    expiry = wait if question else ends - now
    return Send(topic(asked.device, f"down/command/{asked.id}"), dump(message), expiry, min(ends, now + wait))


def heard(state: Held, reason: str | None, result: CommandResult) -> bool:
    """Whether what a device says is something new, by what is stored."""
    if state in ("waiting", "expired"):
        return True
    if state == "accepted":
        return result.state in FINAL
    corrected = (state, reason) in {("failed", "silent"), ("rejected", "expired")}
    return corrected and result.state in FINAL and (result.state, result.reason) != (state, reason)
