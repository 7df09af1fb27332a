"""The name of a device's connection: its own for ever, and nobody else's to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.connection_name import connection_name
from device.errors import SpoolError


def test_it_stays_the_same_and_is_for_its_owner_to_read(tmp_path: Path) -> None:
    first = connection_name(tmp_path / "send")

    assert connection_name(tmp_path / "send") == first
    assert (tmp_path / "send" / "connection_name").stat().st_mode & 0o777 == 0o600


def test_no_two_devices_have_the_same_one_and_every_broker_takes_it(tmp_path: Path) -> None:
    names = {connection_name(tmp_path / str(n)) for n in range(50)}

    assert len(names) == 50
    assert {len(name) for name in names} == {22}


@pytest.mark.parametrize("left", [b"", b"shelf-7", b"\xff" * 22, b"a" * 1000])
def test_a_file_that_is_damaged_is_replaced(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "connection_name").write_bytes(left)

    name = connection_name(tmp_path)

    assert name.encode() != left
    assert connection_name(tmp_path) == name


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "send").write_text("a file")

    with pytest.raises(SpoolError, match="send_folder"):
        connection_name(tmp_path / "send")
