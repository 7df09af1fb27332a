"""What comes down to the watching process, and what else may lie there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device import inbox
from device.errors import SpoolError
from device.inbox import MAX_FILE_BYTES


def test_commands_are_there_until_they_are_removed_the_oldest_first(tmp_path: Path) -> None:
    for at, name in ((2, "b"), (1, "c"), (3, "a")):
        inbox.put_command(tmp_path, name, name.encode())
        os.utime(tmp_path / "command" / f"{name}.json", (at, at))

    found, complaints = inbox.commands(tmp_path)

    assert ([content for _, content in found], complaints) == ([b"c", b"b", b"a"], [])
    inbox.remove(found[0][0])
    assert [content for _, content in inbox.commands(tmp_path)[0]] == [b"b", b"a"]


def test_the_same_command_left_twice_is_there_once(tmp_path: Path) -> None:
    for _ in range(2):
        inbox.put_command(tmp_path, "a1", b"{}")

    assert len(inbox.commands(tmp_path)[0]) == 1


def test_an_inbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert inbox.commands(tmp_path / "nothing") == ([], [])
    assert inbox.slot(tmp_path / "nothing", "twin") is None


def test_of_a_slot_the_newest_is_read(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        inbox.put_slot(tmp_path, "twin", content)

    assert inbox.slot(tmp_path, "twin") == b"new"
    assert inbox.slot(tmp_path, "model") is None


def test_a_link_a_pipe_a_folder_and_what_is_too_large_are_removed_unread_and_named(tmp_path: Path) -> None:
    folder, secret = tmp_path / "command", tmp_path / "secret"
    (folder / "folder.json" / "inside").mkdir(parents=True)
    secret.write_text("{}")
    (folder / "link.json").symlink_to(secret)
    os.mkfifo(folder / "pipe.json")
    (folder / "large.json").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    (folder / "not a name.json").write_bytes(b"{}")

    found, complaints = inbox.commands(tmp_path)

    assert (found, len(complaints)) == ([], 5)
    assert {complaint.split(": ")[0] for complaint in complaints} == {
        str(folder / name) for name in ("folder.json", "link.json", "pipe.json", "large.json", "not a name.json")
    }
    assert list(folder.iterdir()) == []
    assert secret.exists()


def test_a_slot_that_is_a_link_a_pipe_or_too_large_is_empty(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (tmp_path / "twin.json").symlink_to(secret)
    assert inbox.slot(tmp_path, "twin") is None

    os.mkfifo(tmp_path / "model.json")
    assert inbox.slot(tmp_path, "model") is None

    (tmp_path / "model.json").unlink()
    (tmp_path / "model.json").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    assert inbox.slot(tmp_path, "model") is None


def test_an_inbox_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("a file")

    with pytest.raises(SpoolError, match="inbox: nothing can be left there"):
        inbox.put_command(tmp_path / "inbox", "a1", b"{}")


def test_a_disk_that_is_full_leaves_the_inbox_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put_slot(tmp_path, "twin", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpoolError, match="No space left"):
        inbox.put_slot(tmp_path, "twin", b"new")

    assert inbox.slot(tmp_path, "twin") == b"old"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_in_place_of_a_slot_is_nothing_and_costs_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "twin.json").mkdir()
    before = len(os.listdir("/proc/self/fd"))

    assert [inbox.slot(tmp_path, "twin") for _ in range(5)] == [None] * 5

    assert len(os.listdir("/proc/self/fd")) == before
