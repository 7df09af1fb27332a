"""Who gets an identity and who does not: every request of the contract, right, wrong, late and repeated, with a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from device.contract import MAX_MESSAGE_BYTES
from device.contract_enroll import REQUESTS, enroll_topic
from provisioning import manage
from provisioning.decisions import REFUSALS
from provisioning.enrolment import read_step
from provisioning.errors import FilesError, WordsError
from tests.fleet import HOUR, Box, Clock, Manager, csr_pem


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


HOSTILE = {
    "empty": b"",
    "not JSON": b"{",
    "no object": b"[]",
    "not UTF-8": b'{"serial": "\xff\xfe"}',
    "10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "4 KiB deep": b'{"a":' * 800,
    "1 MB": b'{"serial": "' + b"a" * 1_000_000 + b'"}',
    "a lone surrogate": b'{"serial": "\\ud800"}',
    "huge number": b'{"schema": ' + b"9" * 4000 + b"}",
}


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


def test_a_box_without_a_registered_key_waits_until_it_is_approved(manager: Manager) -> None:
    box = Box("SN-2")

    asked = manager.csr(box)
    waiting = [one for one in manage.devices(manager.registry) if one.state == "waiting"]
    manage.decide(manager.registry, "SN-2")

    assert (asked["said"], asked["retry_after_s"]) == ("waiting", 60)
    assert [one.serial for one in waiting] == ["SN-2"]
    manager.enrol(box)


def test_a_box_that_a_person_refuses_stays_out(manager: Manager) -> None:
    box = Box("SN-2")
    manager.csr(box)
    manage.decide(manager.registry, "SN-2", refuse=True)

    assert manager.csr(box)["said"] == "refused"


def test_two_boxes_that_ask_for_one_serial_are_both_named_and_none_is_let_in_by_mistake(manager: Manager) -> None:
    right, wrong = Box("SN-2"), Box("SN-2")

    manager.csr(wrong)
    said = manager.csr(right)
    with pytest.raises(WordsError, match="2 boxes ask for serial SN-2") as refused:
        manage.decide(manager.registry, "SN-2")
    manage.decide(manager.registry, "SN-2", key=right.id[:12])

    assert wrong.id[:12] in said["message"]
    assert right.id[:12] in said["message"]
    assert right.id[:12] in str(refused.value)
    assert wrong.id[:12] in str(refused.value)
    manager.enrol(right)
    assert manager.csr(wrong)["said"] == "serial_in_use"


def test_a_second_box_with_the_serial_of_an_enrolled_one_is_refused_and_both_are_named(manager: Manager) -> None:
    first, second = Box("SN-2"), Box("SN-2")
    manager.csr(first)
    manage.decide(manager.registry, "SN-2")
    manager.enrol(first)

    said = manager.csr(second)
    with pytest.raises(WordsError, match="say --replace"):
        manage.decide(manager.registry, "SN-2", key=second.id)

    assert said["said"] == "serial_in_use"
    assert first.id[:12] in said["message"]
    assert second.id[:12] in said["message"]


def test_a_box_that_replaces_another_has_the_one_live_certificate_and_only_after_it_works(manager: Manager) -> None:
    first, second = Box("SN-2"), Box("SN-2")
    manager.csr(first)
    manage.decide(manager.registry, "SN-2")
    old = manager.enrol(first)
    manager.csr(second)
    manage.decide(manager.registry, "SN-2", key=second.id, replace=True)

    given = manager.csr(second)
    manager.register(second, given["token"])
    before = list(manager.states("SN-2").values())
    manager.confirm(second, given["token"], given["device"])
    after = list(manager.states("SN-2").values())

    assert before == [f"{first.id[:12]} live", f"{second.id[:12]} registered"]
    assert after == [f"{first.id[:12]} superseded", f"{second.id[:12]} live"]
    assert given["device"] == old["device"]
    assert manager.csr(first)["said"] == "serial_in_use"
    assert list(manage.ended(manager.registry)) == [next(iter(manager.states("SN-2")))]


def test_a_copied_disk_in_another_box_is_noticed_and_both_are_named(manager: Manager, box: Box) -> None:
    manager.enrol(box)

    said = manager.csr(Box("SN-1", box.key, hardware="b" * 16, nonces=50))

    assert said["said"] == "two_boxes"
    assert "a" * 16 in said["message"]
    assert "b" * 16 in said["message"]


def test_another_key_than_the_registered_one_is_refused(manager: Manager, box: Box) -> None:
    said = manager.csr(Box("SN-1"))

    assert said["said"] == "key_not_registered"
    assert box.id[:12] in said["message"]


def test_a_token_is_good_for_an_hour_and_then_the_certificate_is_dropped(manager: Manager, box: Box) -> None:
    given = manager.csr(box)
    manager.clock.at += HOUR

    late = manager.register(box, given["token"])
    again = manager.csr(box)

    assert late["said"] == "token_expired"
    assert again["certificate"] != given["certificate"]
    assert [state.split()[1] for state in manager.states("SN-1").values()] == ["dropped", "pending"]
    assert manager.register(box, given["token"])["said"] == "token_expired"
    assert manager.register(box, again["token"])["said"] == "accepted"


def test_a_token_of_another_key_is_refused_and_so_is_one_that_nobody_was_given(manager: Manager, box: Box) -> None:
    other = Box("SN-3")
    manage.add_batch(manager.registry, "berlin", "retail", "DE", {"SN-3": other.id})
    given, mine = manager.csr(other), manager.csr(box)

    foreign, unknown = manager.register(box, given["token"]), manager.register(box, "0" * 64)

    assert (foreign["said"], unknown["said"]) == ("token_foreign", "token_unknown")
    assert box.id[:12] in foreign["message"]
    assert manager.register(box, mine["token"])["said"] == "accepted"


def test_a_token_alone_is_worthless(manager: Manager, box: Box) -> None:
    given = manager.csr(box)
    thief = Box("SN-1")

    stolen = manager.ask("berlin", box.id, "register", thief.proof("register", "berlin", given["token"], key=box.id))
    elsewhere = manager.register(thief, given["token"])

    assert (stolen["said"], elsewhere["said"]) == ("bad_signature", "token_foreign")
    assert [state.split()[1] for state in manager.states("SN-1").values()] == ["pending"]


def test_a_registration_replayed_elsewhere_or_as_a_confirmation_is_refused(manager: Manager, box: Box) -> None:
    given = manager.csr(box)
    recorded = box.proof("register", "berlin", given["token"])
    manager.batch("rome")

    assert manager.ask("rome", box.id, "register", recorded)["said"] == "bad_signature"
    assert manager.ask(given["device"], box.id, "confirm", recorded)["said"] == "bad_signature"
    assert manager.ask("berlin", box.id, "register", recorded)["said"] == "accepted"


def test_a_csr_replayed_after_its_certificate_was_dropped_leads_to_nothing(manager: Manager, box: Box) -> None:
    recorded = box.csr()
    manager.ask("berlin", box.id, "csr", recorded)
    manager.clock.at += HOUR
    manager.csr(box)
    manager.clock.at += HOUR

    assert manager.ask("berlin", box.id, "csr", recorded)["said"] == "replayed"


def test_steps_out_of_turn_are_refused(manager: Manager, box: Box) -> None:
    early = manager.register(box, "0" * 64)
    given = manager.csr(box)
    unregistered = manager.confirm(box, given["token"], given["device"])
    manager.register(box, given["token"])
    as_another = manager.confirm(box, given["token"], "m000000000000000")

    assert [one["said"] for one in (early, unregistered, as_another)] == ["not_issued", "not_registered", "not_issued"]
    assert manager.confirm(box, given["token"], given["device"])["said"] == "accepted"


def test_a_revoked_key_needs_a_person_to_come_back(manager: Manager, box: Box) -> None:
    given = manager.enrol(box)
    numbers = manage.to_revoke(manager.registry, given["device"])

    back, registered = manager.csr(box), manager.register(box, given["token"])
    manage.decide(manager.registry, "SN-1")

    assert list(numbers) == list(manager.states("SN-1"))
    assert (back["said"], registered["said"]) == ("revoked", "revoked")
    assert manager.enrol(box)["device"] == given["device"]


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


def test_no_request_changes_anything_without_the_key(manager: Manager, box: Box) -> None:
    """Ed25519, RSA, other curves and garbage as signatures."""
    given = manager.csr(box)
    other = ed25519.Ed25519PrivateKey.generate().sign(b"x").hex()
    for signature in (other, "00" * 70, "30" + "00" * 60):
        request = json.loads(box.proof("register", "berlin", given["token"])) | {"signature": signature}
        assert manager.ask("berlin", box.id, "register", json.dumps(request).encode())["said"] == "bad_signature"


def test_time_that_runs_backwards_harms_nothing(tmp_path: Path, box: Box) -> None:
    manager = Manager(tmp_path, clock=Clock()).batch("berlin", {"SN-1": box.id})
    given = manager.csr(box)
    manager.clock.at = 0

    assert manager.register(box, given["token"])["said"] == "accepted"
    manager.close()
