"""The broker's configuration against the real Mosquitto: who reaches what, by delivery and not by SUBACK."""

from __future__ import annotations

import datetime as dt
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provisioning import fleet as fleets
from provisioning.authority import CRL_DAYS, Authority, utc_now
from provisioning.certificates import SERVICE
from provisioning.dynsec import Control
from provisioning.errors import BrokerError
from provisioning.fleet import Fleet
from provisioning.mosquitto import Size
from provisioning.revocation import revoke
from tests.build import free_port
from tests.conftest import MOSQUITTO, Process, wait_for
from tests.identities import PASSPHRASE, Client, Identity, claim, device, store

pytestmark = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"
)
KEY = "0123456789abcdef" * 4
CONTROL = "$CONTROL/dynamic-security/v1"


@dataclass
class World:
    """A fleet whose broker runs as ``mien-fleet broker``, two devices, two claims, and a witness who may reach everything.

    The witness is the only addition to the configuration: two lines at the end of the ACL file.
    """

    fleet: Fleet
    authority: Authority
    begin: Callable[[], Process]
    broker: Process = field(init=False)

    def __post_init__(self) -> None:
        acl = self.fleet.folder / "broker" / "acl"
        acl.write_text(acl.read_text() + "\nuser witness\ntopic readwrite #\n")
        folder = self.fleet.folder
        self.d1, self.d2, self.witness_identity = (device(self.authority, folder, name) for name in ("d1", "d2", "witness"))
        self.b1, self.b2 = (claim(self.authority, folder, batch) for batch in ("b1", "b2"))
        self.service = Identity(*self.fleet.service)
        self.start()

    def start(self) -> None:
        self.broker = self.begin()
        wait_for(lambda: "listening on" in self.broker.err.read_text() or not self.broker.running, why="the broker")
        assert self.broker.running, self.broker.err.read_text()

    def client(self, identity: Identity | None, **more: object) -> Client:
        return Client(self.fleet.ca, self.fleet.port, identity, **more)  # type: ignore[arg-type]

    def witness(self) -> Client:
        return self.client(self.witness_identity)


@pytest.fixture
def world(tmp_path: Path, start: Callable[..., Process]) -> Iterator[World]:
    with ExitStack() as stack:
        fleet = fleets.init(tmp_path / "fleet", f"mqtts://localhost:{free_port()}", Size(10, 24), PASSPHRASE)
        authority = Authority.open(fleet.folder, PASSPHRASE)

        def begin() -> Process:
            process = start(sys.executable, "-m", "provisioning.cli", "broker", fleet.folder)
            stack.callback(process.process.terminate)
            return process

        yield World(fleet, authority, begin)


# Topic classes. {me} is the own name, {other} another of the same kind.
DEVICE_MAY_WRITE = {
    "mien/v1/d1/up/report",
    "mien/v1/d1/up/status",
    "mien/v1/d1/up/twin",
    "mien/v1/d1/up/command/7",
    "mien/v1/d1/up/model",
    "mien/v1/d1/up/notice",
    f"mien-enroll/v1/d1/{KEY}/confirm",
}
DEVICE_MAY_READ = {
    "mien/v1/d1/down/ack",
    "mien/v1/d1/down/twin",
    "mien/v1/d1/down/command/7",
    "mien/v1/d1/down/model",
    f"mien-enroll/v1/d1/{KEY}/accepted",
    f"mien-enroll/v1/d1/{KEY}/rejected",
}
CLAIM_MAY_WRITE = {f"mien-enroll/v1/b1/{KEY}/csr", f"mien-enroll/v1/b1/{KEY}/register"}
CLAIM_MAY_READ = {f"mien-enroll/v1/b1/{KEY}/accepted", f"mien-enroll/v1/b1/{KEY}/rejected"}
OTHERS = {
    topic.replace("/d1/", "/d2/").replace("/b1/", "/b2/")
    for topic in DEVICE_MAY_WRITE | DEVICE_MAY_READ | CLAIM_MAY_WRITE | CLAIM_MAY_READ
}
EVERYTHING = sorted(
    DEVICE_MAY_WRITE
    | DEVICE_MAY_READ
    | CLAIM_MAY_WRITE
    | CLAIM_MAY_READ
    | OTHERS
    | {
        # what the patterns for the other kind would make of a name
        f"mien/v1/mien-enroll/v1/{batch}/{way}"
        for batch in ("b1", "b2")
        for way in ("up/report", "up/status", "down/twin", "down/ack")
    }
    | {f"mien-enroll/v1/mien-enroll/v1/b1/{KEY}/{word}" for word in ("confirm", "accepted", "rejected")}
    | {f"{name}/{KEY}/{word}" for name in ("d1", "d2", "b1") for word in ("csr", "register", "accepted", "rejected", "confirm")}
    | {f"mien-enroll/v1/{name}/{word}" for name in ("d1", "b1") for word in ("csr", "accepted", "confirm")}
    | {
        "mien/v1/d1",
        "mien/v1/d1/report",
        "mien/v1/up/report",
        "mien/v1//up/report",
        "mien/v1/d1/Up/report",
        "mien/v1/d11/up/report",
        "mien/v1/%u/up/report",
        "mien/v1/mien-fleet/up/report",
        "mien/v2/d1/up/report",
        "/mien/v1/d1/up/report",
        "MIEN/v1/d1/up/report",
        f"mien-enroll/v2/b1/{KEY}/csr",
        f"mien-enroll/v1/b1/b2/{KEY}/csr",
        "anything",
        "a/b/c",
        "d1",
        "d1/up/report",
        "mien-enroll/v1/b1",
    }
)
WILDCARDS = (
    "#",
    "/#",
    "+/#",
    "+/+/+",
    "+/+/+/+/+",
    "mien/#",
    "mien/v1/#",
    "mien/v1/+/down/#",
    "mien/v1/+/up/#",
    "mien/v1/d2/#",
    "mien-enroll/#",
    "mien-enroll/v1/+/+/accepted",
    "mien-enroll/v1/b2/#",
    "$SYS/#",
    "$SYS/broker/clients/connected",
    "$CONTROL/#",
    f"{CONTROL}/response",
)


