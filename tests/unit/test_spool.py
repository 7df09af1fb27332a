"""The spool: a report is there whole or not at all, in order, and nothing that lies in its folders stops it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device import durable
from device.contract import dump
from device.errors import SpoolBusyError, SpoolError
from device.spool import Limits, Spool, SpoolFullError, seq_of
from tests.build import envelope, put_reports


def names(folder: Path) -> list[int]:
    return sorted(seq_of(path) for path in folder.iterdir())


def deliver(folder: Path, *seqs: int, acknowledge: int = 0) -> None:
    """Take these as ``send`` does, and acknowledge."""
    with closing(Spool(folder, "send")) as spool:
        for path in spool.waiting():
            if seq_of(path) in seqs:
                spool.sent(path)
        spool.acknowledge(acknowledge)


def test_a_report_comes_out_as_it_went_in(tmp_path: Path) -> None:
    (put,) = put_reports(tmp_path, 1)

    with closing(Spool(tmp_path, "send")) as spool:
        (path,) = spool.waiting()
        read = spool.read(path)

    assert read == put
    assert read is not None
    assert (read.payload(), read.id) == (put.payload(), put.id)  # a resend repeats the same bytes


def test_a_report_is_on_the_disk_before_it_can_be_seen_and_its_place_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_rename = os.fsync, os.replace

    def sync(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().relative_to(tmp_path)}")
        real_sync(handle)

    def rename(source: Path, target: Path) -> None:
        done.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)

    put_reports(tmp_path, 1)

    assert done == [*["sync ."] * 5, "sync tmp/report-000000000001.json", "rename", "sync new"]


def test_a_folder_that_is_made_is_durable_with_those_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)

    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")

    assert synced == [tmp_path / "a", tmp_path]


def test_a_report_is_read_once_its_name_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could be sent, lost in a power cut, and its number given to another one."""
    put_reports(tmp_path, 3)
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)

    with closing(Spool(tmp_path, "send")) as spool:
        for path in spool.waiting():
            spool.read(path)
        assert synced == [tmp_path / "new"]  # once for all that were there
        put_reports(tmp_path, 1)
        synced.clear()
        spool.read(spool.waiting()[-1])

    assert synced == [tmp_path / "new"]


def test_reports_wait_in_the_order_in_which_they_were_put(tmp_path: Path) -> None:
    put_reports(tmp_path, 11)

    with closing(Spool(tmp_path, "send")) as spool:
        waiting = [seq_of(path) for path in spool.waiting()]

    assert waiting == list(range(1, 12))


def test_a_number_is_not_used_twice(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "watch")) as spool:
        spool.put(envelope(1))

        with pytest.raises(ValueError, match="report 1 put where 2 is due"):
            spool.put(envelope(1))

    assert len(names(tmp_path / "new")) == 1


def test_a_report_that_was_lost_before_it_could_be_stored_leaves_its_number_free(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "watch")) as spool:
        spool.put(envelope(1))
        spool.put(envelope(3))

        assert spool.next_seq == 4


@pytest.mark.parametrize(
    ("taken", "acknowledged", "left_new", "left_sent"),
    [
        ((), 0, [1, 2, 3], []),
        ((1,), 0, [2, 3], [1]),
        ((1, 2), 2, [3], [2]),
        ((1, 2, 3), 0, [], [1, 2, 3]),
        ((1, 2, 3), 3, [], [3]),
        ((1, 2, 3), 9, [], [3]),
        ((1, 3), 3, [2], [3]),
    ],
)
def test_numbers_go_on_after_a_restart_whatever_was_delivered(
    tmp_path: Path, taken: tuple[int, ...], acknowledged: int, left_new: list[int], left_sent: list[int]
) -> None:
    put_reports(tmp_path, 3)
    deliver(tmp_path, *taken, acknowledge=acknowledged)

    with closing(Spool(tmp_path, "watch")) as spool:
        due = spool.next_seq

    assert due == 4
    assert (names(tmp_path / "new"), names(tmp_path / "sent")) == (left_new, left_sent)


def test_a_report_that_is_delivered_just_while_watch_starts_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_reports(tmp_path, 1)
    new, sent = (tmp_path / name / "report-000000000001.json" for name in ("new", "sent"))
    real = Path.iterdir

    def delivered_after_the_first_look(folder: Path) -> Iterator[Path]:
        found = list(real(folder))
        if folder.name in ("new", "sent") and new.exists():
            new.rename(sent)
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", delivered_after_the_first_look)

    with closing(Spool(tmp_path, "watch")) as spool:
        assert spool.next_seq == 2


