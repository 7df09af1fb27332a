"""Commands in the sending process: taken once, left for the watching process, answered until the broker has the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device import durable, inbox, order, remember
from device.commands_down import FLUSH, GRACE
from device.contract import dump
from device.contract_command import LONGEST, CommandResult
from device.publishers import Connected, Delivered, Disconnected, Message, Received, Refused
from device.remember import REMEMBER
from tests.limits import file_limit
from tests.sending import Bench, Make

COMMANDS = "mien/v1/shelf-7/down/command/"
PAUSE = b'{"command": "pause", "seconds": 600}'
FLUSH_NOW = b'{"command": "flush"}'
Answer = tuple[str, str | None]


def came(name: str, payload: bytes = PAUSE, expires: int | None = 60, **other: Any) -> Received:
    return Received(COMMANDS + name, payload, expires_in=expires, **other)


def said(b: Bench, name: str, under: str = "up/command") -> list[Answer]:
    """What was published about a command, in order."""
    found = [m for m in b.publisher.messages.values() if m.topic == f"mien/v1/shelf-7/{under}/{name}"]
    return [(one["state"], one["reason"]) for one in (json.loads(message.payload) for message in found)]


def left(b: Bench) -> list[str]:
    return [path.stem for path, _ in inbox.commands(b.settings.inbox_folder)[0]]


def done(b: Bench, name: str, state: str = "succeeded", **more: Any) -> Bench:
    """The watching process says so."""
    result = CommandResult.model_validate({"schema": 1, "state": state, **more})
    durable.write(order.answer_file(b.settings.run_folder, name), dump(result))
    return b.happens()


def confirmed(b: Bench) -> Bench:
    """The broker takes all that was published."""
    return b.happens(*map(Delivered, list(b.publisher.messages)))


def again(b: Bench) -> Bench:
    """The next sending process on the same disk."""
    b.spool.close()
    return Bench(b.folder, b.acknowledge, True, b.clock).happens(Connected())


@pytest.fixture
def b(bench: Make) -> Bench:
    return bench(commands=True).happens(Connected())


def test_a_command_is_left_for_the_watching_process_and_accepted(b: Bench) -> None:
    b.happens(came("a1"))

    assert left(b) == ["a1"]
    assert said(b, "a1") == [("accepted", None)]


def test_what_became_of_it_is_said_when_the_watching_process_says_it(b: Bench) -> None:
    b.happens(came("a1"))

    done(b, "a1")

    assert said(b, "a1") == [("accepted", None), ("succeeded", None)]


def test_an_answer_repeats_the_correlation_and_goes_to_the_response_topic_too(b: Bench) -> None:
    wanted = "mien/v1/shelf-7/up/reply/console-3"

    b.happens(came("a1", response_topic=wanted, correlation=b"\x00\xff"))

    answers = [message for message in b.publisher.messages.values() if "/up/command/" in message.topic or message.topic == wanted]
    assert [message.topic for message in answers] == ["mien/v1/shelf-7/up/command/a1", wanted]
    assert {message.correlation for message in answers} == {b"\x00\xff"}
    assert not any(message.retain for message in answers)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "mien/v1/shelf-8/up/reply/x",
        "mien/v1/shelf-7/up/report",
        "mien/v1/shelf-7/up/status",
        "mien/v1/shelf-7/up/command/other",
        "mien/v1/shelf-7/down/command/x",
        "mien/v1/shelf-7/up/reply/",
        "mien/v1/shelf-7/up/reply/+",
        "mien/v1/shelf-7/up/reply/../report",
        "mien/v1/shelf-7/up/reply/a/b/c/d/e",
        "$CONTROL/dynamic-security/v1",
    ],
)
def test_an_answer_goes_nowhere_where_it_could_pass_for_something_else(b: Bench, elsewhere: str) -> None:
    b.happens(came("a1", response_topic=elsewhere), came("a2", b"{}", response_topic=elsewhere))

    topics = {message.topic for message in b.publisher.messages.values()} - {"mien/v1/shelf-7/up/status"}
    assert topics == {"mien/v1/shelf-7/up/command/a1", "mien/v1/shelf-7/up/command/a2"}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (came("a1", b""), "invalid"),
        (came("a1", b"pause"), "invalid"),
        (came("a1", b'{"command": "open the door"}'), "invalid"),
        (came("a1", b'{"command": "pause"}'), "invalid"),
        (came("a1", b'{"command": "pause", "seconds": 86401}'), "invalid"),
        (came("a1", b'{"command": "restart", "seconds": 5}'), "invalid"),
        (came("a1", b"\xff\xfe" * 100), "invalid"),
        (came("a1", b"[" * 10_000 + b"]" * 10_000), "invalid"),
        (came("a1", b'{"command": "pause", "seconds": 60, "x": "' + b"x" * 1_000_000 + b'"}'), "invalid"),
        (came("a1", expires=None), "no_expiry"),
        (came("a1", expires=LONGEST + 1), "no_expiry"),
        (came("a1", expires=0), "expired"),
        (came("a1", b'{"command": "pause", "seconds": 600, "again": true}'), "expired"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_done_is_rejected_with_the_reason(b: Bench, message: Received, reason: str) -> None:
    b.happens(message)

    assert said(b, "a1") == [("rejected", reason)]
    assert left(b) == []


@pytest.mark.parametrize("name", ["a.b", "a" * 65, "ä", "", "a/b"])
def test_a_command_without_a_proper_id_is_ignored(b: Bench, name: str) -> None:
    b.happens(came(name))

    assert left(b) == []
    assert not [message for message in b.publisher.messages.values() if "/up/command/" in message.topic]


def test_a_command_may_say_more_than_we_understand(b: Bench) -> None:
    b.happens(came("a1", b'{"command": "resume", "because": "they asked"}'))

    assert left(b) == ["a1"]


def test_a_command_that_comes_again_is_answered_again_and_not_left_again(b: Bench) -> None:
    confirmed(b.happens(came("a1")))
    inbox.remove(b.settings.inbox_folder / "command" / "a1.json")
    confirmed(done(b, "a1"))

    b.happens(came("a1"))

    assert said(b, "a1") == [("accepted", None), ("succeeded", None), ("succeeded", None)]
    assert left(b) == []


def test_what_the_broker_has_not_confirmed_is_said_again_after_a_new_connection_and_a_new_start(b: Bench) -> None:
    b.happens(came("a1"))
    assert said(b, "a1") == [("accepted", None)]

    b.happens(Disconnected("it broke", 1.0), Connected())
    assert said(b, "a1") == [("accepted", None)] * 2

    assert said(again(b), "a1") == [("accepted", None)]


def test_what_the_broker_has_confirmed_is_not_said_again(b: Bench) -> None:
    confirmed(b.happens(came("a1")))

    b.happens(Disconnected("it broke", 1.0), Connected())

    assert said(b, "a1") == [("accepted", None)]
    assert said(again(b), "a1") == []


def test_an_answer_that_the_broker_refuses_is_left_until_somebody_asks(b: Bench) -> None:
    b.happens(came("a1"))
    token = next(token for token, message in b.publisher.messages.items() if "/up/command/" in message.topic)

    b.happens(Refused(token, "Not authorized")).later(10)
    assert len(said(b, "a1")) == 1

    b.happens(Disconnected("it broke", 1.0), Connected())
    assert len(said(b, "a1")) == 2


def test_a_command_that_was_accepted_is_left_again_after_a_start_while_there_is_time(b: Bench) -> None:
    confirmed(b.happens(came("a1"), came("a2", expires=5)))
    for path, _ in inbox.commands(b.settings.inbox_folder)[0]:
        inbox.remove(path)
    b.clock.move(10)

    assert left(again(b)) == ["a1"]


def test_a_command_that_nobody_begins_in_time_has_expired(b: Bench) -> None:
    b.happens(came("a1", expires=5))

    b.later(5 + GRACE + 1)

    assert said(b, "a1")[-1] == ("rejected", "expired")


def test_what_the_watching_process_says_late_counts(b: Bench) -> None:
    b.happens(came("a1", expires=5)).later(5 + GRACE + 1)

    done(b, "a1")

    assert said(b, "a1")[-1] == ("succeeded", None)


def test_a_flush_sends_what_a_refusal_holds_back_and_succeeds_when_it_is_gone(bench: Make) -> None:
    b = bench(2, commands=True).happens(Connected())
    b.happens(*(Refused(b.token(seq), "Not authorized") for seq in (1, 2)))
    assert b.published == [1, 2]

    b.happens(came("a1", FLUSH_NOW))
    assert b.published == [1, 2, 1, 2]
    assert said(b, "a1") == [("accepted", None)]

    confirmed(b)
    assert said(confirmed(b), "a1")[-1] == ("succeeded", None)
    assert left(b) == []


def test_a_flush_sends_again_what_no_collector_has_acknowledged(bench: Make) -> None:
    b = confirmed(bench(2, "collector", commands=True).happens(Connected()))
    assert b.held("sent") == [1, 2]

    b.happens(came("a1", FLUSH_NOW))

    assert b.published == [1, 2, 1, 2]
    assert said(b, "a1") == [("accepted", None)]
    assert said(confirmed(confirmed(b)), "a1")[-1] == ("succeeded", None)


@pytest.mark.parametrize("how", ["refused", "timeout"])
def test_a_flush_that_cannot_send_has_failed(bench: Make, how: str) -> None:
    b = bench(1, commands=True).happens(Connected(), came("a1", FLUSH_NOW))

    if how == "refused":
        b.happens(Refused(b.token(1), "Not authorized"))
    else:
        b.later(FLUSH + 1)

    assert said(b, "a1")[-1] == ("failed", how)


def test_a_disk_that_is_full_refuses_commands(b: Bench) -> None:
    with file_limit(0):
        b.happens(came("a1"))

    assert said(b, "a1") == [("rejected", "unavailable")]
    assert left(b) == []


def test_an_inbox_that_cannot_be_written_refuses_commands(b: Bench) -> None:
    b.settings.inbox_folder.write_text("a file")

    b.happens(came("a1"))

    assert said(b, "a1") == [("rejected", "unavailable")]


def test_ids_are_remembered_for_as_long_as_a_message_may_be_on_its_way_and_no_longer(
    b: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remember, "MOST", 1)
    done(b.happens(came("a1")), "a1")
    assert said(b.happens(came("a2")), "a2") == [("rejected", "busy")]

    b.later(REMEMBER - 1).happens(came("a3"))
    assert said(b, "a3") == [("rejected", "busy")]
    b.later(1).happens(came("a4"))

    assert said(b, "a4") == [("accepted", None)]


def test_the_message_of_somebody_else_confirms_nothing(b: Bench) -> None:
    b.happens(came("a1"))
    handler = b.sender._handlers[0]

    handler.delivered(Message("mien/v1/shelf-7/up/command/a1", b"{}"))

    assert said(again(b), "a1") == [("accepted", None)]
