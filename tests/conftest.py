"""Servers that tests need: installed by `make`, started here on free loopback ports, stopped again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import postgres as postgresql
from tests.build import Device, free_port, json_lines

ROOT = Path(__file__).parents[1]
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What ``-n auto`` means: two workers a processor, because most tests wait, for a window to end or a program to start."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else 2 * len(os.sched_getaffinity(0))


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
        anonymous = "" if "allow_anonymous" in self.extra else "allow_anonymous true\n"
        config.write_text(f"listener {self.port} 127.0.0.1\n{anonymous}user root\n{self.extra}")
        assert MOSQUITTO is not None
        log = open(self.folder / "mosquitto.log", "ab")  # noqa: SIM115 (the process holds it)
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
        log.close()
        wait_for(lambda: self.listens or not self.running, why="mosquitto listens")
        assert self.running, (self.folder / "mosquitto.log").read_text()

    @property
    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
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


@dataclass
class Process:
    """A program that runs, and what it has written so far."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = 60.0) -> int:
        return self.process.wait(seconds)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> list[Any]:
        """What ``mien`` has logged."""
        return json_lines(_whole_lines(self.err))

    def events(self, level: str = "info") -> list[str]:
        return [line["event"] for line in self.log if line["level"] == level]

    @property
    def complaints(self) -> list[str]:
        """What ``mien`` has said for a person, line by line."""
        return [line for line in _whole_lines(self.err) if not line.startswith("{")]


@dataclass
class Listener(Process):
    """``mosquitto_sub``, and what it has received."""

    @property
    def messages(self) -> list[Any]:
        return json_lines(_whole_lines(self.out))

    @property
    def reports(self) -> list[Any]:
        return [message for message in self.messages if message["topic"].endswith("/up/report")]

    @property
    def statuses(self) -> list[Any]:
        return [message for message in self.messages if message["topic"].endswith("/up/status")]

    @property
    def seqs(self) -> list[int]:
        return [message["payload"]["seq"] for message in self.reports]

    @property
    def ids(self) -> list[str]:
        return [message["properties"]["user-properties"]["id"] for message in self.reports]


def _whole_lines(path: Path) -> list[str]:
    """Lines that are written to their end."""
    return path.read_text().rpartition("\n")[0].splitlines()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """A function that starts a program, killed at the end of the test."""
    with starter(tmp_path) as run:
        yield run


@contextmanager
def starter(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """The same as long as a block lasts; what the programs write goes into files in this folder."""
    with ExitStack() as stack:
        count = 0

        def run(*words: str | Path, kind: type[Process] = Process) -> Process:
            nonlocal count
            count += 1
            out, err = tmp_path / f"{count}.out", tmp_path / f"{count}.err"
            with out.open("wb") as stdout, err.open("wb") as stderr:
                process = subprocess.Popen(words, stdout=stdout, stderr=stderr, cwd=ROOT, stdin=subprocess.DEVNULL)

            def stop() -> None:
                process.kill()
                process.wait()

            stack.callback(stop)
            return kind(process, out, err)

        yield run


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def mien(start: Callable[..., Process]) -> Callable[..., Process]:
    """A function that starts the real ``mien`` with these words."""
    return lambda *words: start(sys.executable, "-m", "device.cli", *words)


@pytest.fixture
def listen(start: Callable[..., Process]) -> Callable[..., Listener]:
    """A function that subscribes to a broker: ``listen(broker, "-t", "mien/#")``; it returns once the subscription stands."""

    def subscribe(broker: Mosquitto, *words: str) -> Listener:
        words = words or ("-t", "mien/#")
        command = ("stdbuf", "-oL", "mosquitto_sub", "-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-d", "-F", "%J", *words)
        listener = start(*command, kind=Listener)
        assert isinstance(listener, Listener)
        wait_for(lambda: "Subscribed" in listener.out.read_text() or not listener.running, why="the subscription")
        assert listener.running, listener.err.read_text()
        return listener

    return subscribe


def wait_for(condition: Callable[[], object], seconds: float = 60.0, why: str = "the condition") -> None:
    """Poll until ``condition()`` is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{why} did not come true within {seconds} s"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server for all tests of this process: its URL, without a database."""
    if postgresql.BIN is None:
        pytest.skip(postgresql.MISSING)
    with postgresql.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A registry of each kind with nothing in it."""
    from tests import registries  # the fleet's packages are not on every device

    if request.param == "sqlite":
        return registries.sqlite(tmp_path)
    return postgresql.emptied(request.getfixturevalue("postgres"), "registry")


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without a table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    return postgresql.new_database(request.getfixturevalue("postgres"), f"test_{secrets.token_hex(8)}")
