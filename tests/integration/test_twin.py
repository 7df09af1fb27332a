"""Settings from the fleet to a device and back: real processes, the real broker, mutual TLS."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from device.cli import main as mien
from device.manifest import FOLDER
from tests.build import PERMISSIVE
from tests.conftest import MOSQUITTO, Process, wait_for
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(240),
]


class Site:
    """A device with its identity, whose settings come from the fleet."""

    def __init__(self, world: World, start: Callable[..., Process]) -> None:
        self.world, self._start = world, start
        self.box = BoxFiles(world, "box", start)
        self.box.key.parent.mkdir()
        self.name = world.old_device(self.box, "SN-1", days=1)
        self.file = self.box.folder / "settings.toml"
        text = self.file.read_text().replace("[broker]\n", "[broker]\ntwin = true\n")
        self.file.write_text("demo = true\n" + text.replace(PERMISSIVE, ""))  # the identity says what the policy is
        world.fleet("label", self.name, "store=berlin-3")

    def mien(self, command: str) -> Process:
        return self._start(sys.executable, "-m", "device.cli", command, "--settings", self.file)

    def set(self, *words: str) -> str:
        return self.world.fleet("set", "--group", "store=berlin*", *words)

    @property
    def twin(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.world.fleet("twin", self.name, "--json"))
        return found

    def becomes(self, state: str, version: int) -> dict[str, Any]:
        """Wait until the registry says so; returns what is then reported."""
        wait_for(lambda: (self.twin["state"], self.twin["version"]) == (state, version), 60, why=f"{state} {version}")
        reported: dict[str, Any] = self.twin["reported"]
        return reported


@pytest.fixture
def site(world: World, start: Callable[..., Process]) -> Site:
    return Site(world, start)


def test_a_group_s_settings_arrive_are_applied_and_shown(world: World, site: Site) -> None:
    services = [world.serve(), world.serve()]
    watch, send = site.mien("watch"), site.mien("send")
    wait_for(lambda: site.twin["reported"], 60, why="the first report")

    assert site.set("window_seconds=6", "camera.fps=4") == f"{site.name}: version 1\n"
    reported = site.becomes("applied", 1)
    assert (reported["reported"]["window_seconds"], reported["reported"]["camera"]["fps"]) == (6, 4.0)
    assert "6" in world.fleet("twin", site.name)
    assert "applied" in world.fleet("twin")

    site.set("k=3")
    assert [error["path"] for error in site.becomes("rejected", 2)["errors"]] == ["k"]
    assert site.twin["reported"]["reported"]["window_seconds"] == 6

    site.set("k=", "window_seconds=")
    reported = site.becomes("applied", 3)
    assert reported["from_twin"] == ["camera.fps"]
    shown = CliRunner().invoke(mien, ["settings", "show", "--settings", str(site.file)])
    assert "camera.fps                   twin     4.0" in shown.output
    assert "version 3 of epoch" in shown.output

    assert [process.end() for process in (watch, send, *services)] == [0, 0, 0, 0]
    said = [json.loads(line) for line in world.fleet("audit").splitlines()]
    assert [(one["step"], one["code"]) for one in said if one["step"] in {"set", "twin"}] == [
        ("twin", "applied"),  # version 0: the file
        ("set", "accepted"),
        ("twin", "applied"),
        ("set", "accepted"),
        ("twin", "rejected"),
        ("set", "accepted"),
        ("twin", "applied"),
    ]


def test_settings_that_do_not_run_on_this_device_are_taken_back(world: World, site: Site) -> None:
    """A detector that is good as a setting, whose file is damaged on this device."""
    models = site.box.folder / "models"
    models.mkdir()
    for file in (*FOLDER.glob("*.tflite"), FOLDER / "manifest.json"):
        shutil.copy(file, models)
    for file in models.glob("face*short*.tflite"):
        file.write_bytes(b"damaged")
    site.file.write_text(site.file.read_text() + f'[models]\nfolder = "{models}"\n')
    world.serve()
    watch, _ = site.mien("watch"), site.mien("send")
    wait_for(lambda: site.twin["reported"], 60, why="the first report")

    site.set("models.detector=short", "window_seconds=6")

    reported = site.becomes("rejected", 1)
    assert (reported["reported"]["window_seconds"], reported["reported"]["models"]["detector"]) == (5, "full")
    assert [error["path"] for error in reported["errors"]] == ["models"]
    wait_for(lambda: [line for line in watch.log if line["event"] == "watching"][1:], why="the settings before to be back")
    assert watch.end() == 0


@pytest.mark.parametrize("moment", ["sent", "heard"])
def test_a_service_killed_around_a_wish_leaves_it_to_the_others(
    world: World, site: Site, start: Callable[..., Process], moment: str
) -> None:
    killed = start(sys.executable, "-m", "tests.killed_twins", world.folder, moment)
    site.set("window_seconds=6")
    if moment == "heard":
        wait_for(lambda: "serving" in killed.err.read_text() + killed.out.read_text() or not killed.running, 60, why="the service")
    site.mien("watch")
    site.mien("send")
    assert killed.wait(60) == -signal.SIGKILL
    assert site.twin["reported"] is None

    world.serve()

    assert site.becomes("applied", 1)["reported"]["window_seconds"] == 6


def test_a_registry_restored_from_a_backup_takes_over_again(world: World, site: Site) -> None:
    registry = world.folder / "registry.db"
    service = world.serve()
    site.mien("watch")
    site.mien("send")
    site.set("window_seconds=6")
    site.becomes("applied", 1)
    service.end()
    backup = registry.read_bytes()
    service = world.serve()
    site.set("window_seconds=7")
    site.becomes("applied", 2)
    service.end()
    for file in registry.parent.glob("registry.db*"):
        file.unlink()
    registry.write_bytes(backup)

    world.serve()
    site.becomes("ahead", 1)
    assert "mien-fleet restored" in world.fleet("twin", site.name)
    world.fleet("restored")

    assert site.becomes("applied", 1)["reported"]["window_seconds"] == 6
