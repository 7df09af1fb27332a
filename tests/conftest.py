"""Servers that tests need: installed by `make`, started here on free loopback ports, stopped again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.build import free_port

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Mosquitto:
    """A broker of our own, with its configuration, that can be killed and started again on the same port."""

    folder: Path
    extra: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.folder / f"mosquitto-{self.port}.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n{self.extra}")
        assert MOSQUITTO is not None
        log = open(self.folder / "mosquitto.log", "ab")  # noqa: SIM115 (the process holds it)
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """A function that starts a broker: ``start_mosquitto(extra="...")`` with further lines of configuration."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: sudo apt install mosquitto mosquitto-clients")
    with ExitStack() as stack:

        def start(extra: str = "") -> Mosquitto:
            broker = Mosquitto(tmp_path, extra)
            stack.callback(broker.stop)
            broker.start()
            return broker

        yield start


@pytest.fixture
def mosquitto(start_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A broker that takes everything."""
    return start_mosquitto()


def wait_for(condition: Callable[[], object], seconds: float = 20.0, why: str = "the condition") -> None:
    """Poll until ``condition()`` is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{why} did not come true within {seconds} s"
        time.sleep(0.02)
