"""Commands in the watching process: done once, noted with their effect, and answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from device import inbox, remember
from device.consent import Consent
from device.contract_command import LONGEST
from tests.watching import Watching


def test_a_pause_holds_for_its_time_and_is_answered(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600).look()

    assert w.answer("a1") == ("succeeded", None)
    assert w.waiting == []
    w.clock.move(599)
    assert w.paused
    w.clock.move(2)
    assert not w.paused


def test_a_pause_goes_on_when_the_process_starts_again_and_is_not_longer_for_it(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600).look()
    w.clock.move(300)

    again = w.again()

    assert again.paused
    again.clock.move(301)
    assert not again.paused


def test_a_pause_begins_again_when_the_machine_starts(watching: Watching) -> None:
    """Nobody knows for how long it was off."""
    w = watching.left("a1", "pause", 600).look()
    w.clock.move(599)

    again = w.again(boot="0b00710b")

    assert again.paused
    again.clock.move(599)
    assert again.again(boot="0b00710b").paused


def test_a_shorter_pause_does_not_end_a_longer_one_and_a_resume_ends_both(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600).look().left("a2", "pause", 5).look()
    w.clock.move(10)
    assert w.paused

    resumed = w.left("a3", "resume").look()

    assert (resumed.paused, resumed.again().paused) == (False, False)


def test_a_pause_ends_a_consent_that_was_given(tmp_path: Path) -> None:
    w = Watching(tmp_path)
    w.consent = Consent(opt_in=True, lasts=1000)
    w.consent.give(w.clock.now())

    w.left("a1", "pause", 5).look()

    assert not w.consent.given(w.clock.now())


def test_a_command_that_comes_again_is_answered_and_not_done(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600).look().left("a2", "resume").look()

    w.left("a1", "pause", 600).look()

    assert not w.paused
    assert (w.answer("a1"), w.waiting) == (("succeeded", None), [])


@pytest.mark.parametrize("boot", ["5f0c1a2b", "0b00710b"], ids=["of the process", "of the machine"])
def test_a_command_that_comes_again_is_known_after_a_start(watching: Watching, boot: str) -> None:
    w = watching.left("a1", "pause", 600).look().left("a2", "resume").look()

    again = w.again(boot).left("a1", "pause", 600).look()

    assert not again.paused
    assert again.answer("a1") == ("succeeded", None)


def test_what_was_done_before_the_machine_started_is_known_however_long_it_runs_by_now(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600).look().left("a2", "resume").look()
    w.clock.move(100_000)  # the new clock has nothing to do with the old one

    again = w.again(boot="0b00710b").look().left("a1", "pause", 600).look()

    assert not again.paused


@pytest.mark.parametrize("expires", [0.0, -1.0])
def test_a_command_that_is_too_old_is_not_done(watching: Watching, expires: float) -> None:
    w = watching.left("a1", "pause", 600, expires).look()

    assert not w.paused
    assert (w.answer("a1"), w.waiting) == (("rejected", "expired"), [])


def test_a_command_from_before_the_machine_started_is_too_old(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600).again(boot="0b00710b").look()

    assert not w.paused
    assert w.answer("a1") == ("rejected", "expired")


def test_nobody_can_leave_a_command_for_later(watching: Watching) -> None:
    w = watching.left("a1", "pause", 600, LONGEST + 10.0).look()

    assert w.answer("a1") == ("rejected", "expired")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"[" * 4000 + b"]" * 4000,
        b'{"schema":1,"id":"other","command":{"command":"pause","seconds":60},"boot":"5f0c1a2b","until":1050}',
        b'{"schema":1,"id":"x","command":{"command":"open"},"boot":"5f0c1a2b","until":1050}',
        b'{"schema":1,"id":"x","command":{"command":"pause","seconds":60},"boot":"5f0c1a2b","until":NaN}',
    ],
)
def test_what_is_no_command_is_removed_and_said(watching: Watching, content: bytes) -> None:
    inbox.put_command(watching.settings.inbox_folder, "x", content)

    watching.look()

    assert not watching.paused
    assert watching.waiting == []
    assert "x.json: is not a command, and was removed" in watching.entries[-1]["event"]


def test_more_commands_than_can_be_remembered_are_refused(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remember, "MOST", 2)
    for n in range(3):
        watching.left(f"a{n}", "pause", 0).look()

    assert [watching.answer(f"a{n}") for n in range(3)] == [("succeeded", None)] * 2 + [("rejected", "busy")]

    watching.clock.move(remember.REMEMBER)
    assert watching.look().answer("a0") is None
    assert watching.left("a3", "pause", 0).look().answer("a3") == ("succeeded", None)


def test_a_disk_that_cannot_be_written_stops_no_pause(watching: Watching) -> None:
    watching.settings.state_folder.write_text("a file")

    watching.left("a1", "pause", 600).look()

    assert watching.paused
    assert watching.answer("a1") == ("succeeded", None)
    assert "cannot be written" in next(e["event"] for e in watching.entries if e["log_level"] == "error")


def test_a_memory_that_is_damaged_is_said_and_forgotten(watching: Watching) -> None:
    watching.left("a1", "pause", 600).look()
    (watching.settings.state_folder / "commands.json").write_bytes(b'{"known": [')

    again = watching.again()

    assert not again.paused
    assert "cannot be read (not what was written there)" in again.entries[0]["event"]
