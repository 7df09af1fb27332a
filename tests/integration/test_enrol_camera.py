"""A claim that the fleet shows as a QR code and a device reads with its camera: real processes, the real broker."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device.identity import Key
from tests.conftest import MOSQUITTO, Process, wait_for
from tests.identities import Client, Identity
from tests.pictures import recording
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(180),
]


def settings(box: BoxFiles, pictures: Path) -> Path:
    """Its camera shows these pictures; it has no file of its fleet, not even the root certificate."""
    path = box.folder / "settings.toml"
    text = path.read_text().replace('source = "composite"', f'source = "replay:{pictures}"\nfast = true')
    path.write_text(text.replace(f"{box.world_folder}/ca.pem", f"{box.key.parent}/ca.pem"))
    return path


def enroll(start: Callable[..., Process], path: Path) -> Process:
    return start(sys.executable, "-m", "device.cli", "enroll", "--settings", path, "--camera")


def test_a_box_that_knows_nothing_but_the_brokers_name_enrols_by_a_code_before_its_camera(
    world: World, start: Callable[..., Process], tmp_path: Path
) -> None:
    box = BoxFiles(world, "box", start)
    world.fleet("batch", "add", "berlin", "SN-1", "--setting", "retail", "--jurisdiction", "DE")
    (tmp_path / "list").write_text(f"SN-1 {Key.open(box.key).sha256}\n")
    world.fleet("batch", "add", "berlin", "--setting", "retail", "--jurisdiction", "DE", "--list", str(tmp_path / "list"))
    world.fleet("claim", "new", "berlin", "--picture", str(tmp_path / "code.png"), "--serial", "SN-1", *world.secret)
    world.serve()

    done = enroll(start, settings(box, recording(tmp_path / "code.png", tmp_path / "seen")))

    assert done.wait(90) == 0, done.err.read_text()
    (device,) = world.devices()
    assert (device["serial"], device["state"]) == ("SN-1", "live")
    assert f"enrolled as {device['name']}" in done.out.read_text()
    assert sorted(path.name for path in (box.key.parent / "claim").iterdir()) == ["ca.pem"]  # the claim is given up
    with Client(box.key.parent / "ca.pem", world.port, Identity(box.certificate, box.key)) as client:
        assert client.publish(f"mien/v1/{device['name']}/up/report", b"x")


def test_a_code_for_one_serial_is_for_no_other_and_is_all_the_approval_that_this_one_needs(
    world: World, start: Callable[..., Process], tmp_path: Path
) -> None:
    box = BoxFiles(world, "box", start)
    world.fleet("batch", "add", "berlin", "SN-1", "SN-2", "--setting", "retail", "--jurisdiction", "DE")
    world.fleet("claim", "new", "berlin", "--picture", str(tmp_path / "code.png"), "--serial", "SN-1", *world.secret)
    world.serve()
    path = settings(box, recording(tmp_path / "code.png", tmp_path / "seen"))

    other = start(sys.executable, "-m", "device.cli", "enroll", "--settings", path, "--camera", "--serial", "SN-2")
    wait_for(lambda: any("made for another serial" in event for event in other.events("warning")), 60, why="the refusal")
    other.end()

    done = enroll(start, path)

    assert done.wait(90) == 0, done.err.read_text()
    assert [one["state"] for one in world.devices()] == ["live", "listed"]


def test_a_camera_that_sees_no_code_is_one_clear_line(world: World, start: Callable[..., Process], tmp_path: Path) -> None:
    box = BoxFiles(world, "box", start)
    (tmp_path / "seen").mkdir()
    world.fleet("batch", "add", "berlin", "SN-1", "--setting", "retail", "--jurisdiction", "DE")
    world.fleet("claim", "new", "berlin", "--picture", str(tmp_path / "code.png"), *world.secret)
    pictures = recording(tmp_path / "code.png", tmp_path / "all")
    (pictures / "0.png").rename(tmp_path / "seen" / "0.png")

    done = enroll(start, settings(box, tmp_path / "seen"))

    assert done.wait(60) == 69
    (line,) = done.complaints
    assert "the camera has seen no code; hold it so that it fills most of the picture" in line
