"""`mien watch` without any network, and `mien send` without any device: both work, and cannot reach what they have not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device.proof import sandbox
from device.proof.memory import HERE
from device.proof.tracer import NotTriedError
from tests.build import Device
from tests.conftest import Listener, Mosquitto, wait_for

CALL_OUT = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
    print("reached")
except OSError as error:
    print(error.strerror)
"""
LIST = "import os; print(*sorted(n for n in os.listdir('/dev')))"


def run(words: list[str], folder: Path) -> str:
    return sandbox.run(words, env={**os.environ, "PYTHONPATH": str(HERE)}, cwd=folder, timeout=50)


@pytest.fixture
def isolated(tmp_path: Path) -> Callable[..., str]:
    """A function that runs Python in a namespace without an interface."""

    def isolate(*words: str | Path) -> str:
        try:
            command = sandbox.without_network([sys.executable, *map(str, words)])
        except NotTriedError as error:
            pytest.skip(str(error))
        return run(command, tmp_path)

    return isolate


@pytest.fixture
def without_devices(tmp_path: Path) -> Callable[..., str]:
    """A function that runs Python with a private /dev."""

    def isolate(*words: str | Path) -> str:
        (tmp_path / "dev").mkdir(exist_ok=True)
        try:
            command = sandbox.without_devices([sys.executable, *map(str, words)], tmp_path / "dev")
        except NotTriedError as error:
            pytest.skip(str(error))
        return run(command, tmp_path)

    return isolate


def test_watching_works_where_there_is_no_network_at_all(device: Device, isolated: Callable[..., str], tmp_path: Path) -> None:
    from device.proof import pictures

    pictures.write_people(tmp_path / "people", 30)
    device.write(top="k = 3", camera="fast = true")

    isolated("-m", "device.cli", "watch", "--settings", device.settings, "--camera", f"replay:{tmp_path / 'people'}")

    assert device.held("new") == 2


def test_nothing_can_be_reached_from_there_but_can_from_outside(
    mosquitto: Mosquitto, isolated: Callable[..., str], tmp_path: Path
) -> None:
    outside = run([sys.executable, "-c", CALL_OUT, str(mosquitto.port)], tmp_path)

    assert outside.strip() == "reached"
    assert isolated("-c", CALL_OUT, str(mosquitto.port)).strip() == "Network is unreachable"


def test_sending_works_where_there_is_no_device(
    device: Device, mosquitto: Mosquitto, listen: Callable[..., Listener], without_devices: Callable[..., str]
) -> None:
    fleet = listen(mosquitto)
    device.write(mosquitto.url).put(2)

    without_devices("-m", "device.cli", "send", "--once", "--settings", device.settings)

    wait_for(lambda: len(fleet.reports) == 2, why="the reports")


def test_a_camera_node_is_not_there_for_the_sender_but_is_without_its_private_devices(
    without_devices: Callable[..., str], tmp_path: Path
) -> None:
    private = without_devices("-c", LIST).split()
    (tmp_path / "dev" / "video0").touch()  # as a mistake in the sandbox would let it in

    assert private == sorted(sandbox.KEPT)
    assert "video0" in without_devices("-c", LIST).split()
