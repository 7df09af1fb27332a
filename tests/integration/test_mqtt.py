"""What arrives at a real broker."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes

from device.publishers import Connected, Delivered, Message
from device.publishers._packets import message_properties, packet_bytes
from device.publishers.mqtt import MqttPublisher
from tests.build import Device, put_reports
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.integration.conftest import next_event

Mien = Callable[..., Process]
Listen = Callable[..., Listener]
Start = Callable[..., Mosquitto]


def test_reports_arrive_in_order_and_marked_as_cloud_events(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen
) -> None:
    put = put_reports(device.folder / "spool", 3)
    device.write(mosquitto.url)
    fleet = listen(mosquitto)

    ended = mien("send", "--settings", device.settings, "--once").wait()

    wait_for(lambda: len(fleet.reports) == 3, why="the reports")
    assert ended == 0
    for sent, received in zip(put, fleet.reports, strict=True):
        assert received["topic"] == "mien/v1/shelf-7/up/report"
        assert received["payload"] == json.loads(sent.payload())
        assert (received["qos"], received["retain"]) == (1, 0)
        properties = received["properties"]
        assert properties["content-type"] == "application/json"
        assert properties["user-properties"] == {
            "specversion": "1.0",
            "id": sent.id,
            "source": "/mien/v1/shelf-7",
            "type": "mien.report.v1",
            "time": "2026-11-22T12:00:00Z",
        }
        assert 7 * 86_400 - 60 <= properties["message-expiry-interval"] <= 7 * 86_400
    assert (device.held("new"), device.held("sent")) == (0, 1)


def test_the_status_is_retained_and_says_offline_after_a_clean_stop(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen
) -> None:
    send = mien("send", "--settings", device.write(mosquitto.url).settings)
    wait_for(lambda: "connected" in send.events())
    fleet = listen(mosquitto)
    wait_for(lambda: fleet.statuses, why="the retained status")

    ended = send.end(signal.SIGTERM)

    wait_for(lambda: len(fleet.statuses) == 2, why="the farewell")
    birth, farewell = (message["payload"] for message in fleet.statuses)
    assert ended == 0
    assert fleet.statuses[0]["retain"] == 1
    assert (birth["state"], farewell["state"]) == ("online", "offline")
    assert birth["session"] == farewell["session"]
    assert listen_once(listen, mosquitto)["payload"] == farewell


def listen_once(listen: Listen, broker: Mosquitto) -> Any:
    """The retained status, as somebody new sees it."""
    late = listen(broker)
    wait_for(lambda: late.statuses, why="the retained status")
    return late.statuses[0]


def test_a_killed_process_is_reported_lost_by_the_broker(device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen) -> None:
    send = mien("send", "--settings", device.write(mosquitto.url).settings)
    fleet = listen(mosquitto)
    wait_for(lambda: fleet.statuses, why="the birth")

    send.end(signal.SIGKILL)

    wait_for(lambda: len(fleet.statuses) == 2, why="the last will")
    birth, will = (message["payload"] for message in fleet.statuses)
    assert (will["state"], will["session"]) == ("lost", birth["session"])
    assert listen_once(listen, mosquitto)["payload"] == will


def test_a_process_that_starts_again_takes_the_lost_status_back(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen
) -> None:
    device.write(mosquitto.url)
    fleet = listen(mosquitto)
    first = mien("send", "--settings", device.settings)
    wait_for(lambda: fleet.statuses, why="the birth")
    first.end(signal.SIGKILL)

    mien("send", "--settings", device.settings)

    wait_for(lambda: len(fleet.statuses) == 3, why="the second birth")
    assert [message["payload"]["state"] for message in fleet.statuses] == ["online", "lost", "online"]
    assert fleet.statuses[0]["payload"]["session"] != fleet.statuses[2]["payload"]["session"]


def test_reports_that_come_later_are_sent_as_they_come(device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen) -> None:
    fleet = listen(mosquitto)
    mien("send", "--settings", device.write(mosquitto.url).settings)
    wait_for(lambda: fleet.statuses, why="the birth")

    device.put(2)

    wait_for(lambda: fleet.seqs == [1, 2], why="the reports")


def test_a_broker_that_was_down_gets_everything_in_order_when_it_comes(
    device: Device, start_mosquitto: Start, mien: Mien, listen: Listen, tmp_path: Path
) -> None:
    broker = start_mosquitto(f"persistence true\npersistence_location {tmp_path}/\n")
    session = ("-c", "-i", "fleet", "-x", "600", "-t", "mien/#")
    assert listen(broker, *session).end(signal.SIGTERM) == 0  # the subscription stays
    broker.stop(signal.SIGTERM)
    device.write(broker.url, top='log_level = "debug"').put(25)
    send = mien("send", "--settings", device.settings)
    wait_for(lambda: len(send.events("debug")) >= 2, why="further attempts")
    assert len(send.events("warning")) == 1  # one line, whatever the number of attempts

    broker.start()
    wait_for(lambda: device.held("new") == 0, why="the delivery")

    fleet = listen(broker, *session)
    wait_for(lambda: len(fleet.seqs) == 25, why="the reports")
    assert fleet.seqs == list(range(1, 26))


def test_a_broker_that_takes_one_message_at_a_time_gets_one_at_a_time(
    device: Device, start_mosquitto: Start, mien: Mien, listen: Listen
) -> None:
    broker = start_mosquitto("max_inflight_messages 1\n")
    fleet = listen(broker)

    send = mien("send", "--settings", device.write(broker.url).put(30).settings, "--once")

    assert send.wait() == 0
    wait_for(lambda: fleet.seqs == list(range(1, 31)), why="the reports")
    assert not send.events("warning")


@contextmanager
def by_hand(connect: Callable[..., MqttPublisher]) -> Iterator[tuple[MqttPublisher, socket.socket]]:
    """A publisher whose CONNECT has arrived at the other end of the wire, where the test is the broker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        publisher = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        wire, _ = server.accept()
        with wire:
            wire.settimeout(10)
            assert wire.recv(4096)[0] == 0x10
            yield publisher, wire


