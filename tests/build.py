"""Small things that many tests need."""

from __future__ import annotations

import json
import queue
import random
import socket
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from device.clock import Clock
from device.contract import Cell, Envelope, ModelHashes, Report
from device.privacy import Circumstances, Gate, Terms
from device.publishers import Connected, Delivered, Event, Message
from device.spool import Spool, seq_of
from device.types import Face, Observation, Reading, Sighting
from device.window import Window

HASHES = ModelHashes(face="sha256:" + "a" * 64, emotion="sha256:" + "b" * 64)
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
HAPPY = (0.05, 0.9, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005)
PERMISSIVE = 'setting = "research"\njurisdiction = "EU"'
NEUTRAL = (0.9, 0.05, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005)


def window(counts: dict[Cell, int], seconds: int = 10) -> Window:
    """A whole window with these people in it."""
    made = Window(start=0.0, seconds=seconds, frames=5 * seconds, watched=float(seconds))
    made.counts.update(counts)
    return made


def report(seq: int = 1, counts: dict[Cell, int] | None = None, k: int = 5) -> Report:
    """A report as the privacy rules make it."""
    circumstances = Circumstances(seq=seq, start=NOON, boot="5f0c1a2b", synced=True, models=HASHES)
    (made,) = Gate(Terms(k)).release(window({"neutral": 7, "happiness": 6} if counts is None else counts), circumstances)
    return made


def envelope(seq: int = 1) -> Envelope:
    """A report as it lies in the spool."""
    return Envelope(time=NOON, report=report(seq))


def face(x: float = 0.5, y: float = 0.5, size: float = 0.2, score: float = 0.9) -> Face:
    """An upright face; centre and size as fractions of a square frame."""
    left, right, top = x - size / 5, x + size / 5, y - size / 8
    points = ((left, top), (right, top), (x, y), (x, y + size / 4), (x - size / 2, y), (x + size / 2, y))
    return Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), points, score)


def sighting(
    x: float = 0.5, y: float = 0.5, size: float = 0.2, emotion: tuple[float, ...] = NEUTRAL, quality: float = 0.9
) -> Sighting:
    return Sighting(face(x, y, size), Reading(emotion, quality))


def seen(at: float, *sightings: Sighting) -> Observation:
    """What a square frame showed."""
    return Observation(at, 1.0, sightings)


class SetClock(Clock):
    """A clock that stands where it is put."""

    def __init__(self, now: float = 0.0) -> None:
        super().__init__("5f0c1a2b")
        object.__setattr__(self, "at", now)

    at: float

    def now(self) -> float:
        return self.at

    def move(self, seconds: float) -> None:
        object.__setattr__(self, "at", self.at + seconds)

    def utc(self, at: float) -> datetime:
        return datetime.fromtimestamp(NOON.timestamp() + at, timezone.utc)

    def synced(self) -> bool:
        return True


def free_port() -> int:
    """A port that nobody has, and that nobody gets by chance before it is used: below those that the system gives out."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)
        with closing(socket.socket()) as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def put_reports(folder: Path, count: int) -> list[Envelope]:
    """Put reports into a spool, as the watching process would."""
    with closing(Spool(folder, "watch")) as spool:
        put = [envelope(spool.next_seq + n) for n in range(count)]
        for one in put:
            spool.put(one)
    return put


def settings_text(
    folder: Path, url: str = "mqtt://127.0.0.1:1", *, top: str = "", camera: str = "", broker: str = "", policy: str = PERMISSIVE
) -> str:
    """Settings of a device that keeps everything below ``folder``; the rest are further lines of these tables.

    Noise is off unless ``top`` says otherwise: most tests want to know what was counted. The policy permits emotions.
    """
    top = top if "noise = " in top else f'noise = "off"\n{top}'
    if 'noise = "off"' in top and "research" not in policy and "demo = " not in top:
        top += "\ndemo = true"
    return f"""
device = "shelf-7"
window_seconds = 5
run_folder = "{folder}/run"
state_folder = "{folder}/state"
inbox_folder = "{folder}/inbox"
send_folder = "{folder}/send"
{top}
[policy]
{policy}
[camera]
source = "composite"
{camera}
[spool]
folder = "{folder}/spool"
[broker]
url = "{url}"
longest_wait_seconds = 1
{broker}
"""


@dataclass
class Device:
    """A device of a test: its settings file and its spool."""

    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "settings.toml"

    def write(
        self,
        url: str = "mqtt://127.0.0.1:1",
        broker: str = "",
        top: str = "",
        camera: str = "fast = true",
        policy: str = PERMISSIVE,
    ) -> Device:
        self.settings.write_text(settings_text(self.folder, url, broker=broker, top=top, camera=camera, policy=policy))
        return self

    def put(self, count: int = 1) -> Device:
        put_reports(self.folder / "spool", count)
        return self

    def held(self, name: str) -> int:
        return len(self.seqs(name))

    def seqs(self, name: str) -> list[int]:
        """Of what is in this folder of the spool."""
        return sorted(seq_of(path) for path in (self.folder / "spool" / name).iterdir())


def json_lines(lines: Iterable[str]) -> list[Any]:
    """The lines that are JSON objects, read."""
    return [json.loads(line) for line in lines if line.startswith("{")]


def recorded() -> tuple[FilteringBoundLogger, list[Any]]:
    """A logger, and the list that it writes to."""
    capture = LogCapture()
    wrapper = structlog.make_filtering_bound_logger("debug")
    return structlog.wrap_logger(None, processors=[capture], wrapper_class=wrapper), capture.entries


class HandPublisher:
    """A publisher whose events the test makes."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.messages: dict[int, Message] = {}
        self.events.put(Connected())

    def publish(self, message: Message) -> int:
        token = len(self.messages) + 1
        self.messages[token] = message
        return token

    def close(self, farewell: Message | None, timeout: float) -> None:
        if farewell is not None:
            self.events.put(Delivered(self.publish(farewell)))

    @property
    def reports(self) -> list[tuple[int, Message]]:
        return [(token, message) for token, message in self.messages.items() if message.topic.endswith("up/report")]
