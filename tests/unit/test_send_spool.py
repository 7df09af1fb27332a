"""What the sending process makes of the spool: reports that are missing, damaged or many."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from device.errors import SpoolError
from device.publishers import Connected, Disconnected
from device.sender import COUNT_EVERY, STATUS_EVERY, UNCONFIRMED
from device.spool import Limits, Spool, seq_of
from tests.build import envelope
from tests.sending import Make


def fill(folder: Path, begin: int, end: int, files: int) -> None:
    """Put these reports into a spool that holds so many."""
    with closing(Spool(folder / "spool", "watch", Limits(files=files))) as spool:
        for seq in range(begin, end):
            spool.put(envelope(seq))


def test_what_a_full_spool_dropped_is_counted_and_reported_at_once(bench: Make, tmp_path: Path) -> None:
    b = bench(3).happens(Connected())
    assert b.statuses[-1]["spool"] == {"waiting": 3, "dropped": 0, "set_aside": 0}

    fill(tmp_path, 4, 8, files=3)
    b.later(COUNT_EVERY)

    assert b.said() == ["the spool is full: the oldest reports were dropped before they were sent"]
    assert b.statuses[-1]["spool"] == {"waiting": 3, "dropped": 4, "set_aside": 0}


def test_old_reports_that_are_dropped_after_newer_ones_have_gone_are_counted(bench: Make, tmp_path: Path) -> None:
    """A device that is back after long sends what is new before the backlog, and the spool stays full meanwhile."""
    b = bench(4).happens(Connected()).took(4)
    b.happens(Disconnected("it broke", 1.0))

    fill(tmp_path, 5, 7, files=2)
    b.later(COUNT_EVERY).happens(Connected()).took(5, 6).later(STATUS_EVERY)

    assert b.statuses[-1]["spool"] == {"waiting": 0, "dropped": 3, "set_aside": 0}


def test_a_sending_process_that_is_started_again_says_the_same_number(bench: Make, tmp_path: Path) -> None:
    fill(tmp_path, 1, 8, files=3)
    first = bench().happens(Connected()).took(5, 6, 7)
    first.spool.close()

    b = bench(1).happens(Connected())

    assert [one.statuses[-1]["spool"]["dropped"] for one in (first, b)] == [4, 4]
    assert not b.said()


def test_a_report_that_was_on_its_way_when_it_was_dropped_and_arrives_is_no_loss(bench: Make, tmp_path: Path) -> None:
    b = bench(3).happens(Connected())
    fill(tmp_path, 4, 6, files=2)
    b.later(COUNT_EVERY)
    assert b.statuses[-1]["spool"]["dropped"] == 3

    b.took(1, 2).later(STATUS_EVERY)
    b.spool.close()

    assert b.statuses[-1]["spool"]["dropped"] == 1
    assert bench().happens(Connected()).statuses[-1]["spool"]["dropped"] == 1


def test_reports_that_were_delivered_and_deleted_are_not_counted_as_dropped(bench: Make) -> None:
    bench(3).happens(Connected()).took(1, 2, 3).spool.close()
    b = bench(1)

    b.happens(Connected()).took(4).later(STATUS_EVERY)

    assert b.statuses[-1]["spool"]["dropped"] == 0
    assert not b.said()


def test_reports_taken_out_of_order_are_not_counted_as_dropped(bench: Make) -> None:
    b = bench(3).happens(Connected())

    b.took(3, 1, 2).later(STATUS_EVERY)

    assert b.statuses[-1]["spool"]["dropped"] == 0


def test_a_file_that_is_not_a_report_is_set_aside_said_once_and_holds_nothing_up(bench: Make) -> None:
    b = bench(2)
    (b.folder / "spool" / "new" / "report-000000000001.json").write_bytes(b'{"kind": "rep')

    b.happens(Connected()).took(2).later(STATUS_EVERY)

    assert b.published == [2]
    assert [line for line in b.said() if "was not a report" in line] == b.said()[:1]
    assert b.statuses[-1]["spool"] == {"waiting": 0, "dropped": 0, "set_aside": 1}
    assert b.sender.idle is False  # the status is on its way


def test_a_report_that_goes_while_it_is_looked_at_is_not_called_bad(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(1)
    listed = b.spool.waiting()
    listed[0].unlink()
    monkeypatch.setattr(b.spool, "waiting", lambda: listed)

    b.happens(Connected())

    assert not b.said()


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(2)
    real = b.spool.read

    def failing(path: Path) -> Any:
        if seq_of(path) == 1:
            raise SpoolError(f"{path}: cannot read the report (Input/output error); check the disk")
        return real(path)

    monkeypatch.setattr(b.spool, "read", failing)

    b.happens(Connected()).took(2).later(1).later(1)

    assert b.published == [2]
    assert len(b.said()) == 1
    assert b.held("new") == [1]


def test_a_long_backlog_is_listed_a_few_times_and_not_for_every_report(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(10 * UNCONFIRMED)
    listings: list[int] = []
    waiting = b.spool.waiting

    def counted() -> list[Path]:
        listings.append(len(listings))
        return waiting()

    monkeypatch.setattr(b.spool, "waiting", counted)

    b.happens(Connected())
    while b.held("new"):
        b.took(*(seq for seq in b.held("new") if seq in b.published))

    assert b.published == list(range(1, 10 * UNCONFIRMED + 1))
    assert len(listings) <= 5
