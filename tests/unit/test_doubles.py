"""Two machines that run with one identity: what gives them away, and what does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.contract import Status, dump
from device.contract_enroll import box_in_status
from provisioning import doubles, manage, statuses
from provisioning.doubles import QUIET, RUNS, Seen
from tests.fleet import Box, Manager

A, B, C = "aaaaaaaa", "bbbbbbbb", "cccccccc"
HARDWARE = "0123456789abcdef"


def status(session: str, taken_over: int = 0, state: str = "online", **more: Any) -> Status:
    return Status.model_validate({"schema": 1, "state": state, "session": session, "taken_over": taken_over, **more})


def after(*said: Status | tuple[int, Status], seen: Seen | None = None) -> Seen:
    """What is known after these, ten seconds apart unless they come with their time."""
    seen = seen or Seen()
    for number, one in enumerate(said):
        at, message = one if isinstance(one, tuple) else (10 * number, one)
        seen = doubles.heard(seen, message, at)
    return seen


def test_two_that_end_each_other_s_connection_are_noticed_with_the_second_time() -> None:
    first = after(status(A), status(B), status(A, 1))
    assert (first.since, first.both) == (None, (B, A))

    second = after(status(B, 1), seen=first)

    assert second.since is not None


def test_two_that_do_not_disturb_each_other_are_noticed_when_they_speak_in_turns() -> None:
    """A copy without ``send_folder`` has another name for its connection."""
    assert after(status(A), status(B), status(A), status(B)).since is None

    assert after(status(A), status(B), status(A), status(B), status(A)).since is not None


def test_one_that_is_disturbed_by_something_that_says_nothing_is_noticed_too() -> None:
    seen = after(status(A, box="12345678"), status(A, 1, box="12345678"), status(A, 2, box="12345678"))

    assert seen.since is not None
    assert doubles.said(seen, None).endswith("and one that says nothing of itself")


@pytest.mark.parametrize(
    "said",
    [
        [status(A)] * 9,
        [status(A), status(A, state="lost"), status(B), status(C)],
        [status(A), status(B), status(A, state="lost"), status(B), status(A, state="offline"), status(B)],
        [status(A), status(B), status(A), status(B), status(B)],  # one message was handled late
        [status(A), (10, status(A, 1)), (20 + QUIET, status(A, 2))],
    ],
    ids=["one run", "restarts", "wills that come late", "a message that comes late", "long after each other"],
)
def test_what_one_machine_may_do_is_no_sign_of_two(said: list[Any]) -> None:
    assert after(*said).since is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["online", "lost", "offline"])), max_size=40))
def test_one_machine_however_often_it_restarts_is_never_taken_for_two(steps: list[tuple[str, str]]) -> None:
    """Runs follow each other; wills may come at any time."""
    seen, online = Seen(), sorted(name for name, state in steps if state == "online")
    for name, state in steps:
        session = (online.pop(0) if state == "online" else name) * 8
        seen = doubles.heard(seen, status(session, state=state), 0)

    assert (seen.since, seen.signs) == (None, 0)
    assert len(seen.runs) <= RUNS


def test_an_episode_goes_on_as_long_as_there_are_signs_and_another_begins_after_an_hour_without() -> None:
    seen = after(status(A), status(B), status(A, 1), status(B, 1))
    later = after((30 + QUIET, status(A, 2)), (31 + QUIET, status(B, 2)), seen=seen)
    assert later.since == seen.since

    anew = after((QUIET * 9, status(A, 3)), (QUIET * 9 + 5, status(B, 3)), seen=later)

    assert anew.since == QUIET * 9 + 5


def test_both_are_named_by_what_tells_them_apart() -> None:
    here: dict[str, Any] = {"box": "11111111", "software": "1.0"}
    there: dict[str, Any] = {"box": "22222222", "software": "1.1"}
    seen = after(status(A, **here), status(B, **there), status(A, 1, **here), status(C, 1, **there))

    assert doubles.said(seen, "11111111") == (
        f"two machines run with this one identity: hardware 11111111 (the one that enrolled, mien 1.0, session {A}) "
        f"and hardware 22222222 (a copy, mien 1.1, sessions {B}, {C})"
    )


def test_two_that_call_themselves_the_same_are_told_apart_by_their_runs() -> None:
    both: dict[str, Any] = {"box": "11111111"}
    seen = after(status(A, **both), status(B, **both), status(A, 1, **both), status(B, 1, **both))

    assert doubles.said(seen, None).startswith("two processes run with this one identity")
    assert f"sessions {A}, {B}" in doubles.said(seen, None)


def test_a_clock_that_was_a_year_ahead_does_not_keep_signs_for_a_year() -> None:
    ahead = after((QUIET * 9000, status(A)), (QUIET * 9000, status(A, 1)))

    assert after((10, status(A, 2)), seen=ahead).since is None


# In the registry


@pytest.fixture
def manager(url: str, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path, url).batch(serials={"SN-1": None})
    yield made
    made.close()


@pytest.fixture
def device(manager: Manager) -> str:
    box = Box("SN-1", hardware=HARDWARE)
    manager.csr(box)
    manage.decide(manager.registry, "SN-1")
    return str(manager.enrol(box)["device"])


def say(manager: Manager, device: str, *said: Status) -> list[str]:
    """Hand these in, ten seconds apart; returns what has just become clear."""
    found = []
    for one in said:
        manager.clock.at += 10
        found.append(statuses.hear(manager.registry, device, dump(one)))
    return [one for one in found if one]


def fight(times: int, device: str) -> list[Status]:
    boxes = {A: box_in_status(device, HARDWARE), B: "22222222"}
    return [status(one, number, box=boxes[one]) for number in range(times) for one in (A, B)]


def marked(manager: Manager) -> str | None:
    return manage.devices(manager.registry)[0].two_machines


def logged(manager: Manager) -> list[str]:
    return [one.message for one in manage.audit_log(manager.registry, "SN-1", 1000) if one.code == "two_machines"]


def test_a_device_is_marked_and_written_down_once_however_long_it_goes_on(manager: Manager, device: str) -> None:
    found = say(manager, device, *fight(50, device))

    assert len(found) == 1
    assert logged(manager) == found
    assert f"hardware {box_in_status(device, HARDWARE)} (the one that enrolled" in found[0]
    assert "hardware 22222222 (a copy" in found[0]
    assert (marked(manager) or "").startswith(found[0])


def test_signs_within_one_second_count(manager: Manager, device: str) -> None:
    found = [statuses.hear(manager.registry, device, dump(one)) for one in fight(2, device)]

    assert [one is None for one in found] == [True, True, True, False]
    assert marked(manager)


def test_what_a_device_was_told_last_is_not_hidden_by_the_mark(manager: Manager, device: str) -> None:
    say(manager, device, *fight(2, device))

    assert manage.devices(manager.registry)[0].last_code == "accepted"


def test_the_mark_goes_with_the_certificate_that_two_had(manager: Manager, device: str) -> None:
    say(manager, device, *fight(2, device))
    assert marked(manager)
    manage.to_revoke(manager.registry, device)
    assert marked(manager) is None
    manager.clock.at += 60

    box = Box("SN-1", hardware=HARDWARE)
    manager.csr(box)
    manage.decide(manager.registry, "SN-1")
    manager.enrol(box)

    assert marked(manager) is None
    say(manager, device, status(C), status(C))
    assert marked(manager) is None


def test_both_are_enrolled_anew_with_keys_of_their_own_and_nobody_with_the_key_that_two_had(manager: Manager, device: str) -> None:
    """As docs/fleet.md says."""
    say(manager, device, *fight(2, device))
    manage.to_revoke(manager.registry, device)
    manager.clock.at += 60
    manage.add_batch(manager.registry, "berlin", "retail", "DE", {"SN-2": None})
    first, second = Box("SN-1", hardware=HARDWARE), Box("SN-2", hardware="f" * 16)

    for box in (first, second):
        assert manager.csr(box)["said"] == "waiting"
        manage.decide(manager.registry, box.serial)
        manager.enrol(box)

    found = {one.serial: one for one in manage.devices(manager.registry)}
    assert [found[serial].state for serial in ("SN-1", "SN-2")] == ["live", "live"]
    assert found["SN-1"].name == device != found["SN-2"].name
    assert [one.two_machines for one in found.values()] == [None, None]


@pytest.mark.parametrize("payload", [b"", b"null", b"[" * 10_000, b"\xff", json.dumps({"session": "x"}).encode()])
def test_what_is_no_status_and_who_is_no_device_change_nothing(manager: Manager, device: str, payload: bytes) -> None:
    assert statuses.hear(manager.registry, device, payload) is None
    assert say(manager, "stranger", *fight(3, "stranger")) == []
    assert (marked(manager), logged(manager)) == (None, [])


def test_a_version_that_is_worded_to_be_shown_on_a_terminal_is_harmless(manager: Manager, device: str) -> None:
    """Whoever has the key of one device words it. PostgreSQL stores no NUL."""
    said = [status(one.session, one.taken_over, software="1\x1b[2J\n\0" + 2000 * "x") for one in fight(2, device)]

    found = say(manager, device, *said)

    assert len(found) == 1
    assert f"(mien 1[2J{36 * 'x'}, " in found[0]
    assert found[0].isprintable()
