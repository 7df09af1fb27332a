"""The twin: which settings the fleet wants, and which are in force. Messages and keys, shared by device and fleet.

    mien/v1/{device}/down/twin   fleet → device, retained   the whole of what the fleet wants
    mien/v1/{device}/up/twin     device → fleet, retained   what is in force, and what became of the newest wish

A wish is known by its epoch and version. Versions count up; an epoch begins when the fleet's registry was restored from a backup,
which may have forgotten versions. So a higher epoch counts with any version, and a lower one never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, JsonValue

from device.contract import MAX_MESSAGE_BYTES, Down, Noise, Up, dump

MAX_NUMBER: Final = 2**53  # what every JSON parser keeps exactly
MAX_ERRORS: Final = 8
Words = Annotated[str, Field(max_length=240, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]  # whoever shows them shows them on a terminal
Key = Annotated[str, Field(pattern=r"^[a-z_.]{1,40}$")]
Direction = Literal["any", "up", "down", "narrow"]

# What may be set from afar, and in which direction from what the device's own settings file says: never towards more than its owner
# has permitted. All else (broker, identity, folders, pins, spool, the camera's source, demo) belongs to the file alone.
SETTABLE: Final[Mapping[str, Direction]] = {
    "window_seconds": "any",  # without noise not shorter: see device/twin.py
    "k": "up",
    "noise": "narrow",  # on, never off
    "epsilon_window": "down",
    "epsilon_day": "down",
    "max_hold": "any",
    "camera.width": "any",
    "camera.height": "any",
    "camera.fps": "any",
    "camera.timeout_seconds": "any",
    "models.detector": "any",
    "models.tiles": "any",
    "models.form": "any",
    "policy.setting": "narrow",  # these three: to what permits no more than the file does
    "policy.jurisdiction": "narrow",
    "policy.emotions": "narrow",
    "consent.mode": "narrow",  # to opt-in, never back
    "consent.lasts_seconds": "down",
    "consent.pause_seconds": "up",
    "notice.language": "any",
    "notice.responsible": "any",
    "notice.contact": "any",
    "notice.place": "any",
    "notice.url": "any",
}


class DesiredTwin(Down):
    """Retained at ``down/twin``: what the fleet wants, whole. A key that is left out is as in the device's settings file."""

    epoch: int = Field(ge=1, le=MAX_NUMBER, description="When the registry's epoch began; a higher one counts with any version.")
    version: int = Field(ge=1, le=MAX_NUMBER, description="Counts up within an epoch.")
    desired: dict[str, JsonValue] = Field(
        description="Tables and keys as in the settings file; x-settable says which, and where to from what the file says.",
        json_schema_extra={"x-settable": dict(SETTABLE)},
    )


class TwinError(Up):
    """Why a wish was rejected."""

    path: Words = Field(max_length=80, description="The key, such as camera.fps; empty: all of it together.")
    reason: Words = Field(description="For a person: what was expected.")


class CameraValues(Up):
    """``[camera]``."""

    width: int
    height: int
    fps: float
    timeout_seconds: float


class ModelValues(Up):
    """``[models]``."""

    detector: Words
    tiles: int
    form: Words


class PolicyValues(Up):
    """``[policy]``."""

    setting: Words | None
    jurisdiction: Words | None
    emotions: bool | None


class ConsentValues(Up):
    """``[consent]``."""

    mode: Words
    lasts_seconds: int
    pause_seconds: int


class NoticeValues(Up):
    """``[notice]``."""

    language: Words
    responsible: Words | None
    contact: Words | None
    place: Words | None
    url: Words | None


class Values(Up):
    """What is in force, of all that may be set from afar."""

    window_seconds: int
    k: int
    noise: Noise
    epsilon_window: float
    epsilon_day: float
    max_hold: int
    camera: CameraValues
    models: ModelValues
    policy: PolicyValues
    consent: ConsentValues
    notice: NoticeValues


class ReportedTwin(Up):
    """Retained at ``up/twin``: what is in force, and what became of the newest wish."""

    schema_: Literal[1] = Field(1, alias="schema")
    epoch: int = Field(ge=0, le=MAX_NUMBER, description="Of the newest wish; 0 before the first.")
    desired_version: int = Field(ge=0, le=MAX_NUMBER, description="Of the newest wish; 0 before the first.")
    state: Literal["applied", "rejected"] = Field(description="Rejected: the settings before it stay in force.")
    reported: Values
    errors: tuple[TwinError, ...] = Field((), max_length=MAX_ERRORS, description="Why it was rejected.")
    from_twin: tuple[Key, ...] = Field((), max_length=len(SETTABLE), description="The keys whose values come from the fleet.")


TWIN_MESSAGES: Final[dict[str, type[BaseModel]]] = {"down/twin": DesiredTwin, "up/twin": ReportedTwin}


def order(epoch: int, version: int) -> tuple[int, int]:
    """What wishes are compared by: the greater one is the newer one."""
    return epoch, version


def flatten(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Tables and keys as dotted keys: ``{"camera": {"fps": 3}}`` → ``{"camera.fps": 3}``. An empty table is nothing."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        dotted = f"{above}{key}"
        inside = isinstance(value, Mapping) and dotted not in SETTABLE
        flat |= flatten(value, f"{dotted}.") if inside else {dotted: value}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round."""
    tree: dict[str, Any] = {}
    for dotted, value in flat.items():
        *tables, key = dotted.split(".")
        table = tree
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return tree


def fitting(message: ReportedTwin) -> ReportedTwin:
    """The same message, with as many of its errors as one message may hold."""
    while message.errors:
        try:
            dump(message)
        except ValueError:
            message = message.model_copy(update={"errors": message.errors[:-1]})
        else:
            break
    return message


__all__ = [
    "MAX_ERRORS",
    "MAX_MESSAGE_BYTES",
    "SETTABLE",
    "TWIN_MESSAGES",
    "DesiredTwin",
    "ReportedTwin",
    "TwinError",
    "Values",
    "fitting",
    "flatten",
    "order",
    "unflatten",
]
