"""A fleet's service that is behind, or away: what devices have asked again meanwhile is handled once."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import select

from device.contract_enroll import enroll_topic
from provisioning.registry import opened
from provisioning.tables import AuditRow
from tests.conftest import MOSQUITTO, wait_for
from tests.fleet import Box
from tests.identities import Client, Identity
from tests.world import World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(180),
]
BOXES, TIMES = 12, 4


def test_what_was_asked_again_and_again_is_handled_once_and_nonsense_in_between_hides_nothing(world: World) -> None:
    boxes = [Box(f"SN-{number}") for number in range(BOXES)]
    (world.base / "list").write_text("".join(f"{box.serial} {box.id}\n" for box in boxes))
    world.fleet("batch", "add", "berlin", "--setting", "retail", "--jurisdiction", "DE", "--list", str(world.base / "list"))
    world.fleet("claim", "new", "berlin", *world.secret)
    claim = world.claim(world.base / "box")
    serve = world.serve()
    serve.process.send_signal(signal.SIGSTOP)

    with Client(claim / "ca.pem", world.port, Identity(claim / "claim.pem", claim / "claim.key")) as client:
        client.subscribe(*(enroll_topic("berlin", box.id, "accepted") for box in boxes))
        for _ in range(TIMES):
            for box in boxes[:-1]:
                to = enroll_topic("berlin", box.id, "csr")
                assert client.publish(to, b"another holder of the claim says this")
                assert client.publish(to, box.csr())
        assert client.publish(enroll_topic("berlin", boxes[-1].id, "csr"), boxes[-1].csr()), "asked last, so answered last"
        serve.process.send_signal(signal.SIGCONT)
        wait_for(lambda: any(boxes[-1].id in topic for topic, _ in client.received), 60, "the last answer")

    assert len(client.received) == BOXES, "one answer each"
    assert {(row.serial, row.step, row.code, row.times) for row in _accepted(world)} == {
        (box.serial, "csr", "accepted", 1) for box in boxes
    }, "each was handled once"


def _accepted(world: World) -> list[AuditRow]:
    with opened(f"sqlite:///{world.folder}/registry.db") as registry:
        return registry.transact(lambda session: list(session.scalars(select(AuditRow).where(AuditRow.serial.is_not(None)))))
