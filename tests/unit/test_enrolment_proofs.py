"""Tokens and signatures: right, stolen, replayed, expired, and out of turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from provisioning import manage
from tests.fleet import HOUR, Box, Manager


@pytest.fixture
def box() -> Box:
    return Box("SN-1", hardware="a" * 16)


@pytest.fixture
def manager(tmp_path: Path, box: Box) -> Iterator[Manager]:
    """Batch berlin has SN-1 with its key, SN-2 without one; batch paris has SN-9."""
    made = Manager(tmp_path).batch("berlin", {"SN-1": box.id, "SN-2": None}).batch("paris", {"SN-9": None})
    yield made
    made.close()


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


def test_no_request_changes_anything_without_the_key(manager: Manager, box: Box) -> None:
    """Ed25519, RSA, other curves and garbage as signatures."""
    given = manager.csr(box)
    other = ed25519.Ed25519PrivateKey.generate().sign(b"x").hex()
    for signature in (other, "00" * 70, "30" + "00" * 60):
        request = json.loads(box.proof("register", "berlin", given["token"])) | {"signature": signature}
        assert manager.ask("berlin", box.id, "register", json.dumps(request).encode())["said"] == "bad_signature"