@pytest.mark.parametrize(("who", "allowed"), [("d1", DEVICE_MAY_WRITE), ("b1", CLAIM_MAY_WRITE)], ids=["device", "claim"])
@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
def test_a_certificate_publishes_to_its_own_topics_and_nothing_else(
    world: World, who: str, allowed: set[str], retain: bool
) -> None:
    with world.witness() as witness, world.client(getattr(world, who)) as client:
        witness.subscribe("#")

        accepted = {topic for topic in EVERYTHING if client.publish(topic, b"from " + who.encode(), retain=retain)}
        witness.publish("the end", b"")
        wait_for(lambda: ("the end", b"") in witness.received, why="the last message")

    assert {topic for topic, payload in witness.received if payload} == allowed
    assert accepted == allowed  # and MQTT 5 has told the sender


@pytest.mark.parametrize(("who", "allowed"), [("d1", DEVICE_MAY_READ), ("b1", CLAIM_MAY_READ)], ids=["device", "claim"])
@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
def test_a_certificate_reads_its_own_topics_and_nothing_else(world: World, who: str, allowed: set[str], retain: bool) -> None:
    with world.witness() as witness, world.client(getattr(world, who)) as client:
        if not retain:
            client.subscribe(*WILDCARDS, *EVERYTHING)
        for topic in EVERYTHING:
            assert witness.publish(topic, b"for somebody", retain=retain)
        if retain:
            client.subscribe(*WILDCARDS, *EVERYTHING)
        wait_for(lambda: {topic for topic, _ in client.received} >= allowed, why="what it may read")
        last = min(allowed)
        witness.publish(last, b"the end")
        wait_for(lambda: (last, b"the end") in client.received, why="the last message")

    assert {topic for topic, _ in client.received} == allowed


def test_a_shared_subscription_gets_nothing_that_is_somebody_elses(world: World) -> None:
    with world.witness() as witness, world.client(world.d1) as client:
        client.subscribe("$share/g/#", "$share/g/mien/v1/+/down/#", "$share/h/mien/v1/+/up/#", "mien/v1/d1/down/ack")
        for topic in EVERYTHING:
            witness.publish(topic, b"for somebody")
        witness.publish("mien/v1/d1/down/ack", b"the end")
        wait_for(lambda: ("mien/v1/d1/down/ack", b"the end") in client.received, why="the last message")

    assert {topic for topic, _ in client.received} <= DEVICE_MAY_READ


@pytest.mark.parametrize("who", ["d1", "b1"])
def test_nobody_but_the_service_commands_dynamic_security(world: World, who: str) -> None:
    with world.client(getattr(world, who)) as client:
        assert not client.publish(CONTROL, b'{"commands": [{"command": "createClient", "username": "x"}]}')

    with Control(world.fleet) as control:
        control.cut("d2")
    state = (world.fleet.folder / "trial" / "dynamic-security.json").read_text()
    assert '"d2"' in state
    assert '"x"' not in state


