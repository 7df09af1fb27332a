"""Sending once: everything, or an error that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device import plug
from device import send as send_module
from device.errors import BrokerError
from device.publishers import Connected, Delivered, Disconnected, Event, Message, Refused
from device.send import send
from device.settings import Settings, parse
from tests.build import HandPublisher, SetClock, put_reports, recorded, settings_text


class Opened(HandPublisher):
    """A publisher for ``send`` itself: answers every message with one kind of event."""

    def __init__(self, answer: Callable[[int], Event], greeting: Event | None = None) -> None:
        super().__init__()
        self.events.get()
        self.events.put(greeting or Connected())
        self._answer = answer
        self.closed = False

    def publish(self, message: Message) -> int:
        token = super().publish(message)
        self.events.put(Delivered(token) if message.retain else self._answer(token))
        return token

    def close(self, farewell: Message | None, timeout: float) -> None:
        self.closed = True
        if farewell is not None:
            self.publish(farewell)


@pytest.fixture
def send_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Opened], list[Any]]:
    """A function that runs ``send --once`` against a publisher and returns its log."""
    settings: Settings = parse(settings_text(tmp_path), "settings.toml")
    monkeypatch.setattr(send_module, "POLL", 0.01)

    def run(publisher: Opened) -> list[Any]:
        class Module:
            open_publisher = staticmethod(lambda *_: publisher)

        monkeypatch.setattr(plug, "find", lambda *_: Module)
        clock = Ticking()
        log, entries = recorded()
        send(settings, clock, log, lambda: False, once=True)
        return entries

    return run


class Ticking(SetClock):
    """Each look at it takes a tenth of a second."""

    def now(self) -> float:
        self.move(0.1)
        return self.at


def test_once_ends_when_everything_is_delivered_and_says_offline(tmp_path: Path, send_once: Callable[[Opened], list[Any]]) -> None:
    put_reports(tmp_path / "spool", 30)
    publisher = Opened(Delivered)

    entries = send_once(publisher)

    assert entries[-1] | {"delivered": 30, "waiting": 0} == entries[-1]
    assert json.loads(list(publisher.messages.values())[-1].payload)["state"] == "offline"


def test_once_ends_with_the_reason_when_a_report_is_refused(tmp_path: Path, send_once: Callable[[Opened], list[Any]]) -> None:
    put_reports(tmp_path / "spool", 2)
    publisher = Opened(lambda token: Refused(token, "Not authorized"))

    with pytest.raises(BrokerError, match=r"Not authorized.*Nothing was lost"):
        send_once(publisher)

    assert publisher.closed
    assert len(list((tmp_path / "spool" / "new").iterdir())) == 2


def test_once_gives_a_broker_that_is_not_there_some_seconds_and_ends_with_the_reason(
    tmp_path: Path, send_once: Callable[[Opened], list[Any]]
) -> None:
    put_reports(tmp_path / "spool", 2)

    with pytest.raises(BrokerError, match=r"nobody there\. Nothing was lost: the reports are in .*spool"):
        send_once(Opened(Delivered, Disconnected("nobody there", 1.0)))
