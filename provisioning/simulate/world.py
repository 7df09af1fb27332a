"""The servers of a rehearsal: a fleet's broker and service on this machine, started for so long as it lasts."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from provisioning import bound, files
from provisioning import fleet as fleets
from provisioning.errors import BrokerError
from provisioning.fleet import Fleet
from provisioning.mosquitto import Size
from provisioning.simulate.figures import Restart
from provisioning.simulate.processes import children

STARTING: Final = 30.0  # seconds for a server to be there
STOPPING: Final = 60.0  # seconds for the broker to write its database


@dataclass(slots=True)
class World:
    """A fleet and its servers.

    Attributes:
        fleet: Where everything is.
        port: Of the broker.
        passphrase: Opens the authority.
        database: The registry's URL.
        ours: Whether the servers were started here, and may be measured and restarted.
    """

    fleet: Fleet
    port: int
    passphrase: bytes
    database: str
    ours: bool = False
    _broker: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def broker_pid(self) -> int | None:
        """Of Mosquitto itself; None when somebody else started it."""
        return next(iter(children(self._broker[0].pid)), None) if self._broker else None

    @property
    def service_pids(self) -> list[int]:
        return [process.pid for process in self._services]

    def restart_broker(self) -> Restart:
        """Stop the broker as systemd does, and start it again."""
        stopped = time.monotonic()
        process = self._broker.pop()
        process.send_signal(signal.SIGTERM)
        process.wait(STOPPING)
        self.start_broker()
        return Restart(stopped, time.monotonic())

    def start_broker(self) -> None:
        """Raises BrokerError when it does not listen in time."""
        process = self._start("broker", "--port", str(self.port))
        self._broker.append(process)
        self._wait(lambda: listens(self.fleet.host, self.port), "broker", process)

    def start_service(self) -> None:
        """Raises BrokerError when it does not serve in time."""
        log = f"serve-{len(self._services) + 1}"
        secret = str(self.fleet.folder.parent / "passphrase")
        process = self._start("serve", "--database", self.database, "--passphrase-file", secret, log=log)
        self._services.append(process)
        self._wait(lambda: b'"serving"' in self._log(log).read_bytes(), log, process)

    def end(self) -> None:
        """Stop what was started."""
        for process in [*self._services, *self._broker]:
            process.terminate()
        for process in [*self._services, *self._broker]:
            try:
                process.wait(STOPPING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, command: str, *words: str, log: str | None = None) -> subprocess.Popen[bytes]:
        called = bound.words("provisioning.cli", command, str(self.fleet.folder), *words)
        with self._log(log or command).open("ab") as file:
            return subprocess.Popen(called, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def _log(self, name: str) -> Path:
        return self.fleet.folder.parent / f"{name}.log"

    def _wait(self, ready: Callable[[], bool], log: str, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + STARTING
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = self._log(log).read_text(errors="replace").strip().splitlines()[-1:]
                raise BrokerError(f"mien-fleet {log} did not start: {' '.join(said)[:300] or 'it says nothing'}")
            time.sleep(0.02)


@contextmanager
def of_its_own(devices: int, services: int, database: str | None) -> Iterator[World]:
    """A fleet in a temporary folder, with broker and services on free ports of this machine; nothing of it is left behind.

    The servers end with this process also when it is killed; then the folder stays.

    Args:
        devices: The broker's queues are for so many.
        services: How many.
        database: The registry's URL; ``None`` for SQLite in the same folder.

    Raises:
        BrokerError: A server does not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-rehearsal-")))
        port = _free_port()
        secret = secrets.token_urlsafe(24).encode()
        files.write(folder / "passphrase", secret + b"\n")
        fleet = fleets.init(folder / "fleet", f"mqtts://localhost:{port}", Size(devices, 1), secret)
        url = database or f"sqlite:///{fleet.folder.absolute() / 'registry.db'}"
        world = World(fleet, port, secret, url, ours=True)
        stack.callback(world.end)
        world.start_broker()
        for _ in range(services):
            world.start_service()
        yield world


def waited_for(host: str, port: int, seconds: float = 15.0) -> bool:
    """Whether somebody takes connections there, or begins to within so many seconds."""
    deadline = time.monotonic() + seconds
    while not (there := listens(host, port)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return there


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection((host, port), 1.0):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
