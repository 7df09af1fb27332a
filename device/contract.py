"""Every topic and message that a device shares with its fleet.

What goes up is closed (unknown fields are refused) and holds integers, enumerations and names only; what comes down is
open (unknown fields are ignored), so that an older device understands a newer fleet. Both are at most 4 KiB of JSON.
``mien contract --json-schema`` prints all of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

SCHEMA: Final = 1
ROOT: Final = "mien/v1"
MAX_MESSAGE_BYTES: Final = 4096

Emotion = Literal["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
EMOTIONS: Final[tuple[Emotion, ...]] = get_args(Emotion)
Cell = Literal[Emotion, "unknown"]
CELLS: Final[tuple[Cell, ...]] = (*EMOTIONS, "unknown")

Withheld = Literal["k", "budget", "policy", "paused"]
DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{12,64}$")]
Utc = Annotated[AwareDatetime, PlainSerializer(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str)]


class Up(BaseModel):
    """A message, or part of one, that leaves the device: closed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Down(BaseModel):
    """A message that comes to the device: open."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Span(Up):
    """The time that a report is about."""

    start: Utc = Field(description="Start, UTC, to the second.")
    seconds: int = Field(ge=1, description="Length of one window times the number of windows.")
    windows: int = Field(ge=1, description="How many windows were merged into this report.")
    boot: str = Field(pattern=r"^[0-9a-f]{8}$", description="First eight digits of the boot id: time is comparable within one.")
    clock: Literal["synced", "unsynced"] = Field(description="Whether the system clock was set from the network.")


class EmotionCounts(Up):
    """People per emotion; ``null`` where the cell is suppressed."""

    neutral: int | None
    happiness: int | None
    surprise: int | None
    sadness: int | None
    anger: int | None
    disgust: int | None
    fear: int | None
    contempt: int | None
    unknown: int | None = Field(description="People whose emotion the model could not tell.")


class Groups(Up):
    """What is counted, each group over the same people."""

    emotion: EmotionCounts


class PrivacyTerms(Up):
    """The rules that this report has passed."""

    k: int = Field(ge=2, description="Fewer people than this are never reported; without noise, nor is a smaller cell.")
    noise: Literal["discrete-laplace", "off"]
    epsilon: float | None = Field(gt=0, description="Of one window; null while noise is off.")
    windows: int = Field(ge=1)
    unit: Literal["track-window"] = "track-window"
    policy: str | None = Field(max_length=64, description="Id and version of the policy in force; null where none is.")


class Quality(Up):
    """How much of the time was really watched."""

    coverage: float = Field(ge=0, le=1, description="Share of the time with frames.")
    fps: float = Field(ge=0, description="Frames per second read, while watching.")
    throttled: bool = Field(description="Whether heat or load lowered the frame rate.")


class ModelHashes(Up):
    """Which models made the numbers."""

    face: Sha256
    emotion: Sha256


class Report(Up):
    """What the privacy rules let out of one or several windows. Only ``device.privacy`` makes one."""

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    seq: int = Field(ge=1, description="Gapless per device, except where a full spool had to drop its oldest.")
    span: Span
    people: int | None = Field(description="People in view, each counted once per window: the sum of the cells before suppression.")
    groups: Groups | None
    withheld: Withheld | None = Field(description="Why there are no figures; null when there are.")
    privacy: PrivacyTerms
    quality: Quality
    models: ModelHashes
    pauses: int = Field(ge=0, description="How often watching was paused in this time.")

    @model_validator(mode="after")
    def _whole_or_withheld(self) -> Report:
        figures = (self.people is not None, self.groups is not None)
        if figures != ((False, False) if self.withheld else (True, True)):
            raise ValueError("a report has people and groups, or says why they are withheld")
        return self


class SpoolState(Up):
    """Reports that wait to be sent."""

    waiting: int = Field(ge=0)
    dropped: int = Field(ge=0, description="Reports lost to a full spool, oldest first, since this session began.")
    set_aside: int = Field(ge=0, description="Files in the spool that were not reports, kept in spool/bad.")


Health = Literal["ok", "degraded", "unknown"]
Trouble = Literal["camera", "model", "disk", "privacy", "stopped"]


class Status(Up):
    """Retained at ``up/status``: birth, health, last will and clean stop."""

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    state: Literal["online", "lost", "offline"]
    session: str = Field(pattern=r"^[0-9a-f]{8}$", description="One run of the sending process: a will names the session it ends.")
    software: str | None = None
    models: ModelHashes | None = None
    health: Health = "unknown"
    trouble: Trouble | None = Field(None, description="What is wrong with the watching process, when degraded.")
    spool: SpoolState | None = None


class Ack(Down):
    """Retained at ``down/ack``, from a collector: every report up to ``seq`` is stored."""

    seq: int = Field(ge=0, le=2**53)


class Envelope(Up):
    """A report in the spool, with what the wire adds to it: a resend repeats the same bytes."""

    kind: Literal["report"] = "report"
    id: str = Field(default_factory=lambda: uuid4().hex, pattern=r"^[0-9a-f]{32}$")
    time: Utc = Field(description="When the report was made.")
    report: Report

    @property
    def seq(self) -> int:
        return self.report.seq

    def payload(self) -> bytes:
        """The JSON that is published."""
        return dump(self.report)

    def cloud_event(self, device: str) -> dict[str, str]:
        """CloudEvents 1.0 attributes, as MQTT 5 user properties (binary mode of the MQTT binding)."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/{ROOT}/{device}",
            "type": f"mien.{self.kind}.v{SCHEMA}",
            "time": self.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


MESSAGES: Final[dict[str, type[BaseModel]]] = {"up/report": Report, "up/status": Status, "down/ack": Ack}


def topic(device: str, name: str) -> str:
    """The full topic of a message in ``MESSAGES``."""
    return f"{ROOT}/{device}/{name}"


def dump(message: BaseModel) -> bytes:
    """A message as compact JSON, in UTF-8.

    Raises:
        ValueError: It has more than ``MAX_MESSAGE_BYTES``.
    """
    content = message.model_dump_json(by_alias=True).encode()
    if len(content) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a {type(message).__name__} of {len(content)} bytes; the contract allows {MAX_MESSAGE_BYTES}")
    return content


def json_schema(name: str | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one message, or of any of them, with the topic of each under ``x-topics``.

    Raises:
        KeyError: There is no such message.
    """
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    if name is not None:
        return {**dialect, **MESSAGES[name].model_json_schema(mode="serialization", by_alias=True)}
    definitions: dict[str, Any] = {}
    for message in MESSAGES.values():
        own = message.model_json_schema(mode="serialization", by_alias=True, ref_template="#/$defs/{model}")
        definitions.update(own.pop("$defs", {}))
        definitions[message.__name__] = own
    return {
        **dialect,
        "title": f"mien contract, version {SCHEMA}",
        "anyOf": [{"$ref": f"#/$defs/{message.__name__}"} for message in MESSAGES.values()],
        "x-topics": {topic("{device}", name): {"$ref": f"#/$defs/{m.__name__}"} for name, m in MESSAGES.items()},
        "$defs": definitions,
    }


def utc(time: datetime) -> datetime:
    """Cut to the second, as times are published."""
    return time.replace(microsecond=0)
