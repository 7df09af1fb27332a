"""The twin in the sending process: wishes into the inbox, answers out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from device import durable, inbox
from device.contract import dump
from device.downward import Context
from device.publishers import Received
from device.settings import parse
from device.twin import Page, Wish, merged, message
from device.twin_handler import TwinHandler
from tests.build import SetClock, recorded, settings_text

NOTICE = '[notice]\nresponsible = "Corner Shop"\ncontact = "privacy@shop.example"\n'
TOPIC = "mien/v1/shelf-7/down/twin"


class Sending:
    """A handler, what it is told, and what the watching process says."""

    def __init__(self, folder: Path) -> None:
        self.settings = parse(settings_text(folder, broker="twin = true") + NOTICE, "f")
        self.log, self.entries = recorded()
        self.clock = SetClock(100.0)
        context = Context(self.settings, self.clock, self.log, lambda: None, lambda: True)
        self.handler = TwinHandler(context)

    def receive(self, payload: bytes | dict[str, Any]) -> None:
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.handler.receive("down/twin", Received(TOPIC, content))

    def wish(self, version: int, epoch: int = 1) -> None:
        self.receive({"epoch": epoch, "version": version, "desired": {"k": 7}})

    def answer(self, version: int, **desired: Any) -> None:
        """What the watching process leaves."""
        wish = Wish(epoch=1, version=version, desired=json.dumps(desired))
        found = merged(self.settings, wish.desired)
        assert not isinstance(found, tuple)
        said = message(Page(applied=wish, epoch=1, version=version), found)
        durable.write(self.settings.run_folder / "twin.json", dump(said))

    def due(self) -> list[tuple[str, dict[str, Any]]]:
        self.clock.move(1.0)
        messages = self.handler.due(self.clock.now())
        assert all(one.retain for one in messages)
        return [(one.topic.removeprefix("mien/v1/shelf-7/"), json.loads(one.payload)) for one in messages]

    @property
    def lies(self) -> int | None:
        content = inbox.slot(self.settings.inbox_folder, "twin")
        return None if content is None else int(json.loads(content)["version"])


@pytest.fixture
def sending(tmp_path: Path) -> Sending:
    return Sending(tmp_path)


def test_a_wish_is_left_for_the_watching_process_as_it_came(sending: Sending) -> None:
    sending.wish(3)
    sending.due()

    assert sending.lies == 3


def test_an_older_wish_never_replaces_a_newer_one_and_a_later_epoch_does(sending: Sending) -> None:
    lies = []
    for version, epoch in ((3, 1), (2, 1), (4, 1), (1, 2), (9, 1)):
        sending.wish(version, epoch)
        sending.due()
        lies.append(sending.lies)

    assert lies == [3, 3, 4, 1, 1]


def test_an_answer_is_published_once_and_again_after_a_new_connection(sending: Sending) -> None:
    sending.answer(3, k=7)

    first = sending.due()
    assert [(name, said["desired_version"]) for name, said in first] == [("up/twin", 3)]
    assert sending.due() == []
    sending.handler.connected()
    assert sending.due() == first


def test_who_asks_again_for_what_was_answered_is_answered_again(sending: Sending) -> None:
    sending.answer(3, k=7)
    sending.due()

    sending.wish(3)

    assert [name for name, _ in sending.due()] == ["up/twin"]


def test_the_notice_follows_the_settings_in_force(sending: Sending) -> None:
    sending.answer(1)
    sending.due()

    sending.answer(2, window_seconds=3600, noise="discrete-laplace")

    (_, (name, notice)) = sending.due()
    assert name == "up/notice"
    assert "one every 1 h." in notice["text"]


def test_a_wish_that_cannot_be_left_is_tried_again(sending: Sending) -> None:
    sending.settings.inbox_folder.parent.mkdir(parents=True, exist_ok=True)
    sending.settings.inbox_folder.write_text("in the way")
    sending.wish(3)
    sending.due()
    sending.due()
    assert [entry["log_level"] for entry in sending.entries] == ["error"]

    sending.settings.inbox_folder.unlink()
    sending.due()

    assert sending.lies == 3


@pytest.mark.parametrize("payload", [b"{", b"[" * 10_000, b"x" * 1_000_000, b"\xff", b'{"epoch": 1}', b"[]"])
def test_what_is_no_wish_is_not_left_and_said_without_its_content(sending: Sending, payload: bytes) -> None:
    sending.receive(payload)
    sending.due()

    assert sending.lies is None
    (entry,) = sending.entries
    assert "was ignored" in entry["event"]
    assert len(entry["event"]) < 300


def test_a_cleared_topic_changes_nothing(sending: Sending) -> None:
    sending.wish(3)
    sending.due()
    sending.receive(b"")
    sending.due()

    assert sending.lies == 3
    assert sending.entries == []


@pytest.mark.parametrize("content", [b"{", b"\xff", b"x" * 100_000])
def test_an_answer_that_is_none_is_not_published(sending: Sending, content: bytes) -> None:
    durable.write(sending.settings.run_folder / "twin.json", content)

    assert sending.due() == []