def test_a_last_will_for_somebody_elses_topic_is_told_to_nobody(world: World) -> None:
    with world.witness() as witness:
        witness.subscribe("#")
        for name, will in (("bad", "mien/v1/d2/up/status"), ("good", "mien/v1/d1/up/status")):
            client = world.client(world.d1, name=name, will=will)
            client.open()
            client.vanish()
        wait_for(lambda: ("mien/v1/d1/up/status", b"will") in witness.received, why="the will")
        witness.publish("the end", b"")
        wait_for(lambda: ("the end", b"") in witness.received, why="the last message")

    assert {topic for topic, _ in witness.received} == {"mien/v1/d1/up/status", "the end"}


def test_the_name_in_the_certificate_counts_and_not_what_a_client_calls_itself(world: World) -> None:
    with world.client(world.d1, name="d2", username=SERVICE) as client:
        assert not client.publish("mien/v1/d2/up/report", b"x")
        assert not client.publish(CONTROL, b"{}")
        assert client.publish("mien/v1/d1/up/report", b"x")


def test_the_service_reaches_every_device_and_every_enrolment(world: World) -> None:
    asked = ["mien/v1/d1/up/report", f"mien-enroll/v1/b1/{KEY}/csr"]
    with world.client(world.service) as service, world.client(world.d1) as one, world.client(world.b1) as box:
        service.subscribe("$share/serve/mien/v1/+/up/#", "$share/serve/mien-enroll/v1/+/+/csr")
        one.subscribe("mien/v1/d1/down/#")
        box.subscribe(f"mien-enroll/v1/b1/{KEY}/accepted")

        assert one.publish(asked[0], b"1")
        assert box.publish(asked[1], b"2")
        wait_for(lambda: len(service.received) == 2, why="both")
        assert service.publish("mien/v1/d1/down/twin", b"3")
        assert service.publish(f"mien-enroll/v1/b1/{KEY}/accepted", b"4")
        wait_for(lambda: one.received and box.received, why="the answers")

    assert sorted(topic for topic, _ in service.received) == sorted(asked)


def test_who_has_no_certificate_of_this_fleet_does_not_come_in(world: World, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "stranger", PASSPHRASE)
    past = Authority.open(world.fleet.folder, PASSPHRASE, lambda: utc_now() - dt.timedelta(days=5))
    broker = Identity(world.fleet.folder / "broker" / "broker.pem", world.fleet.folder / "broker" / "broker.key")
    refused = {
        "without": None,
        "of another authority": device(stranger, tmp_path, "d1"),
        "expired": store(tmp_path, "old", *past.issue_claim("b1", 1)),
        "the broker's own": broker,
    }

    assert {name: world.client(identity).open() for name, identity in refused.items()} == dict.fromkeys(refused, False)
    with socket.create_connection(("localhost", world.fleet.port)) as plain:
        plain.sendall(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc")
        with suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"\x20")  # no CONNACK in the clear


def test_revoking_ends_a_session_within_five_seconds_and_refuses_the_next_connection(world: World) -> None:
    with world.client(world.d1) as gone, world.client(world.d2) as other, world.witness() as witness:
        witness.subscribe("mien/v1/+/up/report")
        began = time.monotonic()

        revoke(world.fleet, world.authority, "d1", {world.d1.serial: None})

        wait_for(gone.ended.is_set, seconds=5, why="the end of the session")
        assert time.monotonic() - began < 5
        again = world.client(world.d1)
        if again.open():  # before the broker has read the list: it may say nothing
            assert not again.publish("mien/v1/d1/up/report", b"still here")
        again.close()
        wait_for(lambda: not world.client(world.d1).open(), seconds=5, why="the refusal")
        assert other.publish("mien/v1/d2/up/report", b"here")  # nobody else notices
        wait_for(lambda: witness.received, why="the other's report")
        assert witness.received == [("mien/v1/d2/up/report", b"here")]
        assert not other.ended.is_set()


def test_a_name_that_was_cut_can_be_given_to_a_new_certificate(world: World, tmp_path: Path) -> None:
    revoke(world.fleet, world.authority, "d1", {world.d1.serial: None})
    revoke(world.fleet, world.authority, "d1", {world.d1.serial: None})  # twice is as good as once
    new = device(world.authority, tmp_path, "d1")

    with Control(world.fleet) as control:
        control.restore("d1")
        control.restore("d1")

    with world.client(new) as client:
        assert client.publish("mien/v1/d1/up/report", b"x")
    wait_for(lambda: not world.client(world.d1).open(), why="the refusal of the old one")


def test_a_cut_outlives_a_restart_of_the_broker(world: World) -> None:
    with Control(world.fleet) as control:
        control.cut("d1")
    world.broker.end()
    world.start()

    with world.client(world.d1) as client, world.client(world.d2) as other:
        assert not client.publish("mien/v1/d1/up/report", b"x")
        assert other.publish("mien/v1/d2/up/report", b"x")


