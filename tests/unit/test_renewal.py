"""The next certificate of a device: who gets one, when the old one ends, and what else may happen in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from device.contract import MAX_MESSAGE_BYTES, topic
from device.contract_enroll import RENEWAL_MESSAGES
from provisioning import manage
from provisioning.enrolment import RENEWALS
from tests.fleet import HOUR, Box, Manager, csr_pem
from tests.hostile import HOSTILE


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


class Enrolled(Box):
    """A device, and the box of its next key."""

    def __init__(self, manager: Manager, serial: str = "SN-1", hardware: str | None = "a" * 16) -> None:
        super().__init__(serial, hardware=hardware)
        self.name = manager.batch("berlin", {serial: self.id}).enrol(self)["device"]

    def next(self, hardware: str | None = "a" * 16) -> Box:
        return Box(self.serial, hardware=hardware)


@pytest.fixture
def device(manager: Manager) -> Enrolled:
    return Enrolled(manager)


def states(manager: Manager, serial: str = "SN-1") -> list[str]:
    """Of a serial's certificates, the oldest first."""
    return [state.split()[1] for state in manager.states(serial).values()]


def test_the_old_certificate_ends_only_once_the_new_one_has_been_confirmed(manager: Manager, device: Enrolled) -> None:
    new = device.next()

    given = manager.renew(device.name, new)
    before = states(manager)
    assert manager.confirm(new, given["token"], device.name)["said"] == "accepted"

    own = x509.load_pem_x509_certificates(given["certificate"].encode())[0]
    assert own.subject.rfc4514_string() == f"CN={device.name}"
    assert own.public_key() == new.key.public_key()
    assert (before, states(manager)) == (["live", "pending"], ["superseded", "live"])
    assert list(manage.ended(manager.registry)) == [next(iter(manager.states("SN-1")))]
    steps = [(one.step, one.code) for one in manage.audit_log(manager.registry, "SN-1")]
    assert steps[-2:] == [("renew", "accepted"), ("confirm", "accepted")]


def test_a_repeated_request_gets_the_same_certificate(manager: Manager, device: Enrolled) -> None:
    new = device.next()

    first, again = manager.renew(device.name, new), manager.renew(device.name, new)
    manager.confirm(new, first["token"], device.name)
    after = manager.renew(device.name, new)  # its answer to confirm was lost, and it asks with the old session

    assert first["certificate"] == again["certificate"] == after["certificate"]
    assert manager.confirm(new, after["token"], device.name)["said"] == "accepted"
    assert states(manager) == ["superseded", "live"]


def test_an_answer_fits_the_contract_and_its_size(manager: Manager, device: Enrolled) -> None:
    new = device.next()
    answer = manager.renewals.handle(topic(device.name, "up/renew"), new.renew(device.name))

    assert answer is not None
    assert len(answer.payload) < MAX_MESSAGE_BYTES
    RENEWAL_MESSAGES["down/renew/accepted"].model_validate_json(answer.payload)


def test_a_certificate_that_nobody_confirms_is_dropped_after_an_hour_and_asked_for_again(
    manager: Manager, device: Enrolled
) -> None:
    new = device.next()
    given = manager.renew(device.name, new)
    manager.clock.at += HOUR

    late = manager.confirm(new, given["token"], device.name)
    again = manager.renew(device.name, new)

    assert late["said"] == "token_expired"
    assert manager.confirm(new, again["token"], device.name)["said"] == "accepted"
    assert states(manager) == ["superseded", "dropped", "live"]


def test_a_device_that_has_lost_its_next_key_asks_with_another_and_one_certificate_waits(
    manager: Manager, device: Enrolled
) -> None:
    lost, new = device.next(), device.next()
    given = manager.renew(device.name, lost)
    again = manager.renew(device.name, new)

    assert manager.confirm(lost, given["token"], device.name)["said"] in {"token_expired", "revoked"}
    assert manager.confirm(new, again["token"], device.name)["said"] == "accepted"
    assert states(manager) == ["superseded", "dropped", "live"]


