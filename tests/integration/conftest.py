"""A publisher of our own, connected to whatever a test starts; and a fleet with its broker."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from device.publishers import Disconnected, Event, Message
from device.publishers.mqtt import MqttPublisher, open_publisher
from device.settings import BrokerSettings
from provisioning import fleet as fleets
from provisioning.authority import Authority
from provisioning.mosquitto import Size
from tests.build import free_port
from tests.conftest import MOSQUITTO, Process
from tests.identities import PASSPHRASE
from tests.trial import Trial
from tests.world import World


@pytest.fixture
def world(tmp_path: Path, start: Callable[..., Process]) -> Iterator[World]:
    """A fleet with its broker, and boxes that can be put into it."""
    made = World(tmp_path, start)
    yield made
    made.broker.process.terminate()
    made.broker.wait()


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., MqttPublisher]]:
    """A function that opens a publisher, closed at the end of the test."""
    opened: list[MqttPublisher] = []

    def run(url: str, **settings: Any) -> MqttPublisher:
        broker = BrokerSettings(url=url, longest_wait_seconds=1, **settings)
        opened.append(open_publisher(broker, "shelf-7", (), Message("mien/v1/shelf-7/up/status", b"{}", retain=True)))
        return opened[-1]

    yield run
    for publisher in opened:
        publisher.close(None, 1.0)
        assert not publisher._thread.is_alive()


@pytest.fixture
def trial(tmp_path: Path, start: Callable[..., Process]) -> Iterator[Trial]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: sudo apt install mosquitto mosquitto-clients")
    with ExitStack() as stack:
        fleet = fleets.init(tmp_path / "fleet", f"mqtts://localhost:{free_port()}", Size(10, 24), PASSPHRASE)
        authority = Authority.open(fleet.folder, PASSPHRASE)

        def begin() -> Process:
            process = start(sys.executable, "-m", "provisioning.cli", "broker", fleet.folder)
            stack.callback(process.process.terminate)
            return process

        yield Trial(fleet, authority, begin)


def next_event(publisher: MqttPublisher) -> Event:
    return publisher.events.get(timeout=20)


def why_not(publisher: MqttPublisher) -> str:
    """Why there is no connection."""
    event = next_event(publisher)
    assert isinstance(event, Disconnected), event
    return event.reason


@contextmanager
def answering(answer: bytes, *, keep: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """Something that is not a broker: answers each connection with these bytes; yields its address and what it was sent."""
    heard: list[bytes] = []
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    connection.settimeout(5)
                    heard.append(connection.recv(4096))
                    connection.sendall(answer)
                except OSError:
                    return
                if keep:
                    held.append(connection)
                else:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in held:
        connection.close()
