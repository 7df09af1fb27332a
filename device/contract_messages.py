"""Every message, by topic: below ``mien/v1/{device}/``, and of enrolment."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from device.contract import MESSAGES
from device.contract_command import COMMAND_MESSAGES
from device.contract_enroll import ENROLL_MESSAGES, RENEWAL_MESSAGES, enroll_topic
from device.contract_model import MODEL_MESSAGES
from device.contract_twin import TWIN_MESSAGES

EVERY: Final[dict[str, type[BaseModel]]] = {**MESSAGES, **COMMAND_MESSAGES, **RENEWAL_MESSAGES, **TWIN_MESSAGES, **MODEL_MESSAGES}
ENROLMENT: Final[dict[str, type[BaseModel]]] = {
    enroll_topic("{name}", "{key}", last): message for last, message in ENROLL_MESSAGES.items()
}


def kind(name: str) -> type[BaseModel] | None:
    """The message on a topic below ``mien/v1/{device}/``, such as ``up/command/a1``; None where there is none."""
    above, _, last = name.rpartition("/")
    return EVERY.get(name) or (EVERY.get(f"{above}/{{id}}") if last else None)
