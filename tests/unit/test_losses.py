"""What a full spool has lost is counted once each, whenever the process that drops it ends."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path

import pytest

from device import durable, losses
from device.errors import SpoolError
from device.spool import Limits, Spool
from tests.build import envelope


def fill(folder: Path, begin: int, end: int, files: int = 2) -> int:
    """Put these reports; returns how many were said to be dropped."""
    with closing(Spool(folder, "watch", Limits(files=files))) as spool:
        return sum(spool.put(envelope(seq)) for seq in range(begin, end))


def dropped(folder: Path) -> int:
    """What the sending process reads."""
    with closing(Spool(folder, "send")) as spool:
        return spool.dropped()


def test_the_count_goes_on_after_a_restart(tmp_path: Path) -> None:
    assert dropped(tmp_path) == 0

    said = [fill(tmp_path, 1, 5), fill(tmp_path, 5, 8)]

    assert said == [2, 3]
    assert dropped(tmp_path) == 5
    assert not list((tmp_path / "dropped").iterdir())


def test_a_report_that_was_lost_before_it_could_be_stored_is_counted(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, "watch")) as spool:
        spool.put(envelope(1))
        spool.put(envelope(4))

    assert dropped(tmp_path) == 2


def test_what_a_process_that_was_killed_had_moved_and_not_counted_is_counted_by_the_next(tmp_path: Path) -> None:
    fill(tmp_path, 1, 5)
    waiting = tmp_path / "new" / "report-000000000003.json"
    waiting.rename(tmp_path / "dropped" / waiting.name)

    Spool(tmp_path, "watch").close()
    Spool(tmp_path, "watch").close()

    assert dropped(tmp_path) == 3


def test_what_a_process_that_was_killed_had_counted_and_not_deleted_is_not_counted_twice(tmp_path: Path) -> None:
    fill(tmp_path, 1, 5)
    (tmp_path / "dropped" / "report-000000000002.json").touch()
    (tmp_path / "dropped" / "what is this").mkdir()

    Spool(tmp_path, "watch").close()

    assert dropped(tmp_path) == 2
    assert not list((tmp_path / "dropped").iterdir())


def test_a_report_is_spared_when_it_is_taken_just_while_it_is_dropped(tmp_path: Path) -> None:
    fill(tmp_path, 1, 3)
    first, second = sorted((tmp_path / "new").iterdir())
    first.rename(tmp_path / "dropped" / first.name)

    with closing(Spool(tmp_path, "send")) as spool:
        spool.sent(first)
        Spool(tmp_path, "watch").close()
        second.unlink()  # by hand, which is nobody's loss
        spool.sent(second)

        assert spool.dropped() == 0
    fill(tmp_path, 2, 5)
    assert dropped(tmp_path) == 1


def test_while_the_disk_is_full_the_count_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full = durable.write, True

    def write(path: Path, content: bytes, **options: object) -> None:
        if full and path.name == losses.DROPPED:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(durable, "write", write)
    with closing(Spool(tmp_path, "watch", Limits(files=2))) as spool:
        for seq in range(1, 6):
            spool.put(envelope(seq))
        left = list((tmp_path / "dropped").iterdir())
        full = False
        spool.put(envelope(6))

    assert not left  # else they would fill the disk
    assert dropped(tmp_path) == 4


def test_numbers_go_on_when_only_the_count_is_left(tmp_path: Path) -> None:
    fill(tmp_path, 1, 8)
    for path in (tmp_path / "new").iterdir():
        path.unlink()

    with closing(Spool(tmp_path, "watch")) as spool:
        assert spool.next_seq == 6


@pytest.mark.parametrize("content", [b"", b"\0" * 9, b'{"reports": -3}', b'{"reports": 3, "up_to": 1e3}', b"[" * 2000])
def test_a_count_that_is_damaged_begins_anew_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    fill(tmp_path, 1, 5)
    (tmp_path / losses.DROPPED).write_bytes(content)

    fill(tmp_path, 5, 6)

    assert dropped(tmp_path) == 1


def test_a_number_that_no_file_name_has_room_for_is_damage(tmp_path: Path) -> None:
    """Else every report from then on would be set aside as none."""
    (tmp_path / losses.DROPPED).write_bytes(b'{"reports": 3, "up_to": 999999999999}')

    fill(tmp_path, 1, 2)

    with closing(Spool(tmp_path, "send")) as spool:
        assert [spool.read(path) is None for path in spool.waiting()] == [False]


def test_a_folder_in_the_place_of_the_count_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / losses.DROPPED).mkdir(parents=True)

    assert fill(tmp_path, 1, 5) == 2
    assert dropped(tmp_path) == 2


def test_a_count_that_may_not_be_read_is_said_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise OSError(errno.EACCES, "Permission denied")

    with closing(Spool(tmp_path, "send")) as spool:
        monkeypatch.setattr(durable, "read", fails)

        with pytest.raises(SpoolError, match="cannot read what was dropped"):
            spool.dropped()


def test_a_count_on_a_bad_place_of_the_card_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with closing(Spool(tmp_path, "watch")) as spool:
        (tmp_path / "dropped.json").write_text('{"reports": 3, "up_to": 3}')
        with monkeypatch.context() as bad:
            bad.setattr(durable, "read", fails)
            assert spool.dropped() == 0
            losses.Losses(tmp_path).skip(2)

        assert spool.dropped() == 2
