"""From nothing to a device that publishes with its own certificate: real processes, the real broker, mutual TLS."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509

from device.commands.enroll import wait_for_the_clock
from device.contract_enroll import enroll_topic
from device.identity import Key
from device.stop import Stop
from tests.build import put_reports, recorded, settings_text
from tests.conftest import MOSQUITTO, Process, wait_for
from tests.fleet import Box
from tests.identities import Client, Identity
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def box(world: World, start: Callable[..., Process]) -> BoxFiles:
    """A box whose key is on the list, as SN-1."""
    made = BoxFiles(world, "box", start)
    made.key.parent.mkdir()
    (world.base / "list").write_text(f"SN-1 {Key.open(made.key).sha256}\nSN-2\n")
    world.fleet("batch", "add", "berlin", "--setting", "retail", "--jurisdiction", "DE", "--list", str(world.base / "list"))
    world.fleet("claim", "new", "berlin", *world.secret)
    return made


@pytest.fixture
def made_before(world: World) -> None:
    """The claim, before the boxes that copy it."""
    world.fleet("batch", "add", "berlin", "SN-2", "--setting", "retail", "--jurisdiction", "DE")
    world.fleet("claim", "new", "berlin", *world.secret)


def enrolled(world: World, box: BoxFiles) -> None:
    """Exactly one active certificate, in the registry and on the device, and no claim."""
    (device,) = (one for one in world.devices() if one["serial"] == "SN-1")
    own = x509.load_pem_x509_certificates(box.certificate.read_bytes())[0]
    assert device["state"] == "live"
    assert own.subject.rfc4514_string() == f"CN={device['name']}"
    assert box.state == "enrolled"
    assert sorted(file.name for file in box.claim.iterdir()) == ["ca.pem"]
    modes = {file.name: file.stat().st_mode & 0o777 for file in box.key.parent.iterdir()}
    assert modes.pop(box.certificate.name) == 0o644  # for the watching process, too, which obeys what is signed in it
    assert set(modes.values()) == {0o600}


@pytest.mark.usefixtures("made_before")
def test_a_box_from_nothing_publishes_with_its_own_certificate(world: World, box: BoxFiles, start: Callable[..., Process]) -> None:
    first, second = world.serve(), world.serve()
    enroll = box.enroll("SN-1")
    assert enroll.wait(60) == 0, enroll.err.read_text()
    put_reports(box.folder / "spool", 3)
    (name,) = (one["name"] for one in world.devices() if one["serial"] == "SN-1")

    with world.service() as witness:
        witness.subscribe("mien/v1/+/up/report")
        send = start(sys.executable, "-m", "device.cli", "send", "--settings", box.folder / "settings.toml", "--once")
        assert send.wait(60) == 0, send.err.read_text()
        wait_for(lambda: len(witness.received) == 3, why="the reports")

    enrolled(world, box)
    assert {topic for topic, _ in witness.received} == {f"mien/v1/{name}/up/report"}
    assert world.audit("SN-1") == [("csr", "accepted"), ("register", "accepted"), ("confirm", "accepted")]
    assert (first.end(), second.end()) == (0, 0)


@pytest.mark.usefixtures("made_before")
@pytest.mark.parametrize(("silent", "state"), [("csr", "asking"), ("register", "registering"), ("confirm", "confirming")])
def test_device_and_service_killed_in_any_state_end_with_one_certificate(
    world: World, box: BoxFiles, silent: str, state: str
) -> None:
    service, enroll = world.odd(f"silent={silent}"), box.enroll("SN-1")
    wait_for(lambda: box.state == state or not enroll.running, 60, why=state)
    wait_for(lambda: "as enroll-" in world.broker.err.read_text(), why="the connection")
    assert enroll.running, enroll.err.read_text()
    for process in (enroll, service):
        process.end(signal.SIGKILL)
    assert box.state == state

    world.serve()
    again = box.enroll("SN-1")

    assert again.wait(90) == 0, again.err.read_text()
    enrolled(world, box)


@pytest.mark.usefixtures("made_before")
def test_a_second_holder_of_the_claim_can_neither_finish_nor_hijack_nor_stop_another_enrolment(world: World, box: BoxFiles) -> None:
    """The thief has the claim's files, hears every answer under it, and sends what he can under the victim's key."""
    thief, key = Box("SN-1"), Key.open(box.key).sha256
    claim = Identity(world.folder / "claims/berlin/claim.pem", world.folder / "claims/berlin/claim.key")
    with Client(world.folder / "ca.pem", world.port, claim) as client:
        client.subscribe("mien-enroll/v1/berlin/+/accepted", "mien-enroll/v1/berlin/+/rejected", "mien-enroll/v1/berlin/+/csr")
        service = world.odd("silent=register")
        enroll = box.enroll("SN-1")
        wait_for(lambda: box.state == "registering", 60, why="the certificate")
        wait_for(lambda: client.received, why="what the thief hears")
        token = json.loads(client.received[0][1])["token"]
        service.end(signal.SIGKILL)
        os.kill(enroll.process.pid, signal.SIGSTOP)  # so that the thief is first
        world.serve()

        assert client.publish(enroll_topic("berlin", thief.id, "csr"), thief.csr())
        assert client.publish(enroll_topic("berlin", thief.id, "register"), thief.proof("register", "berlin", token))
        assert client.publish(enroll_topic("berlin", key, "register"), thief.proof("register", "berlin", token, key=key))
        assert client.publish(enroll_topic("berlin", key, "csr"), thief.csr())
        forged = json.dumps(
            {"schema": 1, "step": "register", "nonce": "0" * 32, "code": "revoked", "message": "", "retry_after_s": 9}
        )
        assert not client.publish(enroll_topic("berlin", key, "rejected"), forged.encode())
        wait_for(lambda: len([1 for topic, _ in client.received if topic.endswith("/rejected")]) == 4, why="four rejections")
        os.kill(enroll.process.pid, signal.SIGCONT)
        assert enroll.wait(90) == 0, enroll.err.read_text()

    codes = [json.loads(payload).get("code") for topic, payload in client.received if topic.endswith("/rejected")]
    assert codes[:4] == ["key_not_registered", "token_foreign", "bad_signature", "wrong_key"]
    assert not [topic for topic, _ in client.received if topic.endswith("/csr")]
    enrolled(world, box)


@pytest.mark.usefixtures("made_before")
def test_a_box_without_a_key_on_the_list_waits_for_approval(world: World, start: Callable[..., Process]) -> None:
    box = BoxFiles(world, "other", start)
    world.serve()
    enroll = box.enroll("SN-2")
    wait_for(lambda: [one for one in world.devices() if one["state"] == "waiting"], 60, why="the request")
    enroll.end(signal.SIGKILL)  # its next question comes at once when it starts, instead of in a minute

    world.fleet("approve", "SN-2")
    again = box.enroll("SN-2")

    assert again.wait(60) == 0, again.err.read_text()
    assert [one["state"] for one in world.devices() if one["serial"] == "SN-2"] == ["live"]
    assert any("waiting for mien-fleet approve" in event for event in enroll.events("warning"))


@pytest.mark.usefixtures("made_before")
def test_a_device_that_is_revoked_is_out_until_a_person_lets_it_in(world: World, box: BoxFiles) -> None:
    world.serve()
    assert box.enroll("SN-1").wait(60) == 0
    (name,) = (one["name"] for one in world.devices() if one["serial"] == "SN-1")
    own = Identity(box.certificate, box.key)

    with Client(world.folder / "ca.pem", world.port, own) as client:
        world.fleet("revoke", name, *world.secret)
        wait_for(client.ended.is_set, 5, why="the end of its session")

    assert [one["state"] for one in world.devices() if one["serial"] == "SN-1"] == ["revoked"]
    for name in ("claim.pem", "claim.key"):
        (box.claim / name).write_bytes((world.folder / "claims" / "berlin" / name).read_bytes())
    again = box.enroll("SN-1", "--again")
    wait_for(lambda: any("was revoked" in event for event in again.events("warning")), 60, why="the refusal")
    again.end(signal.SIGKILL)
    world.fleet("approve", "SN-1")
    assert box.enroll("SN-1").wait(60) == 0
    enrolled(world, box)


def test_a_clock_at_1970_waits_until_it_is_set_and_says_so() -> None:
    made = datetime(2026, 11, 1, tzinfo=timezone.utc)
    times = iter([datetime(1970, 1, 1, tzinfo=timezone.utc)] * 4 + [datetime(2026, 11, 2, tzinfo=timezone.utc)] * 4)
    log, entries = recorded()

    class Ticks(Stop):
        def wait(self, seconds: float) -> bool:
            return False

    assert wait_for_the_clock(made, Ticks(), log, lambda: next(times))
    (line,) = entries
    assert "this clock says 1970-01-01 00:00, and the claim was made on 2026-11-01" in line["event"]


@pytest.mark.parametrize("wrong", ["no claim", "no place for the identity", "a damaged key", "no serial"])
def test_what_a_person_got_wrong_is_one_line(tmp_path: Path, mien: Callable[..., Process], wrong: str) -> None:
    identity = f'certificate_file = "{tmp_path}/device.pem"\nkey_file = "{tmp_path}/device.key"'
    text = settings_text(tmp_path, "mqtts://localhost:1", broker="" if wrong == "no place for the identity" else identity)
    (tmp_path / "settings.toml").write_text(text)
    if wrong == "a damaged key":
        (tmp_path / "device.key").write_text("rubbish")
    words = [] if wrong == "no serial" else ["--serial", "SN-1"]

    enroll = mien("enroll", "--settings", tmp_path / "settings.toml", "--claim", tmp_path / "claim", *words)

    code = enroll.wait()
    expected = {
        "no claim": (65, "expected claim.pem, claim.key and ca.pem"),
        "no place for the identity": (78, "broker.certificate_file and broker.key_file"),
        "a damaged key": (65, "expected an EC P-256 key in PEM"),
        "no serial": (78, "give it with --serial"),
    }[wrong]
    assert (code, len(enroll.complaints)) == (expected[0], 1), enroll.complaints
    assert expected[1] in enroll.complaints[0]
