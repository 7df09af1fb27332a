"""A sending process without a broker: the test says what happens, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.typing import FilteringBoundLogger

from device.commands_down import CommandHandler
from device.downward import Context
from device.publishers import Delivered, Event, Publisher, Received
from device.sender import Sender
from device.settings import parse
from device.spool import Spool, seq_of
from tests.build import HandPublisher, SetClock, recorded, settings_text

ACK = "mien/v1/shelf-7/down/ack"


@dataclass
class Bench:
    """A sender with a spool, a publisher whose events the test makes, and a clock that it sets."""

    folder: Path
    acknowledge: str = "broker"
    commands: bool = False
    clock: SetClock = field(default_factory=lambda: SetClock(1000.0))
    publisher: HandPublisher = field(default_factory=HandPublisher)

    def __post_init__(self) -> None:
        self.settings = parse(settings_text(self.folder, broker=f'acknowledge = "{self.acknowledge}"'), "settings.toml")
        self.log: FilteringBoundLogger
        self.entries: list[Any]
        self.log, self.entries = recorded()
        self.spool = Spool(self.folder / "spool", "send")
        port: Publisher = self.publisher  # the type checker sees that it is a real one
        context = Context(self.settings, self.clock, self.log, lambda: self.sender.flush(), lambda: self.sender.flushed())  # noqa: PLW0108
        handlers = (CommandHandler(context),) if self.commands else ()
        self.sender = Sender(self.settings, self.spool, port, self.clock, session="5e55104a", log=self.log, handlers=handlers)

    def happens(self, *events: Event) -> Bench:
        """Handle these, then publish what is due."""
        for event in events:
            self.sender.handle(event)
        self.sender.pump()
        return self

    def later(self, seconds: float) -> Bench:
        self.clock.move(seconds)
        return self.happens()

    def acknowledged(self, seq: int) -> Bench:
        return self.happens(Received(ACK, b'{"seq": %d}' % seq))

    @property
    def published(self) -> list[int]:
        """The reports that were published, each time that they were."""
        return [json.loads(message.payload)["seq"] for _, message in self.publisher.reports]

    def token(self, seq: int) -> int:
        """Of the last publish of this report."""
        return [token for token, message in self.publisher.reports if json.loads(message.payload)["seq"] == seq][-1]

    def took(self, *seqs: int) -> Bench:
        """The broker took these."""
        return self.happens(*(Delivered(self.token(seq)) for seq in seqs))

    def held(self, name: str) -> list[int]:
        return sorted(seq_of(path) for path in (self.folder / "spool" / name).iterdir())

    def said(self, *levels: str) -> list[str]:
        return [entry["event"] for entry in self.entries if entry["log_level"] in (levels or ("warning", "error"))]

    @property
    def statuses(self) -> list[Any]:
        return [json.loads(message.payload) for message in self.publisher.messages.values() if message.topic.endswith("up/status")]


Make = Callable[..., Bench]