def test_a_renewed_certificate_is_renewed_in_its_turn(manager: Manager, device: Enrolled) -> None:
    for _ in range(3):
        manager.clock.at += 60 * 24 * HOUR
        new = device.next()
        given = manager.renew(device.name, new)
        assert manager.confirm(new, given["token"], device.name)["said"] == "accepted"

    assert states(manager) == ["superseded"] * 3 + ["live"]


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "another device's name in the CSR": ("csr_serial", {"csr": csr_pem(ec.generate_private_key(ec.SECP256R1()), "other")}),
    "a weak key": ("weak_key", {"csr": csr_pem(ec.generate_private_key(ec.SECP224R1()), "other")}),
    "not a CSR": ("malformed", {"csr": "nothing"}),
    "a field too many": ("malformed", {"extra": 1}),
    "no nonce": ("malformed", {"nonce": ""}),
    "another box": ("two_boxes", {"box": "b" * 16}),
}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_a_renewal_that_is_wrong_is_refused_with_a_code_and_changes_nothing(manager: Manager, device: Enrolled, what: str) -> None:
    code, other = WRONG[what]

    said = manager.renew(device.name, device.next(), **other)

    assert said["said"] == code
    assert len(said["message"]) > 10
    assert states(manager) == ["live"]


def test_the_key_in_use_is_not_certified_again(manager: Manager, device: Enrolled) -> None:
    assert manager.renew(device.name, device)["said"] == "same_key"


def test_a_name_that_is_no_device_or_has_no_live_certificate_gets_none(manager: Manager, device: Enrolled) -> None:
    manage.to_revoke(manager.registry, device.name)

    assert manager.renew(device.name, device.next())["said"] == "not_issued"
    assert manager.renew("m000000000000000", device.next())["said"] == "not_issued"


def test_a_device_that_is_revoked_before_it_confirms_has_no_certificate(manager: Manager, device: Enrolled) -> None:
    new = device.next()
    given = manager.renew(device.name, new)
    manage.to_revoke(manager.registry, device.name)

    assert manager.confirm(new, given["token"], device.name)["said"] == "revoked"
    assert states(manager) == ["revoked", "revoked"]


def test_a_box_that_was_replaced_cannot_come_back_by_a_renewal_it_had_begun(manager: Manager, device: Enrolled) -> None:
    new, successor = device.next(), Box("SN-2")
    manage.add_batch(manager.registry, "berlin", "retail", "DE", {"SN-2": None})
    old = Box("SN-2")
    manager.csr(old)
    manage.decide(manager.registry, "SN-2")
    name = manager.enrol(old)["device"]
    given = manager.renew(name, new)
    manager.csr(successor)
    manage.decide(manager.registry, "SN-2", key=successor.id, replace=True)
    manager.enrol(successor)

    assert manager.confirm(new, given["token"], name)["said"] == "revoked"
    assert states(manager, "SN-2") == ["superseded", "superseded", "live"]


def test_a_device_that_asks_without_end_is_refused(manager: Manager, device: Enrolled) -> None:
    said = [manager.renew(device.name, device.next())["said"] for _ in range(RENEWALS)]

    assert said == ["accepted"] * (RENEWALS - 1) + ["too_often"]  # the one of its enrolment counts


def test_a_renewed_box_that_lost_its_identity_is_known_and_waits_for_a_person(manager: Manager, device: Enrolled) -> None:
    """Its key is not the one on the list any more: the fleet itself has certified it."""
    new = device.next()
    manager.confirm(new, manager.renew(device.name, new)["token"], device.name)
    manage.to_revoke(manager.registry, device.name)

    assert manager.csr(new)["said"] == "revoked"
    manage.decide(manager.registry, "SN-1")
    assert manager.enrol(new)["device"] == device.name


@pytest.mark.parametrize("what", sorted(HOSTILE))
def test_bytes_that_are_no_request_are_refused_and_nothing_else(manager: Manager, device: Enrolled, what: str) -> None:
    answer = manager.renewals.handle(topic(device.name, "up/renew"), HOSTILE[what])

    assert answer is not None
    assert json.loads(answer.payload)["code"] == "malformed"
    assert states(manager) == ["live"]


def test_topics_of_others_are_left_alone(manager: Manager) -> None:
    for name in ("mien/v1/a/up/report", "mien/v1/a/b/up/renew", "mien/v1/up/renew", "x/a/up/renew", "mien/v1/a/up/renew/x"):
        assert manager.renewals.handle(name, b"{}") is None
