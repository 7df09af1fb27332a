"""Every topic and message that a device shares with its fleet.

What goes up is closed (unknown fields are refused) and holds integers, enumerations and names only; what comes down is
open (unknown fields are ignored), so that an older device understands a newer fleet. Both are at most 4 KiB of JSON.
``mien contract --json-schema`` prints all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Annotated, Final, Literal, get_args
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

SCHEMA: Final = 1
ROOT: Final = "mien/v1"
MAX_MESSAGE_BYTES: Final = 4096

Emotion = Literal["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
EMOTIONS: Final[tuple[Emotion, ...]] = get_args(Emotion)
Cell = Literal[Emotion, "unknown"]
CELLS: Final[tuple[Cell, ...]] = (*EMOTIONS, "unknown")

Withheld = Literal["k", "budget", "policy", "paused", "unwatched"]
Noise = Literal["discrete-laplace", "off"]
DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{12,64}$")]
Utc = Annotated[AwareDatetime, PlainSerializer(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str)]


class Up(BaseModel):
    """A message, or part of one, that leaves the device: closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, cache_strings="keys")  # no value comes twice: memory would creep up


class Down(BaseModel):
    """A message that comes to the device: open."""

    model_config = ConfigDict(extra="ignore", frozen=True, cache_strings="keys")


class Span(Up):
    """The time that a report is about."""

    start: Utc = Field(description="Start, UTC, to the second.")
    seconds: int = Field(
        ge=1, description="Length of one window times the number of windows; less where the device stopped before it saw anything."
    )
    windows: int = Field(ge=1, description="How many windows were merged into this report.")
    boot: str = Field(pattern=r"^[0-9a-f]{8}$", description="First eight digits of the boot id: time is comparable within one.")
    clock: Literal["synced", "unsynced"] = Field(description="Whether the system clock was set from the network.")


