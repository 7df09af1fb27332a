"""Commands on the fleet's side: sent until they are answered, and what is believed of the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device.contract_command import LONGEST, Command, CommandResult, Reason, State
from provisioning import command_store, manage
from provisioning.commanding import SILENT, SLOWEST, Asked, End, Held, Send, due, heard
from provisioning.errors import WordsError
from tests.fleet import Box, Manager

NOW = 1_000_000


def asked(state: Held = "waiting", expires_in: int = 60, tries: int = 0) -> Asked:
    return Asked("c1", "m1", "pause", 600, state, NOW + expires_in, tries)


def result(state: State, reason: Reason | None = None) -> CommandResult:
    return CommandResult(schema=1, state=state, reason=reason)


def test_a_command_is_sent_with_what_is_left_of_its_time() -> None:
    sent = due(asked(expires_in=45), NOW)

    assert isinstance(sent, Send)
    assert (sent.topic, sent.expiry) == ("mien/v1/m1/down/command/c1", 45)
    assert Command.model_validate_json(sent.payload) == Command(command="pause", seconds=600)


def test_it_is_sent_again_less_and_less_often_and_never_after_its_time() -> None:
    waits = []
    for tries in range(8):
        sent = due(asked(expires_in=1000, tries=tries), NOW)
        assert isinstance(sent, Send)
        waits.append(sent.due_at - NOW)

    assert waits == [2, 4, 8, 16, 30, 30, 30, 30]
    assert max(waits) == SLOWEST
    assert due(asked(expires_in=0), NOW) == End("expired", None)


def test_what_was_accepted_is_asked_about_and_cannot_be_begun_by_that() -> None:
    sent = due(asked("accepted", expires_in=-10), NOW)

    assert isinstance(sent, Send)
    assert Command.model_validate_json(sent.payload).again
    assert due(asked("accepted", expires_in=-SILENT), NOW) == End("failed", "silent")


@pytest.mark.parametrize("state", ["succeeded", "failed", "rejected", "expired"])
def test_what_is_over_is_not_sent(state: Held) -> None:
    assert due(asked(state), NOW) == End(state, None)


@pytest.mark.parametrize(
    ("state", "reason", "said", "new"),
    [
        ("waiting", None, result("accepted"), True),
        ("waiting", None, result("succeeded"), True),
        ("waiting", None, result("rejected", "invalid"), True),
        ("accepted", None, result("accepted"), False),
        ("accepted", None, result("succeeded"), True),
        ("succeeded", None, result("accepted"), False),
        ("succeeded", None, result("failed", "timeout"), False),
        ("rejected", "invalid", result("succeeded"), False),
        ("rejected", "expired", result("succeeded"), True),
        ("rejected", "expired", result("rejected", "expired"), False),
        ("failed", "silent", result("succeeded"), True),
        ("failed", "timeout", result("succeeded"), False),
        ("expired", None, result("accepted"), True),
    ],
)
def test_what_a_device_says_counts_when_it_is_new(state: Held, reason: str | None, said: CommandResult, new: bool) -> None:
    assert heard(state, reason, said) is new


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    boxes = {name: Box(name) for name in ("SN-1", "SN-2")}
    made = Manager(tmp_path).batch("berlin", {name: box.id for name, box in boxes.items()})
    for box in boxes.values():
        made.enrol(box)
    return made


def names(manager: Manager) -> list[str]:
    return sorted(one.name for one in manage.devices(manager.registry))


def said(state: str, **more: object) -> bytes:
    return json.dumps({"schema": 1, "state": state, **more}).encode()


def test_a_command_goes_from_the_registry_to_the_device_and_its_answer_back(manager: Manager) -> None:
    first, second = names(manager)
    request = command_store.ask(manager.registry, [first, second], "doctor", None, 60)
    sent = {one.topic.split("/")[2]: one for one in command_store.send_due(manager.registry)}
    ids = {device: answer.topic.rsplit("/", 1)[1] for device, answer in sent.items()}
    assert command_store.send_due(manager.registry) == []  # until its time comes again

    command_store.hear(manager.registry, first, ids[first], said("accepted"))
    command_store.hear(manager.registry, first, ids[first], said("succeeded", findings={"models": "ok", "spool": "wrong"}))

    told = {one.device: one for one in command_store.told(manager.registry, request)}
    assert (told[first].state, told[first].findings) == ("succeeded", {"models": "ok", "spool": "wrong"})
    assert (told[second].state, told[second].over) == ("waiting", False)
    manager.close()


def test_an_answer_of_another_device_or_one_that_cannot_be_read_changes_nothing(manager: Manager) -> None:
    first, second = names(manager)
    request = command_store.ask(manager.registry, [first], "resume", None, 60)
    (sent,) = command_store.send_due(manager.registry)
    name = sent.topic.rsplit("/", 1)[1]

    for device, payload in ((second, said("succeeded")), (first, b"\xff"), (first, b"[" * 5000), (first, said("done"))):
        assert command_store.hear(manager.registry, device, name, payload) is None
    assert command_store.hear(manager.registry, first, "unknown", said("succeeded")) is None

    assert [one.state for one in command_store.told(manager.registry, request)] == ["waiting"]
    manager.close()


def test_a_command_that_is_not_answered_expires(manager: Manager) -> None:
    first, _ = names(manager)
    request = command_store.ask(manager.registry, [first], "resume", None, 60)
    times = 0
    for _ in range(70):
        times += len(command_store.send_due(manager.registry))
        manager.clock.at += 1

    assert [one.state for one in command_store.told(manager.registry, request)] == ["expired"]
    assert times == 5  # at 0, 2, 6, 14 and 30
    manager.close()


def test_what_was_asked_and_how_it_ended_is_in_the_audit_log(manager: Manager) -> None:
    first, second = names(manager)
    request = command_store.ask(manager.registry, [first, second], "pause", 600, 60)
    for answer in command_store.send_due(manager.registry):
        command_store.hear(manager.registry, answer.topic.split("/")[2], answer.topic.rsplit("/", 1)[1], said("succeeded"))

    entries = [one for one in manage.audit_log(manager.registry) if one.step == "command"]

    assert [(one.name, one.code, one.device) for one in entries] == [
        ("manager", "asked", first),
        ("manager", "asked", second),
        (entries[2].device, "succeeded", entries[2].device),
        (entries[3].device, "succeeded", entries[3].device),
    ]
    assert all(request in one.message for one in entries)
    manager.close()


def test_several_processes_send_each_command_once(manager: Manager, tmp_path: Path) -> None:
    others = [Manager(tmp_path) for _ in range(3)]
    command_store.ask(manager.registry, names(manager), "flush", None, 60)

    sent = [answer.topic for one in (manager, *others) for answer in command_store.send_due(one.registry)]

    assert len(sent) == len(set(sent)) == 2
    for one in (manager, *others):
        one.close()


@pytest.mark.parametrize("expires", [0, LONGEST + 1])
def test_a_command_that_could_take_longer_than_devices_remember_is_refused(manager: Manager, expires: int) -> None:
    with pytest.raises(WordsError, match="expected 1 to 3600"):
        command_store.ask(manager.registry, names(manager), "flush", None, expires)
    manager.close()
