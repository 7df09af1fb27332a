"""Renewal: real processes, the real broker, mutual TLS, and a table of states in which each side is killed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from provisioning.authority import Authority
from tests.build import put_reports
from tests.conftest import MOSQUITTO, Process, starter, wait_for
from tests.identities import Client, Identity, openssl_verify
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def world(tmp_path: Path, start: Callable[..., Process]) -> Iterator[World]:
    made = World(tmp_path, start, age=100)
    yield made
    made.broker.process.terminate()
    made.broker.wait()


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A fleet with its service, for devices that come one after the other."""
    folder = tmp_path_factory.mktemp("field")
    with starter(folder) as start:
        made = World(folder, start, age=100)
        made.serve()
        yield made
        made.broker.process.terminate()
        made.broker.wait()


def enrolled(world: World, start: Callable[..., Process], serial: str = "SN-1") -> BoxFiles:
    """An enrolled device with 25 days left of 90."""
    made = BoxFiles(world, f"box-{serial}", start)
    made.key.parent.mkdir()
    world.old_device(made, serial)
    return made


@pytest.fixture
def box(world: World, start: Callable[..., Process]) -> BoxFiles:
    return enrolled(world, start)


def number(box: BoxFiles) -> int:
    return x509.load_pem_x509_certificate(box.certificate.read_bytes()).serial_number


def progress(box: BoxFiles) -> str | None:
    path = box.certificate.with_name("renewal.json")
    return str(json.loads(path.read_text())["state"]) if path.exists() else None


def lets_in(world: World, who: Identity) -> bool:
    """Whether the broker takes a connection with this certificate now."""
    client = Client(world.folder / "ca.pem", world.port, who)
    try:
        return client.open()
    finally:
        client.close()


def renewed(world: World, box: BoxFiles, old: int, serial: str = "SN-1") -> None:
    """Exactly one active certificate, the new one, in the registry and on the device; the old one is refused; nothing is left."""
    wait_for(lambda: number(box) != old and progress(box) is None, 60, why="the new certificate in place")
    wait_for(lambda: world.certificates(serial).count("live") == 1, why="the registry")
    (device,) = (one for one in world.devices() if one["serial"] == serial)
    own = x509.load_pem_x509_certificate(box.certificate.read_bytes())
    key = subprocess.run(
        ["openssl", "pkey", "-in", str(box.key), "-pubout"], check=True, capture_output=True, text=True
    ).stdout  # and openssl agrees that both belong together
    certified = subprocess.run(
        ["openssl", "x509", "-in", str(box.certificate), "-noout", "-pubkey"], check=True, capture_output=True, text=True
    ).stdout
    assert key == certified
    assert own.subject.rfc4514_string() == f"CN={device['name']}"
    authority = Authority.open(world.folder, b"only for this test")
    assert openssl_verify(authority, world.base, Identity(box.certificate, box.key), "-purpose", "sslclient").endswith(": OK")
    assert sorted(path.name for path in box.key.parent.iterdir()) == ["device.key", "device.pem"]
    assert (box.key.stat().st_mode & 0o777, box.certificate.stat().st_mode & 0o777) == (0o600, 0o644)
    with Client(world.folder / "ca.pem", world.port, Identity(box.certificate, box.key)) as client:
        assert client.publish(f"mien/v1/{device['name']}/up/report", b"x")


def test_a_device_renews_by_itself_and_goes_on_reporting_with_the_new_certificate(world: World, box: BoxFiles) -> None:
    old = number(box)
    first, second = world.serve(), world.serve()
    kept = Identity(box.folder / "old.pem", box.folder / "old.key")
    kept.certificate.write_bytes(box.certificate.read_bytes())
    kept.key.write_bytes(box.key.read_bytes())

    with world.service() as witness:
        witness.subscribe("mien/v1/+/up/report")
        put_reports(box.folder / "spool", 2)
        send = box.send()
        renewed(world, box, old)
        wait_for(lambda: send.events().count("connected") == 2, why="the connection with the new identity")
        put_reports(box.folder / "spool", 2)
        wait_for(lambda: len({payload for _, payload in witness.received if payload != b"x"}) == 4, why="all reports")

    assert world.certificates("SN-1") == ["superseded", "live"]
    wait_for(lambda: not lets_in(world, kept), 60, why="the refusal of the old certificate")
    assert send.events("error") == []
    assert (send.end(), first.end(), second.end()) == (0, 0, 0)


def test_sending_once_renews_too_before_it_ends(field: World, start: Callable[..., Process]) -> None:
    box = enrolled(field, start, "SN-100")
    old = number(box)

    once = box.send("--once")

    assert once.wait(60) == 0, once.err.read_text()
    renewed(field, box, old, "SN-100")


@pytest.mark.parametrize("after", range(1, 8))
def test_a_device_killed_after_any_durable_step_ends_with_one_certificate(
    field: World, start: Callable[..., Process], after: int
) -> None:
    """Key, asking, trying, certificate aside, installing, key in place, certificate in place."""
    serial = f"SN-{after}"
    box = enrolled(field, start, serial)
    old = number(box)
    killed = box.killed_send(after)
    assert killed.wait(60) == -signal.SIGKILL, killed.err.read_text()

    box.send()

    renewed(field, box, old, serial)
    assert set(field.certificates(serial)) <= {"superseded", "dropped", "live"}


@pytest.mark.parametrize(("step", "state"), [("renew", "asking"), ("confirm", "trying")])
@pytest.mark.parametrize("how", ["silent", "dies"], ids=["before it decides", "after it has decided"])
def test_device_and_service_killed_in_any_state_end_with_one_certificate(
    world: World, box: BoxFiles, step: str, state: str, how: str
) -> None:
    old = number(box)
    service, send = world.odd(f"{how}={step}"), box.send()
    wait_for(lambda: progress(box) == state, 60, why=state)
    if how == "dies":
        assert service.wait(60) == -signal.SIGKILL
    send.end(signal.SIGKILL)
    service.end(signal.SIGKILL)
    assert (number(box), progress(box)) == (old, state)

    world.serve()
    box.send()

    renewed(world, box, old)


def test_a_device_whose_old_certificate_is_refused_already_goes_on_with_the_new_one(world: World, box: BoxFiles) -> None:
    """The fleet has accepted the new one and ended the old one; the device has not heard it and has lost its session."""
    old = number(box)
    service, send = world.odd("dies=confirm"), box.send()
    assert service.wait(60) == -signal.SIGKILL
    send.end(signal.SIGKILL)
    kept = Identity(box.certificate, box.key)
    world.serve()
    wait_for(lambda: not lets_in(world, kept), 60, why="the refusal of the old certificate")

    box.send()

    renewed(world, box, old)
