"""``mien-fleet command``: from a person's words to a device and back, over mutual TLS, with several services that may die."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from device.contract_command import CommandResult
from device.inbox import commands
from tests.conftest import MOSQUITTO, Process, wait_for
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(180),
]
FLEET = (sys.executable, "-m", "provisioning.cli")


class Device(BoxFiles):
    """An enrolled device that takes commands; the test is its watching process."""

    def __init__(self, world: World, serial: str, start: Callable[..., Process]) -> None:
        super().__init__(world, serial, start)
        settings = self.folder / "settings.toml"
        settings.write_text(settings.read_text().replace("[broker]\n", "[broker]\ncommands = true\n"))
        self.name = world.old_device(self, serial, days=1)

    @property
    def left(self) -> list[Any]:
        return [json.loads(content) for _, content in commands(self.folder / "inbox")[0]]

    def does(self) -> None:
        """Do all that was left."""
        for order in self.left:
            path = self.folder / "run" / "answers" / f"{order['id']}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(CommandResult(schema=1, state="succeeded").model_dump_json(by_alias=True))


@pytest.fixture
def shelves(world: World, start: Callable[..., Process]) -> list[Device]:
    """Three devices: two in Berlin that run, and one elsewhere that does not."""
    devices = [Device(world, f"SN-{n}", start) for n in (1, 2, 3)]
    for device, store in zip(devices, ("berlin-1", "berlin-2", "hamburg-1"), strict=True):
        world.fleet("label", device.name, f"store={store}")
    for device in devices[:2]:
        send = device.send()
        wait_for(lambda send=send: "connected" in send.events(), why="the connection")  # type: ignore[misc]
    return devices


def asked(world: World, *words: str) -> dict[str, Any]:
    """What became of each device's command, by device."""
    lines = world.fleet("command", "show", *words, "--json").splitlines()
    return {one["device"]: one for one in map(json.loads, lines)}


def test_a_command_reaches_a_group_once_whichever_service_dies(world: World, shelves: list[Device]) -> None:
    services = [world.serve() for _ in range(2)]
    berlin, other = shelves[:2], shelves[2]

    said = world.fleet("command", "pause", "--group", "store=berlin*", "--seconds", "600")
    request = said.split()[1].rstrip(":")
    wait_for(lambda: all(device.left for device in berlin), why="the command")
    services[0].end(signal.SIGKILL)
    for device in berlin:
        device.does()

    wait_for(lambda: {one["state"] for one in asked(world, request).values()} == {"succeeded"}, 60, why="the answers")
    assert set(asked(world, request)) == {device.name for device in berlin}
    assert [len(device.left) for device in berlin] == [1, 1]
    assert not other.left
    assert [order["command"]["seconds"] for device in berlin for order in device.left] == [600, 600]


def test_what_no_service_heard_is_asked_for_again(world: World, shelves: list[Device]) -> None:
    first = world.serve()
    world.fleet("command", "resume", "--device", shelves[0].name)
    wait_for(lambda: {one["state"] for one in asked(world).values()} == {"accepted"}, why="that it was accepted")
    first.end(signal.SIGKILL)
    shelves[0].does()
    (order,) = shelves[0].left
    send = json.loads((shelves[0].folder / "send" / "commands.json").read_bytes())
    wait_for(lambda: "succeeded" in (shelves[0].folder / "send" / "commands.json").read_text(), why="that the device says so")
    assert order["id"] in send["known"]

    world.serve()

    wait_for(lambda: {one["state"] for one in asked(world).values()} == {"succeeded"}, 60, why="the answer")


def test_waiting_shows_a_table_and_ends_with_1_unless_all_have_succeeded(world: World, shelves: list[Device]) -> None:
    world.serve()
    words = ("command", "flush", world.folder, "--device", shelves[0].name, "--device", shelves[2].name)
    both = world._start(*FLEET, *words, "--expires", "3", "--wait")

    assert both.wait(60) == 1, both.err.read_text()

    rows = [line.split() for line in both.out.read_text().splitlines()]
    assert rows[0][:4] == ["REQUEST", "DEVICE", "COMMAND", "STATE"]
    assert {row[1]: row[3] for row in rows[1:]} == {shelves[0].name: "succeeded", shelves[2].name: "expired"}
    audit = [json.loads(line) for line in world.fleet("audit").splitlines()]
    assert [one["code"] for one in audit if one["step"] == "command"][:2] == ["asked", "asked"]


def test_a_command_for_nobody_or_for_an_unknown_device_is_one_line(world: World) -> None:
    for words, said in (
        (("--device", "nobody"), "there is no device 'nobody'"),
        (("--group", "store=berlin*"), "no device has labels like store=berlin*"),
        ((), "which devices?"),
    ):
        process = world._start(*FLEET, "command", "flush", world.folder, *words)
        assert process.wait() == 2
        assert said in process.err.read_text()
        assert "Traceback" not in process.err.read_text()
