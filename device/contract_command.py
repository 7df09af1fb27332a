"""Commands: what a fleet may ask of a device, once, and what becomes of it.

    mien/v1/{device}/down/command/{id}   fleet → device   QoS 1, not retained, with a message expiry of ``LONGEST`` at most
    mien/v1/{device}/up/command/{id}     device → fleet   accepted, then one of succeeded, failed, rejected
    mien/v1/{device}/up/reply/…          device → fleet   the same, where the request asks for it

The id names the request: whatever comes again under it is answered again and not done again. Every answer repeats the correlation
data of the request (MQTT 5), and also goes to its response topic where that is below ``mien/v1/{device}/up/reply/``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, model_validator

from device.contract import Down, Up

LONGEST: Final = 3600  # seconds that a command may take to reach a device
ANSWER_SECONDS: Final = 3600  # for which an answer is worth something

Name = Literal["pause", "resume", "restart", "doctor", "flush"]
CommandId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
State = Literal["accepted", "succeeded", "failed", "rejected"]
FINAL: Final = ("succeeded", "failed", "rejected")
Reason = Literal[
    "invalid",  # not a command of this contract
    "no_expiry",  # it came without a message expiry, or with one longer than LONGEST
    "expired",  # it came, or could be looked at, too late
    "busy",  # too many commands within an hour
    "unavailable",  # this device cannot take commands now: a disk is full, say
    "refused",  # the broker refuses what was to be sent
    "timeout",  # it was begun and did not end in time
    "settings",  # the settings file is wrong: what was in force stays
]
Check = Literal[
    "settings",
    "twin",
    "policy",
    "notice",
    "runtime",
    "models",
    "memory",
    "camera",
    "clock",
    "heat",
    "power",
    "limits",
    "watchdog",
    "spool",
    "budget",
    "broker",
    "gpio",
]
Finding = Literal["ok", "wrong"]


class Command(Down):
    """On ``down/command/{id}``.

    ``pause``: read no frames for ``seconds`` from now on. ``resume``: end pauses by commands; one by the button on the device is
    not ended from afar. ``restart``: begin anew, with the settings and models as they are then, at the end of the window.
    ``doctor``: check this device. ``flush``: send what waits in the spool now, also what a collector has not acknowledged; a window
    that has begun is not cut short, since its length is part of the privacy rules.
    """

    command: Name
    seconds: int | None = Field(None, ge=0, le=86_400, description="Of a pause; 0 ends it.")
    again: bool = Field(False, description="Only say again what became of it: nothing is begun, whatever happens.")

    @model_validator(mode="after")
    def _goes_together(self) -> Command:
        if (self.command == "pause") != (self.seconds is not None):
            raise ValueError("pause has seconds, and nothing else has")
        return self


class CommandResult(Up):
    """On ``up/command/{id}``. Accepted: stored on the device, and the watching process will find it within a second."""

    schema_: Literal[1] = Field(1, alias="schema")
    state: State
    reason: Reason | None = Field(None, description="Why it was rejected, or has failed.")
    findings: dict[Check, Finding] | None = Field(None, description="Of a doctor: what was looked at, and whether it is good.")

    @model_validator(mode="after")
    def _says_why(self) -> CommandResult:
        if (self.state in ("failed", "rejected")) != (self.reason is not None):
            raise ValueError("what failed or was rejected has a reason, and nothing else has")
        return self


COMMAND_MESSAGES: Final[dict[str, type[BaseModel]]] = {
    "down/command/{id}": Command,
    "up/command/{id}": CommandResult,
    "up/reply/{id}": CommandResult,
}
