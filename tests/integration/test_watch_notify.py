"""``mien watch`` tells systemd how it is: ready, alive as long as it goes round, stopping; also without a camera."""

from __future__ import annotations

import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.build import Device
from tests.conftest import Process

pytestmark = pytest.mark.timeout(120)


class Systemd:
    """The other end of the line."""

    def __init__(self, path: Path) -> None:
        self.path, self.said = path, ""
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(str(path))

    def hears(self, word: str, seconds: float = 60.0) -> bool:
        """Whether this is said within so many seconds, from now on."""
        self.said, until = "", time.monotonic() + seconds
        while word not in self.said and (left := until - time.monotonic()) > 0:
            if select.select([self.line], [], [], left)[0]:
                self.said += self.line.recv(4096).decode() + "\n"
        return word in self.said


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    made = Systemd(tmp_path_factory.mktemp("n") / "s")
    yield made
    made.line.close()


@pytest.mark.parametrize(("camera", "status"), [("composite", "watching"), ("v4l2:/dev/video99", "not watching: the camera")])
def test_systemd_hears_of_every_step(
    systemd: Systemd, device: Device, start: Callable[..., Process], camera: str, status: str
) -> None:
    device.write(camera="fast = false")
    told = (f"NOTIFY_SOCKET={systemd.path}", "WATCHDOG_USEC=4000000")
    words = ("-m", "device.cli", "watch", "--settings", device.settings, "--camera", camera)

    watch = start("env", *told, sys.executable, *words)

    assert systemd.hears("READY=1"), watch.err.read_text()
    assert f"STATUS={status}" in systemd.said
    assert systemd.hears("WATCHDOG=1")
    assert systemd.hears("WATCHDOG=1")
    watch.process.send_signal(signal.SIGTERM)
    assert systemd.hears("STOPPING=1")
    assert watch.wait() == 0


def test_a_process_that_hangs_says_nothing_more(systemd: Systemd, device: Device, start: Callable[..., Process]) -> None:
    device.write(camera="fast = false")
    told = (f"NOTIFY_SOCKET={systemd.path}", "WATCHDOG_USEC=4000000")
    hang = (
        "import sys, threading; from device.nets.face import FaceNet; from device import cli; seen = []\n"
        "real = FaceNet.__call__\n"
        "def stuck(*args): seen.append(1); return real(*args) if len(seen) < 5 else threading.Event().wait()\n"
        "FaceNet.__call__ = stuck; cli.main()"
    )
    start("env", *told, sys.executable, "-c", hang, "watch", "--settings", device.settings)

    assert systemd.hears("READY=1")
    while systemd.hears("WATCHDOG=1", 5.0):
        pass

    assert not systemd.hears("WATCHDOG=1", 5.0)
