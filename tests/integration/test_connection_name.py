"""Whose connection it is: a certificate of the same fleet cannot end another device's connection."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from device.connection_name import connection_name
from device.publishers import Connected, Delivered, Disconnected, Message
from device.publishers.mqtt import MqttPublisher, open_publisher
from device.settings import BrokerSettings
from tests.conftest import Process, wait_for
from tests.identities import Client
from tests.trial import Trial

WILL = "mien/v1/d1/up/status"
FIRST = """
import sys, time
from device.publishers import Message
from device.publishers.mqtt import open_publisher
from device.settings import BrokerSettings

url, ca, certificate, key, name = sys.argv[1:]
broker = BrokerSettings(url=url, ca_file=ca, certificate_file=certificate, key_file=key)
publisher = open_publisher(broker, name, (), Message("mien/v1/d1/up/status", b"lost", retain=True))
publisher.events.get()
publisher.publish(Message("mien/v1/d1/up/status", b"first", retain=True))
time.sleep(600)
"""


def sending(trial: Trial, folder: Path) -> MqttPublisher:
    """The sending process of d1, as far as its connection goes."""
    broker = BrokerSettings(
        url=trial.fleet.broker,
        longest_wait_seconds=1,
        ca_file=trial.fleet.ca,
        certificate_file=trial.d1.certificate,
        key_file=trial.d1.key,
    )
    publisher = open_publisher(broker, connection_name(folder), (), Message(WILL, b"lost", retain=True))
    assert publisher.events.get(timeout=20) == Connected()
    return publisher


def seized(trial: Trial, name: str) -> Client:
    """Another device of the fleet that gives itself this name."""
    client = trial.client(trial.d2, name=name)
    assert client.open()
    return client


def test_whoever_knows_a_devices_name_cannot_end_its_connection(trial: Trial, tmp_path: Path) -> None:
    publisher = sending(trial, tmp_path / "send")

    thieves = [seized(trial, name) for name in ("d1", "mien", "mien-d1", "shelf-7")]

    token = publisher.publish(Message("mien/v1/d1/up/report", b"{}"))
    assert publisher.events.get(timeout=20) == Delivered(token)
    for client in thieves:
        client.close()
    publisher.close(None, 2.0)


def test_the_broker_would_end_it_for_one_who_knew_the_name_of_the_connection(trial: Trial, tmp_path: Path) -> None:
    """So the test above tries what would work."""
    publisher = sending(trial, tmp_path / "send")

    client = seized(trial, connection_name(tmp_path / "send"))

    assert isinstance(publisher.events.get(timeout=20), Disconnected)
    client.close()
    publisher.close(None, 2.0)


def test_a_process_that_starts_again_takes_over_the_connection_that_its_predecessor_left_half_open(
    trial: Trial, tmp_path: Path, start: Callable[..., Process]
) -> None:
    """The will of the old session is told at once, before the new birth, and not a minute after it."""
    with trial.witness() as witness:
        witness.subscribe(WILL)
        words = (trial.fleet.broker, trial.fleet.ca, trial.d1.certificate, trial.d1.key, connection_name(tmp_path / "send"))
        first = start(sys.executable, "-c", FIRST, *words)
        wait_for(lambda: witness.received, why="the first birth")
        first.process.send_signal(signal.SIGSTOP)  # its connection stands, and nobody answers there

        second = sending(trial, tmp_path / "send")
        second.publish(Message(WILL, b"second", retain=True))

        wait_for(lambda: len(witness.received) == 3, why="the will and the second birth")
        assert [payload for _, payload in witness.received] == [b"first", b"lost", b"second"]
    second.close(None, 2.0)
