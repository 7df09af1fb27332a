"""Brokers that refuse, limit, garble, or do not answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes

from device.publishers import Connected, Delivered, Disconnected, Message, Refused
from device.publishers import mqtt as mqtt_module
from device.publishers._packets import message_properties, packet_bytes
from device.publishers.mqtt import MqttPublisher
from tests.build import Device, envelope, free_port
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.integration.conftest import answering, next_event, why_not

Mien = Callable[..., Process]
Listen = Callable[..., Listener]
Start = Callable[..., Mosquitto]

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker

async def main():
    broker = Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    })
    await broker.start()
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_without_a_broker_once_ends_with_69_and_one_line_and_nothing_is_lost(device: Device, mien: Mien) -> None:
    device.write(f"mqtt://127.0.0.1:{free_port()}").put(2)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 69
    (line,) = send.complaints
    assert "cannot reach it (Connection refused); check the url and that the broker is running" in line
    assert "Nothing was lost" in line
    assert len(send.events("warning")) == 1
    assert device.held("new") == 2


def test_a_wrong_password_is_one_clear_line_and_the_reports_stay(
    device: Device, start_mosquitto: Start, mien: Mien, listen: Listen, tmp_path: Path
) -> None:
    passwords, password = tmp_path / "passwords", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "shelf-7", "right"], check=True, timeout=10)
    broker = start_mosquitto(f"allow_anonymous false\npassword_file {passwords}\n")
    password.write_text("wrong\n")
    device.write(broker.url, f'username = "shelf-7"\npassword_file = "{password}"', 'log_level = "debug"').put(2)

    send = mien("send", "--settings", device.settings)
    wait_for(lambda: len(send.events("debug")) >= 2, why="further attempts")
    send.end()
    password.write_text("right\nand a line that does not matter\n")
    good = mien("send", "--settings", device.settings, "--once").wait()

    (line,) = send.events("warning")
    assert line == (
        f"not connected: {broker.url}: the broker refuses this device (Not authorized); "
        "check username, password and certificate, and the broker's log"
    )
    assert good == 0
    assert device.held("new") == 0


def test_a_topic_that_may_not_be_written_is_one_clear_line_and_the_reports_stay(
    device: Device, start_mosquitto: Start, mien: Mien, tmp_path: Path
) -> None:
    """The broker confirms the message, with a reason that says it threw it away."""
    access = tmp_path / "access"
    access.write_text("topic write mien/v1/shelf-7/up/status\n")
    broker = start_mosquitto(f"acl_file {access}\n")
    device.write(broker.url).put(3)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 69
    assert len(send.events("error")) == len(send.complaints) == 1
    assert "Not authorized" in send.complaints[0]
    assert (device.held("new"), device.held("sent")) == (3, 0)


def test_a_collector_that_may_not_be_heard_is_one_clear_line(device: Device, mien: Mien) -> None:
    """mosquitto lets everybody subscribe, and then keeps quiet; others answer like this."""
    with answering(b"\x20\x03\x00\x00\x00" + b"\x90\x04\x00\x01\x00\x87", keep=True) as (address, _):
        device.write(f"mqtt://{address}", 'acknowledge = "collector"')

        send = mien("send", "--settings", device.settings)

        wait_for(lambda: send.events("error"), why="the line")
    assert send.events("error") == [
        "mien/v1/shelf-7/down/ack: the broker does not let this device listen (Not authorized); check its access list"
    ]


def test_a_report_larger_than_the_broker_takes_is_one_clear_line_and_stays(
    device: Device, start_mosquitto: Start, mien: Mien
) -> None:
    broker = start_mosquitto("max_packet_size 500\n")
    device.write(broker.url).put(2)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 69
    (line,) = send.complaints
    assert "the broker takes packets of 500 bytes at most, and this one is larger" in line
    assert not send.events("warning")  # the connection has stood
    assert device.held("new") == 2


def test_a_report_just_as_large_as_the_broker_takes_is_sent_and_one_byte_more_is_not(
    start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    one = envelope()
    message = Message("mien/v1/shelf-7/up/report", one.payload(), expiry=600, attributes=one.cloud_event("shelf-7"))
    size = packet_bytes(message, message_properties(message, PacketTypes.PUBLISH))
    exact, short = (start_mosquitto(f"max_packet_size {limit}\n") for limit in (size, size - 1))

    for broker, kind in ((exact, Delivered), (short, Refused)):
        publisher = connect(broker.url)
        assert next_event(publisher) == Connected()
        token = publisher.publish(message)
        answer = next_event(publisher)
        assert isinstance(answer, kind)
        assert answer.token == token


def test_a_broker_of_version_3_1_1_is_told_by_a_clear_line(
    start: Callable[..., Process], connect: Callable[..., MqttPublisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """amqtt is one; it stumbles over the CONNECT of version 5 and never answers it."""
    port = free_port()
    broker = start(sys.executable, "-c", AMQTT, str(port))
    wait_for(lambda: "ready" in broker.out.read_text() or not broker.running, why="amqtt")
    monkeypatch.setattr(mqtt_module, "CONNECT_TIMEOUT", 1.0)

    reason = why_not(connect(f"mqtt://127.0.0.1:{port}"))

    assert reason == f"mqtt://127.0.0.1:{port}: no answer within 1 seconds; check the url and that the broker speaks MQTT 5"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x20\x02\x00\x01", "the broker does not speak MQTT 5"),  # as MQTT 3.1.1 prescribes
        (b"\x20\x02\x00\x05", "does it speak MQTT 5"),
        (b"", "the connection ended before the broker answered; does it speak MQTT 5, and without TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "MQTT 5"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "MQTT 5"),
        (b"\x20\x03\x00\x00\x00" + b"\x40\x7f" + b"\xff" * 200, "the connection ended"),
        (b"\x20\xff\xff\xff\xff\xff", "MQTT 5"),
    ],
    ids=["3.1.1", "3.1.1 refusing", "closing", "web server", "ssh", "rubbish after the greeting", "endless length"],
)
def test_whatever_answers_in_place_of_a_broker_there_is_one_clear_line_and_it_goes_on_trying(
    connect: Callable[..., MqttPublisher], answer: bytes, said: str
) -> None:
    with answering(answer) as (address, heard):
        publisher = connect(f"mqtt://{address}")

        first = next_event(publisher)
        reason = why_not(publisher) if first == Connected() else first.reason if isinstance(first, Disconnected) else ""

        assert said in reason
        assert reason.startswith(f"mqtt://{address}: ")
        wait_for(lambda: len(heard) >= 2, why="another attempt")


def test_a_server_that_never_answers_is_given_up_in_time(
    connect: Callable[..., MqttPublisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_module, "CONNECT_TIMEOUT", 0.5)

    with answering(b"", keep=True) as (address, _):
        assert "no answer within" in why_not(connect(f"mqtt://{address}", keepalive_seconds=3600))


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_host_that_does_not_exist_is_said(connect: Callable[..., MqttPublisher], host: str) -> None:
    assert "no such host" in why_not(connect(f"mqtt://{host}:1883"))


def test_much_at_once_from_another_thread_arrives_whole(mosquitto: Mosquitto, connect: Callable[..., MqttPublisher]) -> None:
    publisher = connect(mosquitto.url)
    assert next_event(publisher) == Connected()
    payload = bytes(60_000)

    tokens = [publisher.publish(Message("much", payload)) for _ in range(300)]

    assert [next_event(publisher) for _ in tokens] == [Delivered(token) for token in tokens]


def test_many_attempts_leave_nothing_open(connect: Callable[..., MqttPublisher], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_module, "FIRST_WAIT", 0.0)
    publisher = connect(f"mqtt://127.0.0.1:{free_port()}")
    why_not(publisher)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(100):
        why_not(publisher)

    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3
