"""ε is on disk before it is spent, comes back with running time alone, and is never guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.contract import dump
from device.ledger import Ledger, LedgerBusyError, LedgerError
from device.noise import Budget
from device.privacy import Circumstances, Gate, Terms
from tests.build import HASHES, NOON, SetClock, window
from tests.limits import file_limit

WINDOW = 900
BUDGET = Budget(WINDOW, 1_000_000, 100_000_000)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(1000.0)


@pytest.fixture
def ledger(tmp_path: Path, clock: SetClock) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path, BUDGET, clock)) as opened:
        yield opened


def opened(folder: Path, clock: SetClock, budget: Budget = BUDGET) -> Ledger:
    """A ledger that a new process opens."""
    made = Ledger(folder, budget, clock)
    made.close()
    return made


def on_disk(folder: Path) -> Any:
    return json.loads((folder / "ledger.json").read_text())["page"]


def another_boot(clock: SetClock, now: float) -> SetClock:
    later = SetClock(now)
    object.__setattr__(later, "boot", "0badcafe" if clock.boot != "0badcafe" else "5f0c1a2b")
    return later


def test_a_budget_begins_empty_and_a_window_of_running_time_earns_a_window(ledger: Ledger, clock: SetClock) -> None:
    assert ledger.left == 0
    assert not ledger.charge()
    clock.move(WINDOW)

    assert ledger.charge()
    assert not ledger.charge()


def test_a_charge_is_on_disk_when_it_returns(ledger: Ledger, clock: SetClock, tmp_path: Path) -> None:
    clock.move(2 * WINDOW)

    ledger.charge()

    page = on_disk(tmp_path)
    assert (page["spent"], page["left"], page["counted_to"]) == (1_000_000, 1_000_000, 2_800_000)


def test_every_window_of_a_day_is_paid_for_without_a_break(ledger: Ledger, clock: SetClock) -> None:
    paid = 0
    for _ in range(96):
        clock.move(WINDOW)
        paid += ledger.charge()

    assert paid == 96


def test_no_more_than_two_windows_are_ever_saved(ledger: Ledger, clock: SetClock) -> None:
    clock.move(10 * 86_400)

    assert [ledger.charge() for _ in range(3)] == [True, True, False]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(st.integers(1, 40_000), st.integers(1, 4), st.booleans()), min_size=5, max_size=60))
def test_no_day_of_running_time_costs_more_than_it_may(steps: list[tuple[int, int, bool]], tmp_path_factory: Any) -> None:
    """Whatever happens: idle hours, many windows at once, restarts."""
    folder, clock = tmp_path_factory.mktemp("state"), SetClock(0.0)
    ledger = Ledger(folder, BUDGET, clock)
    paid: list[float] = []
    for seconds, windows, restarts in steps:
        clock.move(seconds)
        if restarts:
            ledger.close()
            ledger = Ledger(folder, BUDGET, clock)
        paid += [clock.now() for _ in range(windows) if ledger.charge()]
    ledger.close()

    for start in paid:
        assert sum(start <= moment <= start + 86_400 for moment in paid) * BUDGET.window <= BUDGET.day


def test_a_restart_counts_the_time_of_the_same_boot(tmp_path: Path, clock: SetClock) -> None:
    opened(tmp_path, clock)
    clock.move(WINDOW)

    assert opened(tmp_path, clock).left == 1_020_833


def test_another_boot_keeps_what_was_left_and_earns_nothing_for_the_time_between(tmp_path: Path, clock: SetClock) -> None:
    opened(tmp_path, clock)
    clock.move(WINDOW)
    before = opened(tmp_path, clock).left

    assert opened(tmp_path, another_boot(clock, 10.0**6)).left == before
    assert opened(tmp_path, another_boot(clock, 3.0)).left == before


def test_a_calendar_that_jumps_changes_nothing(ledger: Ledger, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 4e9)

    assert ledger.left == 0
    assert not ledger.charge()


def test_a_monotonic_clock_that_goes_back_earns_nothing(ledger: Ledger, clock: SetClock) -> None:
    clock.move(-500)

    assert ledger.left == 0


def test_removing_the_file_gives_nothing_back(tmp_path: Path, clock: SetClock) -> None:
    opened(tmp_path, clock)
    clock.move(WINDOW)
    with closing(Ledger(tmp_path, BUDGET, clock)) as ledger:
        ledger.charge()
    (tmp_path / "ledger.json").unlink()

    assert opened(tmp_path, clock).left == 0


def test_a_file_removed_while_it_is_kept_is_written_again(ledger: Ledger, clock: SetClock, tmp_path: Path) -> None:
    (tmp_path / "ledger.json").unlink()
    clock.move(WINDOW)

    assert ledger.charge()
    assert on_disk(tmp_path)["spent"] == 1_000_000


def changed(content: bytes, **page: Any) -> bytes:
    found = json.loads(content)
    found["page"].update(page)
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:60],
        lambda content: content + b"{}",
        lambda content: b"\0" * 4096,
        lambda content: b"\xff\xfe" + content,
        lambda content: content.replace(b'"left":0', b'"left":9'),
        lambda content: changed(content, spent=0, left=2_000_000),
        lambda content: changed(content, left=-1),
        lambda content: changed(content, left=1.5),
        lambda content: changed(content, more=1),
        lambda content: b'{"page": {}, "sha256": ""}',
        lambda content: b"[]",
    ],
)
def test_a_damaged_file_is_set_aside_and_the_budget_begins_empty(tmp_path: Path, clock: SetClock, damage: Any) -> None:
    opened(tmp_path, clock)
    file = tmp_path / "ledger.json"
    broken = damage(file.read_bytes())
    file.write_bytes(broken)

    with closing(Ledger(tmp_path, BUDGET, clock)) as ledger:
        assert ledger.left == 0
        assert not ledger.charge()
        clock.move(WINDOW)
        assert ledger.charge()
    assert f"{file}: the ε ledger is damaged or was changed; it was moved to {file}.bad" in ledger.damage
    assert (tmp_path / "ledger.json.bad").read_bytes() == broken
    assert opened(tmp_path, clock).damage == ""


def test_a_smaller_budget_in_the_settings_holds_at_once(tmp_path: Path, clock: SetClock) -> None:
    opened(tmp_path, clock)
    clock.move(86_400)
    opened(tmp_path, clock)

    assert opened(tmp_path, clock, Budget(WINDOW, 10_000, 1_000_000)).left == 20_000


def test_a_disk_that_fails_publishes_nothing(ledger: Ledger, clock: SetClock, tmp_path: Path) -> None:
    clock.move(WINDOW)

    with file_limit(0):
        assert not ledger.charge()
    assert "cannot be written" in ledger.refusal
    assert ledger.charge()
    assert ledger.refusal == ""


def test_a_refusal_says_what_is_left_and_when_it_comes_back(ledger: Ledger, clock: SetClock) -> None:
    clock.move(450)
    ledger.charge()

    assert "ε 0.510416 is left and a window costs 1" in ledger.refusal
    assert "earns 4.08 an hour" in ledger.refusal


def test_a_second_process_on_the_same_ledger_is_75(ledger: Ledger, clock: SetClock, tmp_path: Path) -> None:
    with pytest.raises(LedgerBusyError, match="state_folder of its own") as caught:
        Ledger(tmp_path, BUDGET, clock)

    assert caught.value.exit_code == 75


def test_a_folder_that_cannot_be_used_is_73(tmp_path: Path, clock: SetClock) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/dev/null")

    for folder in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(LedgerError) as caught:
            Ledger(folder, BUDGET, clock)
        assert caught.value.exit_code == 73
        assert str(folder) in str(caught.value)


def test_the_ledger_is_charged_before_there_is_a_report(ledger: Ledger, clock: SetClock, tmp_path: Path) -> None:
    spent: list[int] = []

    def noise(_: Fraction) -> int:
        spent.append(on_disk(tmp_path)["spent"])
        return 0

    gate = Gate(Terms(3, "discrete-laplace", Fraction(1)), charge=ledger.charge, noise=noise)
    clock.move(WINDOW)
    reports = [gate.release(window({"neutral": 9}), Circumstances(n, NOON, "5f0c1a2b", True, HASHES)) for n in (1, 2)]

    assert set(spent) == {1_000_000}
    assert [made.withheld for (made,) in reports] == [None, "budget"]
    assert b'"people":9' in dump(reports[0][0])