def test_numbers_start_at_one(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "not" / "there" / "yet", "watch")) as spool:
        assert spool.next_seq == 1


def test_the_number_of_a_damaged_report_is_not_given_twice(tmp_path: Path) -> None:
    put_reports(tmp_path, 2)
    path = tmp_path / "new" / "report-000000000002.json"
    path.write_bytes(b"")
    with closing(Spool(tmp_path, "send")) as spool:
        assert spool.read(path) is None

    with closing(Spool(tmp_path, "watch")) as spool:
        assert spool.next_seq == 3


def test_a_full_spool_drops_the_oldest_and_says_how_many(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "watch", Limits(files=3))) as spool:
        dropped = [spool.put(envelope(seq)) for seq in range(1, 6)]

    assert dropped == [0, 0, 0, 1, 1]
    assert names(tmp_path / "new") == [3, 4, 5]


def test_a_spool_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    size = len(dump(envelope(1)))

    with closing(Spool(tmp_path, "watch", Limits(bytes=2 * size + size // 2))) as spool:
        dropped = [spool.put(envelope(seq)) for seq in range(1, 5)]

    assert dropped == [0, 0, 1, 1]
    assert names(tmp_path / "new") == [3, 4]


def test_the_newest_report_is_kept_however_small_the_spool(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "watch", Limits(files=1, bytes=1))) as spool:
        dropped = [spool.put(envelope(seq)) for seq in (1, 2)]

    assert dropped == [0, 1]
    assert names(tmp_path / "new") == [2]


def test_what_was_delivered_goes_before_what_waits_and_is_no_loss(tmp_path: Path) -> None:
    put_reports(tmp_path, 3)
    deliver(tmp_path, 1, 2)

    with closing(Spool(tmp_path, "watch", Limits(files=2))) as spool:
        dropped = spool.put(envelope(4))

    assert dropped == 0
    assert names(tmp_path / "new") == [3, 4]


def test_a_full_spool_keeps_the_newest_delivered_report(tmp_path: Path) -> None:
    put_reports(tmp_path, 2)
    deliver(tmp_path, 1, 2, acknowledge=2)

    with closing(Spool(tmp_path, "watch", Limits(files=2))) as spool:
        dropped = sum(spool.put(envelope(seq)) for seq in range(3, 8))

    assert (names(tmp_path / "sent"), names(tmp_path / "new")) == ([2], [6, 7])
    assert dropped == 3


def test_a_report_that_has_gone_meanwhile_is_no_error(tmp_path: Path) -> None:
    put_reports(tmp_path, 1)
    with closing(Spool(tmp_path, "send")) as spool:
        (path,) = spool.waiting()
        path.unlink()

        assert spool.read(path) is None
        spool.sent(path)

        assert not spool.is_set_aside(path)


@pytest.mark.parametrize(("side", "other"), [("watch", "send"), ("send", "watch")])
def test_each_side_is_held_once_and_the_sides_do_not_exclude_each_other(tmp_path: Path, side: str, other: str) -> None:
    with closing(Spool(tmp_path, side)), closing(Spool(tmp_path, other)):  # type: ignore[arg-type]
        with pytest.raises(SpoolBusyError, match=f"another 'mien {side}' is using this spool") as caught:
            Spool(tmp_path, side)  # type: ignore[arg-type]
        assert caught.value.exit_code == 75

    Spool(tmp_path, side).close()  # type: ignore[arg-type]  # let go of, it can be held again


@pytest.mark.parametrize("where", ["file/spool", "file", "/proc/spool"])
def test_a_spool_that_cannot_be_made_is_refused_with_its_folder(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SpoolError, match="cannot be used as a spool") as caught:
        Spool(tmp_path / where, "watch")

    assert caught.value.exit_code == 73


def test_a_spool_whose_folders_vanish_is_said_without_a_traceback(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "send")) as spool:
        (tmp_path / "new").rmdir()

        with pytest.raises(SpoolError, match="cannot be listed"):
            spool.waiting()


def test_a_report_that_cannot_be_stored_leaves_the_spool_as_it_was(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "watch")) as spool:
        (tmp_path / "new").rmdir()
        (tmp_path / "new").touch()
        with pytest.raises(SpoolFullError, match="cannot store report 1"):
            spool.put(envelope(1))
        assert not list((tmp_path / "tmp").iterdir())
        (tmp_path / "new").unlink()

        spool.put(envelope(1))

        assert (names(tmp_path / "new"), spool.next_seq) == ([1], 2)