def test_an_expired_list_refuses_everybody_until_it_is_renewed(world: World) -> None:
    path = world.fleet.folder / "broker" / "crl.pem"
    long_ago = Authority.open(world.fleet.folder, PASSPHRASE, lambda: utc_now() - dt.timedelta(days=CRL_DAYS + 1))
    for name in ("crl.json", "crl.pem"):
        (world.fleet.folder / "authority" / name).unlink()
    path.write_bytes(long_ago.crl())
    world.broker.end()
    world.start()
    assert not world.client(world.d1).open()
    secret = world.fleet.folder / "passphrase"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)

    words = ["-m", "provisioning.cli", "crl", "renew", str(world.fleet.folder), "--passphrase-file", str(secret)]
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)

    assert f"{path} is good for 30 days" in done.stdout
    wait_for(lambda: world.client(world.d1).open(), why="the broker reads the new list")


def test_a_service_that_was_away_finds_more_than_the_default_queue_after_a_restart(world: World) -> None:
    with world.client(world.service, name="collector", session=3600) as service:
        service.subscribe("mien/v1/+/up/report")
    with world.client(world.d1) as one:
        for number in range(1500):
            one.send("mien/v1/d1/up/report", b"%d" % number)
        wait_for(lambda: len(one.codes) == 1500, why="all PUBACKs")
    world.broker.end(signal.SIGTERM)
    world.start()

    with world.client(world.service, name="collector", session=3600) as service:
        wait_for(lambda: len(service.received) >= 1500, why="all reports")

    assert [payload for _, payload in service.received] == [b"%d" % number for number in range(1500)]


def test_a_packet_that_is_too_large_ends_its_sender_alone(world: World) -> None:
    with world.client(world.d1) as large, world.client(world.d2) as other:
        assert not large.publish("mien/v1/d1/up/report", b"x" * 1_000_000)
        wait_for(large.ended.is_set, why="the end")

        assert other.publish("mien/v1/d2/up/report", b"x" * 4096)


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed")
def test_mosquitto_pub_and_sub_agree(world: World, start: Callable[..., Process]) -> None:
    def words(who: Identity) -> tuple[str | Path, ...]:
        where: tuple[str | Path, ...] = ("-V", "mqttv5", "-h", "localhost", "-p", str(world.fleet.port), "--cafile", world.fleet.ca)
        return (*where, "--cert", who.certificate, "--key", who.key, "-q", "1")

    def publish(who: Identity, topic: str) -> str:
        done = subprocess.run(["mosquitto_pub", *words(who), "-t", topic, "-m", topic], check=False, capture_output=True, text=True)
        return done.stderr

    heard = start(
        "stdbuf", "-oL", "mosquitto_sub", *words(world.service), "-d", "-t", "mien/v1/+/up/#", "-t", "mien-enroll/v1/+/+/csr"
    )
    wait_for(lambda: "Subscribed" in heard.out.read_text(), why="the subscription")

    assert publish(world.d1, "mien/v1/d1/up/report") == ""
    assert "Not authorized" in publish(world.d1, "mien/v1/d2/up/report")
    assert "Not authorized" in publish(world.d1, f"mien-enroll/v1/b1/{KEY}/csr")
    assert publish(world.b1, f"mien-enroll/v1/b1/{KEY}/csr") == ""
    assert "Not authorized" in publish(world.b1, f"mien-enroll/v1/b2/{KEY}/csr")
    assert "Not authorized" in publish(world.b1, "mien/v1/b1/up/report")
    wait_for(lambda: f"mien-enroll/v1/b1/{KEY}/csr\n" in heard.out.read_text(), why="the CSR")
    assert "mien/v1/d2" not in heard.out.read_text()


def test_a_broker_that_does_not_run_is_one_clear_line(world: World) -> None:
    world.broker.end()

    with pytest.raises(BrokerError, match="is the broker running, and is this its name"), Control(world.fleet):
        pass


def test_a_broker_whose_port_is_taken_says_so(world: World, start: Callable[..., Process]) -> None:
    second = start(sys.executable, "-m", "provisioning.cli", "broker", world.fleet.folder)

    assert second.wait() == 69
    assert f"port {world.fleet.port} is taken" in second.err.read_text()


def test_a_trial_broker_ends_with_the_command_that_started_it(world: World) -> None:
    world.broker.end(signal.SIGKILL)

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", world.fleet.port)) != 0

    wait_for(gone, why="the end of mosquitto")