def test_no_more_is_on_its_way_than_the_broker_allows(connect: Callable[..., MqttPublisher]) -> None:
    with by_hand(connect) as (publisher, wire):
        wire.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x01")  # CONNACK, receive maximum 1
        assert next_event(publisher) == Connected()

        tokens = [publisher.publish(Message("up", b"report %d" % n)) for n in range(3)]

        for n, token in enumerate(tokens):
            packet = wire.recv(4096)
            assert packet.endswith(b"report %d" % n)
            wire.settimeout(0.1)
            with pytest.raises(TimeoutError):  # this one alone
                wire.recv(1)
            wire.settimeout(10)
            wire.sendall(b"\x40\x02" + packet[6:8])  # PUBACK
            assert next_event(publisher) == Delivered(token)


def test_what_was_published_before_there_is_a_connection_is_left_to_the_spool(connect: Callable[..., MqttPublisher]) -> None:
    with by_hand(connect) as (publisher, wire):
        publisher.publish(Message("up", b"early"))
        wire.sendall(b"\x20\x03\x00\x00\x00")
        assert next_event(publisher) == Connected()

        publisher.publish(Message("up", b"in time"))

        packet = wire.recv(4096)
        assert packet.endswith(b"in time")
        assert b"early" not in packet


@pytest.mark.parametrize("size", [10, 80, 130, 16_300, 16_400])
def test_the_size_of_a_packet_is_known_to_the_byte(connect: Callable[..., MqttPublisher], size: int) -> None:
    message = Message("up/\u00fc", bytes(size), expiry=600, attributes={"id": "1"})
    with by_hand(connect) as (publisher, wire):
        wire.sendall(b"\x20\x03\x00\x00\x00")
        assert next_event(publisher) == Connected()

        publisher.publish(message)

        expected = packet_bytes(message, message_properties(message, PacketTypes.PUBLISH))
        got = 0
        while got < expected:
            got += len(wire.recv(65_536))
        wire.settimeout(0.1)
        with pytest.raises(TimeoutError):
            wire.recv(1)
        assert got == expected


def test_a_retained_acknowledgement_empties_the_spool_now_and_after_a_restart(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen
) -> None:
    device.write(mosquitto.url, broker='acknowledge = "collector"').put(5)
    fleet = listen(mosquitto)
    send = mien("send", "--settings", device.settings)
    wait_for(lambda: len(fleet.seqs) == 5 and device.held("sent") == 5, why="the reports")

    acknowledge(mosquitto, 3)
    wait_for(lambda: device.held("sent") == 2, why="the acknowledgement")
    send.end(signal.SIGTERM)
    acknowledge(mosquitto, 5)
    mien("send", "--settings", device.settings)

    wait_for(lambda: device.held("sent") == 1, why="the acknowledgement that came meanwhile")
    assert fleet.seqs == [1, 2, 3, 4, 5]


def acknowledge(broker: Mosquitto, seq: int) -> None:
    """Say, as a collector does, that everything up to ``seq`` is stored."""
    topic, payload = "mien/v1/shelf-7/down/ack", json.dumps({"seq": seq})
    subprocess.run(
        ["mosquitto_pub", "-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-r", "-t", topic, "-m", payload],
        check=True,
        timeout=10,
    )
