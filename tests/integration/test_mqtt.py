"""The sending process against real brokers: what arrives, what is said when nothing can, and that nothing is lost."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.packettypes import PacketTypes

from device.errors import BrokerError
from device.publishers import Connected, Delivered, Disconnected, Event, Message, Refused
from device.publishers import mqtt as mqtt_module
from device.publishers.mqtt import MqttPublisher, open_publisher
from device.settings import BrokerSettings
from tests.build import Device, envelope, free_port, put_reports
from tests.conftest import Listener, Mosquitto, Process, wait_for

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


def next_event(publisher: MqttPublisher) -> Event:
    return publisher.events.get(timeout=20)


def why_not(publisher: MqttPublisher) -> str:
    """Why there is no connection."""
    event = next_event(publisher)
    assert isinstance(event, Disconnected), event
    return event.reason


# What arrives


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

        expected = mqtt_module._packet_bytes(message, mqtt_module._properties(message, PacketTypes.PUBLISH))
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


# Refusals


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
    size = mqtt_module._packet_bytes(message, mqtt_module._properties(message, PacketTypes.PUBLISH))
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


# TLS


class Authority:
    """A certificate authority of our own, with a certificate for a broker and one for a device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.ca = self._write("ca", self._sign(self._name, self._key.public_key(), ca=True), None)

    def issue(self, name: str, host: str | None = None) -> Path:
        """A certificate, ``name.pem``; its key is ``name.key`` beside it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, self._sign(subject, key.public_key(), host=host), key)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool = False, host: str | None = None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.timezone.utc)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now - dt.timedelta(hours=1),
            not_valid_after=now + dt.timedelta(hours=1),
        ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(key)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(issuer, critical=False)
        if ca:
            usage = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign"), True) | dict.fromkeys(
                ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
                False,
            )
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        if host:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key is not None:
            write_key(path.with_suffix(".key"), key, serialization.NoEncryption())
        return path


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> Path:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def tls(authority: Authority, host: str = "127.0.0.1", *, mutual: bool = False) -> str:
    """Configuration of a broker that speaks TLS."""
    broker = authority.issue("broker", host)
    lines = [f"certfile {broker}", f"keyfile {broker.with_suffix('.key')}"]
    if mutual:
        lines += [f"cafile {authority.ca}", "require_certificate true", "use_identity_as_username true"]
    return "\n".join(lines) + "\n"


def test_reports_go_through_tls_with_a_certificate_of_the_device(
    device: Device, authority: Authority, start_mosquitto: Start, mien: Mien
) -> None:
    broker = start_mosquitto(tls(authority, mutual=True))
    own = authority.issue("shelf-7")
    identity = f'ca_file = "{authority.ca}"\ncertificate_file = "{own}"\nkey_file = "{own.with_suffix(".key")}"'
    device.write(f"mqtts://127.0.0.1:{broker.port}", identity).put(30)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0, send.complaints
    assert device.held("new") == 0
    assert "u'shelf-7'" in (device.folder / "mosquitto.log").read_text()


def test_an_authority_that_is_not_ours_is_refused_by_one_clear_line(
    device: Device, authority: Authority, start_mosquitto: Start, mien: Mien, tmp_path: Path
) -> None:
    broker = start_mosquitto(tls(authority))
    stranger = Authority(tmp_path / "stranger")
    device.write(f"mqtts://127.0.0.1:{broker.port}", f'ca_file = "{stranger.ca}"', 'log_level = "debug"').put(2)

    send = mien("send", "--settings", device.settings)
    wait_for(lambda: send.events("debug"), why="a further attempt")

    (line,) = send.events("warning")
    assert "the broker's certificate is not to be trusted" in line
    assert "check ca_file and the url" in line
    assert device.held("new") == 2
    assert "New client connected" not in (tmp_path / "mosquitto.log").read_text()


def test_a_certificate_for_another_host_is_refused(
    authority: Authority, start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    broker = start_mosquitto(tls(authority, host="127.0.0.2"))

    reason = why_not(connect(f"mqtts://127.0.0.1:{broker.port}", ca_file=authority.ca))

    assert "the broker's certificate is not to be trusted (IP address mismatch" in reason


def test_a_broker_that_wants_a_certificate_says_so_in_the_line(
    authority: Authority, start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    broker = start_mosquitto(tls(authority, mutual=True))

    reason = why_not(connect(f"mqtts://127.0.0.1:{broker.port}", ca_file=authority.ca))

    assert "certificate" in reason


def test_a_broker_without_tls_gets_nothing_in_the_clear(authority: Authority, connect: Callable[..., MqttPublisher]) -> None:
    with answering(b"\x20\x03\x00\x00\x00") as (address, heard):
        publisher = connect(f"mqtts://{address}", ca_file=authority.ca, username="shelf-7")

        assert "does the broker speak TLS on this port?" in why_not(publisher)
        wait_for(lambda: len(heard) >= 2, why="another attempt")

    for sent in heard:
        assert sent[:2] == b"\x16\x03"  # a TLS handshake
        assert b"MQTT" not in sent
        assert b"shelf-7" not in sent


def test_a_broker_with_tls_where_the_url_says_none_is_one_clear_line(
    authority: Authority, start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    broker = start_mosquitto(tls(authority))

    assert "without TLS as the url says" in why_not(connect(broker.url))


@pytest.mark.parametrize("wrong", ["missing", "not PEM", "the key of somebody else", "encrypted key", "missing key"])
def test_an_identity_that_cannot_be_used_is_refused_at_once_with_its_file(authority: Authority, wrong: str) -> None:
    own, other = authority.issue("shelf-7"), authority.issue("shelf-8")
    key = own.with_suffix(".key")
    match wrong:
        case "missing":
            own.unlink()
        case "not PEM":
            own.write_text("nothing")
        case "the key of somebody else":
            key = other.with_suffix(".key")
        case "encrypted key":
            secret = serialization.BestAvailableEncryption(b"secret")
            write_key(key, ec.generate_private_key(ec.SECP256R1()), secret)
        case "missing key":
            key.unlink()
    settings = BrokerSettings(url="mqtts://127.0.0.1:1", ca_file=authority.ca, certificate_file=own, key_file=key)

    with pytest.raises(BrokerError, match=r"shelf-7\.pem: cannot be used for TLS \(.+\); expected PEM, and its own key"):
        open_publisher(settings, "shelf-7", (), Message("will", b""))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_password_that_cannot_be_read_is_refused_at_once(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    settings = BrokerSettings(username="shelf-7", password_file=file)

    with pytest.raises(BrokerError, match=r"password.*expected it on the first line"):
        open_publisher(settings, "shelf-7", (), Message("will", b""))


def test_tls_is_at_least_version_1_2(authority: Authority, connect: Callable[..., MqttPublisher]) -> None:
    publisher = connect("mqtts://127.0.0.1:1", ca_file=authority.ca)

    assert publisher._tls is not None
    assert publisher._tls.minimum_version == ssl.TLSVersion.TLSv1_2
    assert publisher._tls.verify_mode == ssl.CERT_REQUIRED
    assert publisher._tls.check_hostname


# Without a broker


def test_reports_can_be_printed_instead(device: Device, mien: Mien) -> None:
    device.write("mqtt://127.0.0.1:1", 'publisher = "stdout"').put(3)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0
    assert [json.loads(line)["seq"] for line in send.out.read_text().splitlines()] == [1, 2, 3]
    assert device.held("new") == 0


def test_a_pipe_whose_reader_has_gone_is_one_clear_line_and_the_reports_stay(device: Device) -> None:
    device.write("mqtt://127.0.0.1:1", 'publisher = "stdout"').put(3)
    command = [sys.executable, "-m", "device.cli", "send", "--settings", str(device.settings), "--once"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as send:
        assert send.stdout is not None
        assert send.stderr is not None
        send.stdout.close()
        said = send.stderr.read()
        ended = send.wait(20)

    assert ended == 69
    assert [line for line in said.splitlines() if not line.startswith("{")] == [
        "mien: standard output: cannot write the report (Broken pipe); it stays in the spool"
    ]
    assert device.held("new") == 3
