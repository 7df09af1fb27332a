"""Commands that come down."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device import inbox
from device.contract import PauseCommand
from device.errors import SpoolError


def test_a_command_arrives_once(tmp_path: Path) -> None:
    inbox.put(tmp_path / "inbox", PauseCommand(command="pause", seconds=60))

    assert inbox.take(tmp_path / "inbox") == ([PauseCommand(command="pause", seconds=60)], [])
    assert inbox.take(tmp_path / "inbox") == ([], [])


def test_an_inbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert inbox.take(tmp_path / "nothing") == ([], [])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"command": "open the door"}', b'{"command":"pause","seconds":-1}', b"\xff" * 9000]
)
def test_what_is_no_command_is_removed_and_said(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "command"
    folder.mkdir()
    (folder / "x.json").write_bytes(content)

    commands, complaints = inbox.take(tmp_path)

    assert commands == []
    assert len(complaints) == 1
    assert "x.json: is not a command" in complaints[0]
    assert list(folder.iterdir()) == []


def test_a_link_and_a_pipe_are_not_followed_and_do_not_block(tmp_path: Path) -> None:
    folder, secret = tmp_path / "command", tmp_path / "secret"
    folder.mkdir()
    secret.write_text('{"command": "pause", "seconds": 60}')
    (folder / "link.json").symlink_to(secret)
    os.mkfifo(folder / "pipe.json")

    commands, complaints = inbox.take(tmp_path)

    assert (commands, len(complaints)) == ([], 2)
    assert secret.exists()


def test_an_inbox_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("a file")

    with pytest.raises(SpoolError, match="inbox: the command cannot be left there"):
        inbox.put(tmp_path / "inbox", PauseCommand(command="pause", seconds=60))
