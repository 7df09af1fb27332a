"""The clock: monotonic for windows, UTC as a label, and whether anybody keeps it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from device import clock
from device.clock import BOOT_ID, Clock, kept_by_the_kernel, this_boot


def test_the_boot_is_the_kernels() -> None:
    assert BOOT_ID.read_text().startswith(this_boot().boot)
    assert this_boot() == this_boot()


def test_where_the_kernel_tells_no_boot_id_each_process_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clock, "BOOT_ID", tmp_path / "nothing")

    assert this_boot().boot != this_boot().boot
    assert len(this_boot().boot) == 8


def test_a_moment_is_labelled_by_the_system_clock_as_it_is_now() -> None:
    one = Clock("5f0c1a2b")

    told = one.utc(one.now() - 60)

    assert abs(datetime.now(timezone.utc) - timedelta(seconds=60) - told) < timedelta(seconds=5)


def test_windows_are_cut_by_a_clock_that_nobody_can_set(monkeypatch: pytest.MonkeyPatch) -> None:
    one, before = Clock("5f0c1a2b"), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: 0.0)

    assert before <= one.now() <= time.monotonic()


def test_timesyncds_flag_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clock, "kept_by_the_kernel", lambda: False)
    monkeypatch.setattr(clock, "SYNCHRONIZED", tmp_path / "synchronized")
    before = Clock("5f0c1a2b").synced()
    (tmp_path / "synchronized").touch()

    assert (before, Clock("5f0c1a2b").synced()) == (False, True)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [(0, True), (1, True), (2, True), (clock.TIME_ERROR, False), (-1, False)],
    ids=["ok", "a second to insert", "a second to delete", "nobody keeps it", "forbidden"],
)
def test_the_kernel_says_whether_somebody_keeps_its_clock(monkeypatch: pytest.MonkeyPatch, answer: int, kept: bool) -> None:
    class Library:
        def adjtimex(self, only_look: object) -> int:
            assert bytes(only_look) == b"\0" * clock.TIMEX_BYTES  # type: ignore[call-overload]  # no mode: nothing is set
            return answer

    monkeypatch.setattr("ctypes.CDLL", lambda _: Library())

    assert kept_by_the_kernel() is kept


def test_this_kernel_answers() -> None:
    assert kept_by_the_kernel() in (True, False)
