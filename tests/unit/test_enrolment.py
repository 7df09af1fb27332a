"""Who gets an identity and who does not: requests right, wrong, late and repeated, with a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from device.contract import MAX_MESSAGE_BYTES
from device.contract_enroll import REQUESTS, enroll_topic
from provisioning import manage
from provisioning.decisions import REFUSALS
from provisioning.enrolment import read_step
from provisioning.errors import FilesError
from tests.fleet import HOUR, Box, Clock, Manager, csr_pem
from tests.hostile import HOSTILE


@pytest.fixture
def box() -> Box:
    return Box("SN-1", hardware="a" * 16)


@pytest.fixture
def manager(tmp_path: Path, box: Box) -> Iterator[Manager]:
    """Batch berlin has SN-1 with its key, SN-2 without one; batch paris has SN-9."""
    made = Manager(tmp_path).batch("berlin", {"SN-1": box.id, "SN-2": None}).batch("paris", {"SN-9": None})
    yield made
    made.close()


def test_a_box_with_a_registered_key_is_enrolled_by_itself(manager: Manager, box: Box) -> None:
    given = manager.enrol(box)

    own, issuing = x509.load_pem_x509_certificates(given["certificate"].encode())
    assert own.subject.rfc4514_string() == f"CN={given['device']}"
    own.verify_directly_issued_by(issuing)
    assert given["token_seconds"] == HOUR
    (device, _) = (one for one in manage.devices(manager.registry) if one.batch == "berlin")
    assert (device.state, device.name, device.key) == ("live", given["device"], box.id)
    steps = [(one.step, one.code) for one in manage.audit_log(manager.registry, "SN-1")]
    assert steps == [("csr", "accepted"), ("register", "accepted"), ("confirm", "accepted")]


def test_every_answer_fits_the_contract_and_its_size(manager: Manager, box: Box) -> None:
    answer = manager.intake.handle(enroll_topic("berlin", box.id, "csr"), box.csr())

    assert answer is not None
    assert len(answer.payload) < MAX_MESSAGE_BYTES


@pytest.mark.parametrize("step", ["csr", "register", "confirm"])
def test_a_repeated_request_gets_the_same_answer_and_has_no_second_effect(manager: Manager, box: Box, step: str) -> None:
    given = manager.csr(box)
    requests = {
        "csr": ("berlin", box.csr()),
        "register": ("berlin", box.proof("register", "berlin", given["token"])),
        "confirm": (given["device"], box.proof("confirm", given["device"], given["token"])),
    }
    for name, (identity, payload) in requests.items():
        answer = manager.ask(identity, box.id, name, payload)
        if name == step:
            before = manager.states("SN-1")
            again = manager.ask(identity, box.id, name, payload)
            break

    assert again == answer
    assert answer["said"] == "accepted"
    assert manager.states("SN-1") == before
    assert len(before) == 1


def test_a_csr_of_an_enrolled_box_gets_the_same_certificate_again(manager: Manager, box: Box) -> None:
    given = manager.enrol(box)

    again = manager.csr(box)

    assert again["certificate"] == given["certificate"]
    assert len(manager.states("SN-1")) == 1


CSR_FLAWS: dict[str, tuple[str, dict[str, Any]]] = {
    "for another serial": ("csr_serial", {"serial": "SN-2"}),
    "unknown serial": ("unknown_serial", {"serial": "SN-7"}),
    "not a CSR": ("malformed", {"csr": "nothing"}),
    "a field too many": ("malformed", {"extra": 1}),
    "a serial that is none": ("malformed", {"serial": "../etc"}),
    "no nonce": ("malformed", {"nonce": ""}),
}


@pytest.mark.parametrize("flaw", sorted(CSR_FLAWS))
def test_a_csr_that_is_wrong_is_refused_with_a_code_and_words(manager: Manager, box: Box, flaw: str) -> None:
    code, other = CSR_FLAWS[flaw]
    if code == "unknown_serial":
        other = {**other, "csr": csr_pem(box.key, "SN-7")}

    said = manager.csr(box, **other)

    assert said["said"] == code
    assert len(said["message"]) > 10
    assert said["retry_after_s"] == REFUSALS[said["code"]][0]
    assert manager.states("SN-1") == {}
    assert [(one.step, one.code) for one in manage.audit_log(manager.registry)][-1] == ("csr", code)


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP224R1()), ec.generate_private_key(ec.SECP384R1())]
)
def test_a_csr_with_a_weak_key_is_refused(manager: Manager, box: Box, key: Any) -> None:
    assert manager.csr(box, csr=csr_pem(key, "SN-1"))["said"] == "weak_key"


def test_a_csr_whose_signature_is_not_by_its_key_is_refused(manager: Manager, box: Box) -> None:
    lines = csr_pem(box.key, "SN-1").splitlines()
    lines[-2] = ("A" if lines[-2][0] != "A" else "B") + lines[-2][1:]

    assert manager.csr(box, csr="\n".join(lines))["said"] in {"wrong_key", "malformed"}


def test_a_csr_under_the_topic_of_another_key_is_refused(manager: Manager, box: Box) -> None:
    other = Box("SN-1")

    said = manager.ask("berlin", box.id, "csr", other.csr())

    assert said["said"] == "wrong_key"
    assert other.id[:12] in said["message"]
    assert manager.csr(box)["said"] == "accepted"


@pytest.mark.parametrize("what", sorted(HOSTILE))
@pytest.mark.parametrize("step", sorted(REQUESTS))
def test_bytes_that_are_no_request_are_refused_and_nothing_else(manager: Manager, box: Box, step: str, what: str) -> None:
    said = manager.ask("berlin", box.id, step, HOSTILE[what])

    assert said["said"] == "malformed"
    assert said["nonce"] is None
    assert manager.states("SN-1") == {}


def test_topics_of_others_are_left_alone(manager: Manager) -> None:
    for topic in (
        "mien/v1/a/up/report",
        "mien-enroll/v1/a/csr",
        "mien-enroll/v1/a/b/accepted",
        "mien-enroll/v1/a/b/c/csr",
        "$SYS/x",
    ):
        assert read_step(topic, "mien-enroll/v1") is None
        assert manager.intake.handle(topic, b"{}") is None


def test_a_claim_is_good_for_its_batch_and_its_time_only(manager: Manager, box: Box) -> None:
    foreign, unknown = manager.csr(box, "paris"), manager.csr(box, "rome")
    manager.clock.at += 25 * HOUR
    late = manager.csr(box)

    assert [one["said"] for one in (foreign, unknown, late)] == ["wrong_batch", "unknown_claim", "claim_expired"]
    assert manager.states("SN-1") == {}


def test_a_claim_for_one_device_is_used_up_by_the_first(manager: Manager) -> None:
    first, second = Box("SN-3"), Box("SN-4")
    manage.add_batch(manager.registry, "berlin", "retail", "DE", {"SN-3": first.id, "SN-4": second.id})
    manage.add_claim(manager.registry, "berlin", "berlin.1", "77", int(manager.clock()) + 300, single=True)

    assert manager.csr(first, "berlin.1")["said"] == "accepted"
    assert manager.csr(second, "berlin.1")["said"] == "claim_used"
    assert manager.csr(first, "berlin.1")["said"] == "accepted"


def test_a_claim_for_one_serial_is_its_approval_for_the_first_key_that_comes_and_no_other(manager: Manager) -> None:
    first, second, rival = Box("SN-2"), Box("SN-2"), Box("SN-1")
    manage.add_claim(manager.registry, "berlin", "berlin.1", "77", int(manager.clock()) + 300, single=True, serial="SN-2")

    assert manager.enrol(first, "berlin.1")["said"] == "accepted"
    assert manager.csr(second, "berlin.1")["said"] == "claim_used"
    assert manager.csr(rival, "berlin.1")["said"] == "claim_used"
    assert "approved with its claim" in manage.audit_log(manager.registry, "SN-2")[0].message


def test_a_claim_for_one_serial_approves_neither_a_key_in_place_of_another_nor_one_that_was_revoked_or_is_not_the_listed(
    manager: Manager, box: Box
) -> None:
    given = manager.enrol(box)
    for number, serial in enumerate(["SN-1", "SN-1", "SN-2", "SN-2"]):
        end = int(manager.clock()) + 300
        manage.add_claim(manager.registry, "berlin", f"berlin.{number}", f"7{number}", end, single=True, serial=serial)
    other = Box("SN-2")
    manager.enrol(other, "berlin.2")

    assert manager.csr(Box("SN-1"), "berlin.0")["said"] == "key_not_registered"
    assert manager.csr(Box("SN-2"), "berlin.3")["said"] == "serial_in_use"
    manage.to_revoke(manager.registry, given["device"])
    assert manager.csr(box, "berlin.1")["said"] == "revoked"


def test_two_live_certificates_of_a_serial_are_refused_by_the_database_itself(manager: Manager, box: Box) -> None:
    from sqlalchemy import text

    given = manager.enrol(box)
    manager.clock.at += 2 * HOUR
    del given
    with manager.registry.engine.begin() as connection, pytest.raises(Exception, match="UNIQUE constraint failed"):
        connection.execute(
            text(
                "INSERT INTO certificates (number, serial, device, key, state, claim, nonce, token, token_expires_at, pem,"
                " issued_at, expires_at) SELECT 'f', serial, device, 'k', state, claim, 'n', 't', 0, pem, 0, 0 FROM certificates"
            )
        )


def test_an_authority_that_cannot_sign_changes_nothing_and_says_so(manager: Manager, box: Box) -> None:
    class Broken:
        check_csr = manager.authority.check_csr
        revoke = manager.authority.revoke

        def issue_device(self, csr_pem: bytes, *, device: str, setting: str, jurisdiction: str, days: float) -> bytes:
            raise FilesError("authority/issuing.key: cannot be read")

    working = manager.intake
    manager.intake = type(working)(manager.registry, Broken())
    said = manager.csr(box)
    manager.intake = working

    assert said["said"] == "unavailable"
    assert said["retry_after_s"] == 60
    assert manager.states("SN-1") == {}
    assert manager.enrol(box)


def test_the_log_counts_what_repeats_instead_of_growing(manager: Manager) -> None:
    box = Box("SN-2")
    for _ in range(20):
        manager.csr(box)

    assert len(manage.audit_log(manager.registry, "SN-2")) == 1


def test_time_that_runs_backwards_harms_nothing(tmp_path: Path, box: Box) -> None:
    manager = Manager(tmp_path, clock=Clock()).batch("berlin", {"SN-1": box.id})
    given = manager.csr(box)
    manager.clock.at = 0

    assert manager.register(box, given["token"])["said"] == "accepted"
    manager.close()
