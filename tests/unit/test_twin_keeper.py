"""The twin in the watching process: each state, and a new process in each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device.errors import CameraError
from device.ledger import LedgerError
from device.twin import ATTEMPTS
from device.twin_keeper import in_force, kept
from tests.twins import Device


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_before_the_first_wish_the_file_is_in_force_and_told(device: Device) -> None:
    assert device.run().k == 4

    assert device.says() == ("applied", 0, 4)
    assert device.said.from_twin == ()


def test_a_wish_waits_for_the_window_s_end_and_is_in_force_once_it_works(device: Device) -> None:
    device.run()
    device.wish(1, k=7)

    assert device.keeper.wants(1.0)
    assert device.says() == ("applied", 0, 4)
    assert device.begin().k == 7
    assert device.says() == ("applied", 0, 4)
    device.keeper.works()

    assert device.says() == ("applied", 1, 7)
    assert not device.keeper.wants(2.0)
    assert in_force(device.settings).k == 7


def test_a_wish_that_is_refused_is_answered_at_once_and_ends_no_run(device: Device) -> None:
    device.run()
    device.wish(1, k=3, camera={"fps": 900})

    assert not device.keeper.wants(1.0)

    assert device.says() == ("rejected", 1, 4)
    assert [error.path for error in device.said.errors] == ["camera.fps"]


def test_a_newer_wish_replaces_one_that_waits(device: Device) -> None:
    device.run()
    device.wish(1, k=7)
    device.keeper.wants(1.0)
    device.wish(2, k=8)
    device.keeper.wants(2.0)

    assert device.run().k == 8
    assert device.says() == ("applied", 2, 8)


def test_a_newer_wish_that_is_refused_takes_the_one_that_waits_with_it(device: Device) -> None:
    device.run()
    device.wish(1, k=7)
    device.keeper.wants(1.0)
    device.wish(2, k=1)

    assert not device.keeper.wants(2.0)
    assert device.run().k == 4
    assert device.says() == ("rejected", 2, 4)


@pytest.mark.parametrize(("epoch", "version"), [(1, 5), (1, 4), (0x7FFF, 0), (0, 9)])
def test_a_stale_wish_the_same_wish_and_what_is_none_change_nothing(device: Device, epoch: int, version: int) -> None:
    device.wish(5, k=7)
    device.run()
    device.wish(version, epoch, k=9)

    assert not device.keeper.wants(1.0)
    assert device.run().k == 7
    assert device.says() == ("applied", 5, 7)


def test_a_registry_that_was_restored_is_heard_again_in_a_new_epoch(device: Device) -> None:
    device.wish(5, k=7)
    device.run()
    device.wish(1, epoch=2, k=6)

    assert device.keeper.wants(1.0)
    assert device.run().k == 6
    assert (device.said.epoch, device.says()) == (2, ("applied", 1, 6))


@pytest.mark.parametrize("error", [CameraError("no such size"), LedgerError("no such folder")])
def test_what_does_not_run_here_is_taken_back_and_the_reason_told(device: Device, error: Any) -> None:
    device.wish(1, k=7)
    device.run()
    device.wish(2, k=8, camera={"width": 4096})
    assert device.begin().camera.width == 4096

    assert device.keeper.failed(error)

    assert device.run().k == 7
    assert device.says() == ("rejected", 2, 7)
    assert str(error) in device.said.errors[0].reason
    assert not device.keeper.wants(3.0)


def test_a_wish_is_not_to_blame_when_what_was_before_fails_too(device: Device) -> None:
    device.wish(1, k=7)
    device.run()
    device.wish(2, k=8)
    for _ in range(ATTEMPTS + 1):
        assert device.begin().k == 8
        assert device.keeper.failed(CameraError("not plugged in"))
        assert device.begin().k == 7
        assert not device.keeper.failed(CameraError("not plugged in"))
        device.start()

    assert device.run().k == 8
    assert device.says() == ("applied", 2, 8)


def test_a_newer_wish_is_tried_instead_of_one_in_doubt(device: Device) -> None:
    device.wish(1, k=7)
    device.begin()
    device.keeper.failed(CameraError("no such size"))
    device.wish(2, k=8)

    assert device.run().k == 8
    assert device.says() == ("applied", 2, 8)


def test_a_camera_that_fails_later_has_nothing_to_do_with_the_wish(device: Device) -> None:
    device.wish(1, k=7)
    device.run()

    assert not device.keeper.failed(CameraError("unplugged"))
    assert device.says() == ("applied", 1, 7)


def received(device: Device) -> None:
    device.run()
    device.wish(1, k=7)


def waiting(device: Device) -> None:
    received(device)
    device.keeper.wants(1.0)


def trying(device: Device) -> None:
    waiting(device)
    device.begin()


def applied(device: Device) -> None:
    trying(device)
    device.keeper.works()


def applied_and_not_told(device: Device) -> None:
    applied(device)
    (device.settings.run_folder / "twin.json").unlink()


def rejected(device: Device) -> None:
    device.run()
    device.wish(1, k=1)
    device.keeper.wants(1.0)


STATES = [
    (received, ("applied", 1, 7)),
    (waiting, ("applied", 1, 7)),
    (trying, ("applied", 1, 7)),
    (applied, ("applied", 1, 7)),
    (applied_and_not_told, ("applied", 1, 7)),
    (rejected, ("rejected", 1, 4)),
]


@pytest.mark.parametrize(("state", "end"), STATES)
def test_a_process_that_comes_after_ends_with_exactly_one_version(
    device: Device, state: Callable[[Device], None], end: tuple[str, int, int]
) -> None:
    state(device)
    device.start()

    settings = device.run()

    assert device.says() == end
    assert settings.k == end[2]
    assert not device.keeper.wants(1.0)


def test_settings_under_which_every_process_dies_are_given_up(device: Device) -> None:
    device.wish(1, k=7)
    for _ in range(ATTEMPTS):
        assert device.begin().k == 7
        device.start()

    assert device.run().k == 4
    assert device.says() == ("rejected", 1, 4)


def test_a_file_that_has_become_stricter_than_the_fleet_wins(device: Device) -> None:
    device.wish(1, k=7)
    device.run()
    device.file("k = 9")
    device.start()

    assert device.run().k == 9
    assert device.says() == ("rejected", 1, 9)
    assert device.said.errors[0].path == "k"


def test_a_file_that_changes_otherwise_goes_on_with_the_wish(device: Device) -> None:
    device.wish(1, k=7)
    device.run()
    device.file("k = 5\nmax_hold = 2")
    device.start()

    settings = device.run()

    assert (settings.k, settings.max_hold) == (7, 2)


def test_while_nobody_watches_what_survives_is_told_for_a_person(device: Device) -> None:
    applied_and_not_told(device)

    survives = kept(device.settings)

    assert survives is not None
    assert (survives.desired_version, survives.reported.k) == (1, 7)
    assert in_force(device.settings).k == 7
