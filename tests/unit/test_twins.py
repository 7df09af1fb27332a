"""Twins on the fleet's side: what is wanted, what is sent and when, what a report means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.contract import dump
from device.contract_twin import ReportedTwin, TwinError
from device.settings import Settings
from device.twin import values
from provisioning import groups, manage, twin, twins
from provisioning.errors import WordsError
from tests.fleet import Box, Manager

HOUR = 3600


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path).batch()
    yield made
    made.close()


def enrolled(manager: Manager, *serials: str) -> list[str]:
    """Devices of a fleet, by name."""
    names = []
    for serial in serials:
        box = Box(serial)
        manage.add_batch(manager.registry, "berlin", "retail", "DE", {serial: box.id})
        names.append(str(manager.enrol(box)["device"]))
    return names


def report(epoch: int, version: int, *, errors: tuple[TwinError, ...] = (), **changed: Any) -> bytes:
    said = {"schema": 1, "epoch": epoch, "desired_version": version, "state": "rejected" if errors else "applied"}
    return dump(ReportedTwin.model_validate({**said, "reported": values(Settings(**changed)), "errors": errors}))


def sent(manager: Manager) -> dict[str, dict[str, Any]]:
    return {device: json.loads(payload) for device, payload in twins.due(manager.registry)}


def one(manager: Manager, device: str) -> twin.Twin:
    return twins.twins(manager.registry, device)[0]


def steps(manager: Manager) -> list[tuple[str, str]]:
    return [(entry.step, entry.code) for entry in manage.audit_log(manager.registry) if entry.step in {"set", "twin", "epoch"}]


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("window_seconds=1800", "window_seconds", 1800),
        ("camera.fps=2.5", "camera.fps", 2.5),
        ("policy.emotions=false", "policy.emotions", False),
        ("consent.mode=opt-in", "consent.mode", "opt-in"),
        ('notice.place="12"', "notice.place", "12"),
        ("notice.place=the = door", "notice.place", "the = door"),
        ("notice.place=[1]", "notice.place", "[1]"),
        ("k=", "k", None),
    ],
)
def test_words_are_read_as_keys_and_values(word: str, key: str, value: object) -> None:
    assert twin.assignments([word]) == {key: value}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("window_seconds", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("windowseconds=3", "did you mean window_seconds?"),
        ("broker.url=mqtt://x", "not among the settings"),
    ],
)
def test_words_that_no_device_would_understand_are_refused(word: str, said: str) -> None:
    with pytest.raises(WordsError, match=said.replace("?", r"\?")):
        twin.assignments([word])


@pytest.mark.parametrize(
    "desired",
    [
        {"window_seconds": 2},
        {"window_seconds": "x"},
        {"camera.fps": 99},
        {"consent.mode": "never"},
        {"k": 101},
        {"epsilon_window": "x"},
    ],
)
def test_what_no_device_could_accept_is_refused_with_its_key(desired: dict[str, Any]) -> None:
    with pytest.raises(WordsError, match=next(iter(desired))):
        twin.check(desired)


@pytest.mark.parametrize(
    "desired", [{"window_seconds": 60}, {"epsilon_day": 20}, {"policy.emotions": True}, {"consent.mode": "opt-in"}]
)
def test_what_depends_on_a_device_s_own_file_is_left_to_the_device(desired: dict[str, Any]) -> None:
    twin.check(desired)


def test_a_group_is_every_device_with_such_labels() -> None:
    labels = {"store": "berlin-3", "floor": "1"}

    assert twin.selects(["store=berlin*"], labels)
    assert twin.selects(["store=berlin*", "floor=?"], labels)
    assert not twin.selects(["store=Berlin*"], labels)
    assert not twin.selects(["store=berlin*", "floor=2"], labels)
    assert not twin.selects(["city=*"], labels)
    with pytest.raises(WordsError, match="expected LABEL=VALUE"):
        twin.selects(["berlin"], labels)


def test_waits_grow_to_a_quarter_of_a_day() -> None:
    waits = [twin.wait(tries) for tries in range(40)]

    assert waits[:4] == [10, 20, 40, 80]
    assert waits == sorted(waits)
    assert waits[-1] == 6 * HOUR


def test_a_wish_for_a_group_is_stored_sent_once_and_audited(manager: Manager) -> None:
    berlin, hamburg = enrolled(manager, "SN-1", "SN-2")
    groups.set_label(manager.registry, berlin, "store", "berlin-3")
    groups.set_label(manager.registry, hamburg, "store", "hamburg-1")
    chosen = twins.select_devices(manager.registry, [], ["store=berlin*"])

    assert twins.wish(manager.registry, chosen, {"window_seconds": 1800, "camera.fps": 2}) == {berlin: 1}

    (message,) = sent(manager).values()
    assert message["version"] == 1
    assert message["desired"] == {"window_seconds": 1800, "camera": {"fps": 2}}
    assert sent(manager) == {}
    assert steps(manager) == [("set", "accepted")]
    assert one(manager, berlin).state == "pending"
    assert one(manager, hamburg).state == "unset"


def test_each_new_wish_is_the_whole_of_them_under_the_next_version(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    for wanted in ({"k": 7}, {"window_seconds": 1800}, {"k": None}):
        twins.wish(manager.registry, [device], wanted)

    message = sent(manager)[device]

    assert (message["version"], message["desired"]) == (3, {"window_seconds": 1800})
    assert twins.wish(manager.registry, [device], {"window_seconds": 1800}) == {}


def test_a_wish_is_for_all_devices_or_for_none(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")

    with pytest.raises(WordsError, match="there is no device 'nobody'"):
        twins.wish(manager.registry, [device, "nobody"], {"k": 7})
    with pytest.raises(WordsError, match="window_seconds"):
        twins.wish(manager.registry, [device], {"window_seconds": 1})

    assert sent(manager) == {}
    assert one(manager, device).version == 0


def test_without_an_answer_a_wish_is_said_again_at_growing_intervals(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    times = []
    for second in range(200):
        if sent(manager):
            times.append(second)
        manager.clock.at += 1

    assert times == [0, 10, 30, 70, 150]


def test_an_answer_ends_it_and_is_audited_once(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    epoch = sent(manager)[device]["epoch"]

    for _ in range(3):
        twins.heard(manager.registry, device, report(epoch, 1, k=7))
    manager.clock.at += 24 * HOUR

    assert sent(manager) == {}
    assert one(manager, device).state == "applied"
    assert steps(manager) == [("set", "accepted"), ("twin", "applied")]


def test_a_rejection_is_kept_with_its_reason(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    epoch = sent(manager)[device]["epoch"]

    twins.heard(manager.registry, device, report(epoch, 1, errors=(TwinError(path="k", reason="expected 9 or more"),)))

    assert one(manager, device).state == "rejected"
    assert manage.audit_log(manager.registry)[-1].message == f"version 1 of epoch {epoch} rejected; k: expected 9 or more"


def test_a_report_of_an_older_version_is_no_answer(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    epoch = sent(manager)[device]["epoch"]
    twins.heard(manager.registry, device, report(epoch, 1, k=7))
    twins.wish(manager.registry, [device], {"k": 8})
    sent(manager)

    twins.heard(manager.registry, device, report(epoch, 1, k=7))

    assert one(manager, device).state == "pending"
    manager.clock.at += 60
    assert sent(manager)[device]["version"] == 2


def test_a_device_that_has_lost_what_it_knew_is_told_again(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    epoch = sent(manager)[device]["epoch"]
    twins.heard(manager.registry, device, report(epoch, 1, k=7))

    twins.heard(manager.registry, device, report(0, 0))

    assert sent(manager)[device]["version"] == 1


def test_a_device_that_comes_back_after_a_long_time_is_told_at_once(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    for _ in range(12):
        manager.clock.at += 6 * HOUR
        sent(manager)
    manager.clock.at += 60

    twins.heard(manager.registry, device, report(0, 0))

    assert list(sent(manager)) == [device]


def test_nothing_is_sent_to_a_device_that_was_revoked(manager: Manager) -> None:
    first, second = enrolled(manager, "SN-1", "SN-2")
    twins.wish(manager.registry, [first, second], {"k": 7})
    manage.to_revoke(manager.registry, first)

    assert list(sent(manager)) == [second]


def test_a_registry_restored_from_a_backup_sees_that_devices_are_ahead_and_begins_a_new_epoch(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})
    epoch = sent(manager)[device]["epoch"]
    twins.heard(manager.registry, device, report(epoch, 5, k=9))
    assert one(manager, device).state == "ahead"
    assert steps(manager)[-1] == ("twin", "ahead")

    later, count = twins.new_epoch(manager.registry)

    assert (later > epoch, count) == (True, 1)
    message = sent(manager)[device]
    assert (message["epoch"], message["version"]) == (later, 1)
    assert one(manager, device).state == "pending"
    assert twins.new_epoch(manager.registry)[0] > later


@pytest.mark.parametrize("payload", [b"{", b"[" * 10_000, b"x" * 1_000_000, b"\xff", b'{"schema": 1}'])
def test_a_report_that_is_none_is_audited_and_changes_nothing(manager: Manager, payload: bytes) -> None:
    (device,) = enrolled(manager, "SN-1")
    twins.wish(manager.registry, [device], {"k": 7})

    twins.heard(manager.registry, device, payload)

    assert steps(manager)[-1] == ("twin", "malformed")
    assert one(manager, device).reported is None


def test_a_report_of_a_device_that_is_not_in_the_registry_is_none_of_its_business(manager: Manager) -> None:
    twins.heard(manager.registry, "m0123456789abcde", report(1, 1))

    assert twins.twins(manager.registry) == []


def test_two_services_share_what_is_to_be_sent(manager: Manager, tmp_path: Path) -> None:
    devices = enrolled(manager, *(f"SN-{n}" for n in range(1, 6)))
    other = Manager(tmp_path)
    other.clock = manager.clock
    twins.wish(manager.registry, devices, {"k": 7})

    first, second = sent(manager), sent(other)
    other.close()

    assert sorted(first) == sorted(devices)
    assert second == {}