class EmotionCounts(Up):
    """People per emotion; ``null`` where the cell is suppressed. With noise, a cell may be negative: whoever shows it clamps it."""

    neutral: int | None
    happiness: int | None
    surprise: int | None
    sadness: int | None
    anger: int | None
    disgust: int | None
    fear: int | None
    contempt: int | None
    unknown: int | None = Field(description="People whose emotion the model could not tell.")


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one track may change in a group in one window, which is what noise has to hide.

    Attributes:
        per_track: By how much all the cells together differ with and without the track (L1 sensitivity).
        share: The group's part of the window's ε, 0 to 1.
        instead_of: A group in which no track counts that counts here: both have their ε from the same share.
    """

    per_track: int
    share: Fraction
    instead_of: str | None = None


class Groups(Up):
    """What is counted, each group over the same people. Each declares its ``Contribution``: see ``contributions``.

    ``emotion`` is null where the policy permits no more than to count people. ``opted_out`` is about others than ``people``.
    """

    emotion: Annotated[EmotionCounts | None, Contribution(per_track=1, share=Fraction(1))]  # a track adds 1 to exactly one cell
    opted_out: Annotated[
        int | None,
        Contribution(per_track=1, share=Fraction(1), instead_of="emotion"),  # whoever objects is in no cell of emotion
        Field(description="People left out because of a no-thanks card; null where the figure is suppressed."),
    ]


def contributions(groups: type[BaseModel] = Groups) -> dict[str, Contribution]:
    """What each group declares; noise is made from this, so a group that declares nothing cannot be published.

    Raises:
        ValueError: A group declares nothing or nonsense, or the shares of all together are more than the window's ε.
    """
    declared: dict[str, Contribution] = {}
    for name, field in groups.model_fields.items():
        found = [one for one in field.metadata if isinstance(one, Contribution)]
        if len(found) != 1 or found[0].per_track < 1 or found[0].share <= 0:
            raise ValueError(f"group {name}: expected one Contribution, with per_track >= 1 and share > 0; found {found}")
        declared[name] = found[0]
    for name, one in declared.items():
        other = declared.get(one.instead_of) if one.instead_of else None
        if one.instead_of and (other is None or other.instead_of or other.share < one.share):
            raise ValueError(f"group {name}: it shares the ε of {one.instead_of!r}, which is no group with a share as large")
    if (total := sum(one.share for one in declared.values() if one.instead_of is None)) > 1:
        raise ValueError(f"the groups {', '.join(declared)} share {total} of the window's ε; expected 1 at most")
    return declared


class PrivacyTerms(Up):
    """The rules that this report has passed."""

    k: int = Field(
        ge=2,
        description="Without noise, fewer people and smaller cells than this are never reported; with noise, it is compared with "
        "the noised sum: a floor of precision, while epsilon is the guarantee.",
    )
    noise: Noise
    epsilon: float | None = Field(gt=0, description="Of one window; null while noise is off.")
    windows: int = Field(ge=1, description="How many windows, each with its own noise, the figures are the sum of: variances add.")
    unit: Literal["track-window"] = "track-window"
    policy: str | None = Field(max_length=64, description="Id and version of the policy in force; null where none is.")


class Quality(Up):
    """How much of the time was really watched."""

    coverage: float = Field(ge=0, le=1, description="Share of the time with frames, in twentieths.")
    fps: float = Field(ge=0, description="Frames per second read, while watching, in coarse steps.")
    throttled: bool = Field(description="Whether heat or load lowered the frame rate.")


class ModelHashes(Up):
    """Which models made the numbers; ``null`` where the policy forbids one, which is then not even loaded."""

    face: Sha256
    emotion: Sha256 | None


class Report(Up):
    """What the privacy rules let out of one or several windows. Only ``device.privacy`` makes one."""

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    seq: int = Field(ge=1, description="Gapless per device, except where a full spool had to drop its oldest.")
    span: Span
    people: int | None = Field(
        description="People in view, each counted once per window: the sum of the cells, before suppression or after noise."
    )
    groups: Groups | None
    withheld: Withheld | None = Field(
        description="Why there are no figures; null when there are. Paused: nothing was looked at, because somebody wanted that; "
        "unwatched: nothing could be seen, because the camera did not work or it was dark."
    )
    privacy: PrivacyTerms
    quality: Quality
    models: ModelHashes
    pauses: int = Field(ge=0, description="How often watching was paused in this time, or before it and still.")

    @model_validator(mode="after")
    def _whole_or_withheld(self) -> Report:
        figures = (self.people is not None, self.groups is not None)
        if figures != ((False, False) if self.withheld else (True, True)):
            raise ValueError("a report has people and groups, or says why they are withheld")
        return self


class SpoolState(Up):
    """Reports that wait to be sent."""

    waiting: int = Field(ge=0)
    dropped: int = Field(ge=0, description="Reports lost to a full spool, oldest first, since it was made.")
    set_aside: int = Field(ge=0, description="Files in the spool that were not reports, kept in spool/bad.")


Health = Literal["ok", "degraded", "unknown"]
Trouble = Literal["camera", "dark", "model", "disk", "memory", "privacy", "budget", "stopped"]


class Machine(Up):
    """How the device itself is, in coarse steps; what load influences (the first four) is told once an hour, at its worst."""

    temperature: Literal["ok", "warm", "hot"] | None = Field(description="Of the processor, by [care]; null: there is no sensor.")
    throttled: bool = Field(description="Whether heat, load or want of power lowered the frame rate.")
    power: Literal["ok", "low"] | None = Field(description="Of the supply; null where nobody says.")
    memory: Literal["ok", "high"] = Field(description="High: more than four fifths of memory_megabytes.")
    disk: Literal["ok", "low", "full"] = Field(description="Under the spool. Low: less room than the spool may need.")
    uptime: Literal["minutes", "hours", "days", "weeks"] = Field(description="Of the watching process.")
    clock: Literal["synced", "unsynced"]


class Status(Up):
    """Retained at ``up/status``: birth, health, last will and clean stop."""

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    state: Literal["online", "lost", "offline"]
    session: str = Field(pattern=r"^[0-9a-f]{8}$", description="One run of the sending process: a will names the session it ends.")
    software: str | None = None
    models: ModelHashes | None = None
    health: Health = "unknown"
    trouble: Trouble | None = Field(None, description="What is wrong with the watching process, when degraded.")
    machine: Machine | None = Field(None, description="Null while nobody watches.")
    spool: SpoolState | None = None
    connections: int = Field(0, ge=0, description="Of this session, so far: many say that the network or the broker is bad.")
    taken_over: int = Field(0, ge=0, description="Of these, how many a copy of this device has ended, as far as the broker says.")
    box: str | None = Field(None, pattern=r"^[0-9a-f]{8}$", description="A hash of the hardware's own ids: tells it from a copy.")


class Ack(Down):
    """Retained at ``down/ack``, from a collector: every report up to ``seq`` is stored."""

    seq: int = Field(ge=0, le=2**53)


class Notice(Up):
    """Retained at ``up/notice``: what this device measures, for whom, and how to object, for people, in one language."""

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    language: Literal["en", "de", "ru"]
    policy: str = Field(max_length=64, description="Id and version of the policy in force.")
    text: str = Field(max_length=3900)


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


MESSAGES: Final[dict[str, type[BaseModel]]] = {  # of every device; all of them are in contract_messages
    "up/report": Report,
    "up/status": Status,
    "up/notice": Notice,
    "down/ack": Ack,
}


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


def utc(time: datetime) -> datetime:
    """Cut to the second, as times are published."""
    return time.replace(microsecond=0)
