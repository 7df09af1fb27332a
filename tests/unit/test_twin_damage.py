"""What lies around and is none of ours: the twin in the watching process goes on with what is in force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.limits import file_limit
from tests.twins import Device


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"applied": 3}', b"\xff", b"x" * 100_000])
def test_a_memory_that_is_damaged_is_said_and_the_wish_is_taken_from_the_inbox_again(device: Device, content: bytes) -> None:
    device.wish(1, k=7)
    device.run()
    (device.settings.state_folder / "twin.json").write_bytes(content)
    device.start()

    assert device.run().k == 7
    assert device.says() == ("applied", 1, 7)
    if len(content) < 100_000:
        assert any("cannot be used" in event for event in device.events())


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 8000, b"\xff\xfe", b"x" * 1_000_000, b'{"epoch":1,"version":1}'])
def test_rubbish_in_the_inbox_changes_nothing_and_is_said_once(device: Device, content: bytes) -> None:
    device.run()
    device.put(content)

    assert [device.keeper.wants(at) for at in (1.0, 2.0, 3.0)] == [False, False, False]

    assert device.says() == ("applied", 0, 4)
    assert len([event for event in device.events() if "ignored" in event]) <= 1


def test_a_link_in_the_inbox_is_not_followed(device: Device, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"epoch": 1, "version": 1, "desired": {"k": 7}}))
    device.settings.inbox_folder.mkdir(parents=True)
    (device.settings.inbox_folder / "twin.json").symlink_to(secret)

    assert device.run().k == 4


def test_what_cannot_be_remembered_is_not_done(device: Device) -> None:
    device.run()
    device.wish(1, k=7)
    device.keeper.wants(1.0)

    with file_limit(0):
        assert device.begin().k == 4
        assert device.says() == ("applied", 0, 4)
    assert len([event for event in device.events() if "cannot be written" in event]) == 1

    device.keeper.wants(2.0)
    assert device.run().k == 7
    assert device.says() == ("applied", 1, 7)
