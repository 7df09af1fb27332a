"""Whatever lies in the folders of a spool that is no report."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from device import spool as spool_module
from device.contract import dump
from device.spool import Limits, Spool, seq_of
from tests.build import envelope, put_reports


def names(folder: Path) -> list[int]:
    return sorted(seq_of(path) for path in folder.iterdir())


def place(path: Path, what: str) -> None:
    """Put something at ``path`` that is not a report."""
    whole = dump(envelope(1))
    match what:
        case "empty":
            path.write_bytes(b"")
        case "half written":
            path.write_bytes(whole[: len(whole) // 2])
        case "garbage":
            path.write_bytes(os.urandom(500))
        case "of another number":
            path.write_bytes(dump(envelope(7)))
        case "deep":
            path.write_bytes(b"[" * 8000)
        case "oversized":
            path.write_bytes(whole + b" " * spool_module.MAX_FILE_BYTES)
        case "with a field too many":
            path.write_bytes(whole.replace(b'{"kind"', b'{"faces":["x"],"kind"'))
        case "link":
            (path.parent.parent / "real.json").write_bytes(whole)
            path.symlink_to(path.parent.parent / "real.json")
        case "dangling link":
            path.symlink_to(path.parent / "nowhere")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "full folder":
            path.mkdir()
            (path / "file").write_bytes(b"x")


ODD = ("empty", "half written", "garbage", "of another number", "deep", "oversized", "with a field too many")
ODD_FILES = ("link", "dangling link", "fifo", "folder", "full folder")


@pytest.mark.parametrize("what", [*ODD, *ODD_FILES])
@pytest.mark.parametrize("name", ["report-000000000001.json", "notes.txt"])
def test_what_is_not_a_report_is_set_aside_and_blocks_nothing(tmp_path: Path, what: str, name: str) -> None:
    with closing(Spool(tmp_path, "send")) as spool:
        place(tmp_path / "new" / name, what)

        for path in spool.waiting():
            assert spool.read(path) is None

        assert not spool.waiting()
        assert spool.set_aside() == 1
        assert spool.is_set_aside(tmp_path / "new" / name)


@pytest.mark.parametrize("before", ["empty", "full folder"])
@pytest.mark.parametrize("what", ["empty", "full folder"])
def test_something_of_the_same_name_can_be_set_aside_again(tmp_path: Path, before: str, what: str) -> None:
    with closing(Spool(tmp_path, "send")) as spool:
        place(tmp_path / "bad" / "notes", before)
        place(tmp_path / "new" / "notes", what)

        assert spool.read(tmp_path / "new" / "notes") is None

        assert not spool.waiting()


@pytest.mark.parametrize("what", ["empty", "full folder"])
def test_the_files_that_were_set_aside_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(spool_module, "MAX_BAD", 3)
    with closing(Spool(tmp_path, "send")) as spool:
        for n in range(5):
            place(tmp_path / "new" / f"junk-{n}", what)

        for path in spool.waiting():
            spool.read(path)

        assert sorted(path.name for path in (tmp_path / "bad").iterdir()) == ["junk-2", "junk-3", "junk-4"]


@pytest.mark.parametrize("what", ["half written", "fifo", "full folder"])
def test_a_report_is_stored_beside_what_is_not_one(tmp_path: Path, what: str) -> None:
    with closing(Spool(tmp_path, "watch", Limits(files=1))) as spool:
        place(tmp_path / "new" / "report-000000000000.json", what)
        place(tmp_path / "new" / "notes", what)

        spool.put(envelope(1))
        spool.put(envelope(2))

    assert (tmp_path / "new" / "notes").exists()  # for `send` to set aside
    assert 2 in names(tmp_path / "new")
    assert 1 not in names(tmp_path / "new")


@pytest.mark.parametrize("what", ["half written", "dangling link", "fifo", "full folder"])
def test_what_was_being_written_when_the_power_went_is_removed(tmp_path: Path, what: str) -> None:
    put_reports(tmp_path, 1)
    place(tmp_path / "tmp" / "report-000000000002.json", what)

    with closing(Spool(tmp_path, "watch")) as spool:
        due = spool.next_seq

    assert due == 2
    assert not list((tmp_path / "tmp").iterdir())
