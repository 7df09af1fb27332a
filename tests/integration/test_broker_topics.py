"""The broker's configuration against the real Mosquitto: who reaches what, by delivery and not by SUBACK."""

from __future__ import annotations

import datetime as dt
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from provisioning.authority import Authority, utc_now
from provisioning.certificates import SERVICE
from provisioning.dynsec import Control
from tests.conftest import wait_for
from tests.identities import PASSPHRASE, Identity, device, store
from tests.trial import Trial

KEY = "0123456789abcdef" * 4
CONTROL = "$CONTROL/dynamic-security/v1"

# Topic classes. {me} is the own name, {other} another of the same kind.
DEVICE_MAY_WRITE = {
    "mien/v1/d1/up/report",
    "mien/v1/d1/up/status",
    "mien/v1/d1/up/twin",
    "mien/v1/d1/up/command/7",
    "mien/v1/d1/up/model",
    "mien/v1/d1/up/notice",
    "mien/v1/d1/up/renew",
    "mien/v1/d1/up/reply/7",
    f"mien-enroll/v1/d1/{KEY}/confirm",
}
DEVICE_MAY_READ = {
    "mien/v1/d1/down/ack",
    "mien/v1/d1/down/twin",
    "mien/v1/d1/down/command/7",
    "mien/v1/d1/down/model",
    "mien/v1/d1/down/renew/accepted",
    "mien/v1/d1/down/renew/rejected",
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
    trial: Trial, who: str, allowed: set[str], retain: bool
) -> None:
    with trial.witness() as witness, trial.client(getattr(trial, who)) as client:
        witness.subscribe("#")

        accepted = {topic for topic in EVERYTHING if client.publish(topic, b"from " + who.encode(), retain=retain)}
        witness.publish("the end", b"")
        wait_for(lambda: ("the end", b"") in witness.received, why="the last message")

    assert {topic for topic, payload in witness.received if payload} == allowed
    assert accepted == allowed  # and MQTT 5 has told the sender


@pytest.mark.parametrize(("who", "allowed"), [("d1", DEVICE_MAY_READ), ("b1", CLAIM_MAY_READ)], ids=["device", "claim"])
@pytest.mark.parametrize("retain", [False, True], ids=["live", "retained"])
def test_a_certificate_reads_its_own_topics_and_nothing_else(trial: Trial, who: str, allowed: set[str], retain: bool) -> None:
    with trial.witness() as witness, trial.client(getattr(trial, who)) as client:
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


def test_a_shared_subscription_gets_nothing_that_is_somebody_elses(trial: Trial) -> None:
    with trial.witness() as witness, trial.client(trial.d1) as client:
        client.subscribe("$share/g/#", "$share/g/mien/v1/+/down/#", "$share/h/mien/v1/+/up/#", "mien/v1/d1/down/ack")
        for topic in EVERYTHING:
            witness.publish(topic, b"for somebody")
        witness.publish("mien/v1/d1/down/ack", b"the end")
        wait_for(lambda: ("mien/v1/d1/down/ack", b"the end") in client.received, why="the last message")

    assert {topic for topic, _ in client.received} <= DEVICE_MAY_READ


@pytest.mark.parametrize("who", ["d1", "b1"])
def test_nobody_but_the_service_commands_dynamic_security(trial: Trial, who: str) -> None:
    with trial.client(getattr(trial, who)) as client:
        assert not client.publish(CONTROL, b'{"commands": [{"command": "createClient", "username": "x"}]}')

    with Control(trial.fleet) as control:
        control.cut("d2")
    state = (trial.fleet.folder / "trial" / "dynamic-security.json").read_text()
    assert '"d2"' in state
    assert '"x"' not in state


def test_a_last_will_for_somebody_elses_topic_is_told_to_nobody(trial: Trial) -> None:
    with trial.witness() as witness:
        witness.subscribe("#")
        for name, will in (("bad", "mien/v1/d2/up/status"), ("good", "mien/v1/d1/up/status")):
            client = trial.client(trial.d1, name=name, will=will)
            client.open()
            client.vanish()
        wait_for(lambda: ("mien/v1/d1/up/status", b"will") in witness.received, why="the will")
        witness.publish("the end", b"")
        wait_for(lambda: ("the end", b"") in witness.received, why="the last message")

    assert {topic for topic, _ in witness.received} == {"mien/v1/d1/up/status", "the end"}


def test_the_name_in_the_certificate_counts_and_not_what_a_client_calls_itself(trial: Trial) -> None:
    with trial.client(trial.d1, name="d2", username=SERVICE) as client:
        assert not client.publish("mien/v1/d2/up/report", b"x")
        assert not client.publish(CONTROL, b"{}")
        assert client.publish("mien/v1/d1/up/report", b"x")


def test_the_service_reaches_every_device_and_every_enrolment(trial: Trial) -> None:
    asked = ["mien/v1/d1/up/report", f"mien-enroll/v1/b1/{KEY}/csr"]
    with trial.client(trial.service) as service, trial.client(trial.d1) as one, trial.client(trial.b1) as box:
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


def test_who_has_no_certificate_of_this_fleet_does_not_come_in(trial: Trial, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "stranger", PASSPHRASE)
    past = Authority.open(trial.fleet.folder, PASSPHRASE, lambda: utc_now() - dt.timedelta(days=5))
    broker = Identity(trial.fleet.folder / "broker" / "broker.pem", trial.fleet.folder / "broker" / "broker.key")
    refused = {
        "without": None,
        "of another authority": device(stranger, tmp_path, "d1"),
        "expired": store(tmp_path, "old", *past.issue_claim("b1", 1)),
        "the broker's own": broker,
    }

    assert {name: trial.client(identity).open() for name, identity in refused.items()} == dict.fromkeys(refused, False)
    with socket.create_connection(("localhost", trial.fleet.port)) as plain:
        plain.sendall(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc")
        with suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"\x20")  # no CONNACK in the clear
