"""The device's side of enrolment: every state of the table, with power lost in each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.contract_enroll import Accepted, Rejected
from device.dialogue import FAILURES, LONGEST_SECONDS, Ask, Connect, Effect, Finish, Install, Say, Store
from device.enroll import STATES, Enrolment, Progress
from tests.fleet import Box, Manager

TOKEN = "ab" * 32
GIVEN = {"device": "m1", "certificate": "CHAIN", "token": TOKEN}
STORED = {state: Progress.model_validate({"state": state, **(GIVEN if state != "asking" else {})}) for state in STATES}


class Nonces:
    """0…1, 0…2, and so on."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> str:
        self.last += 1
        return f"{self.last:032x}"


def machine(progress: Progress, *, fits: bool = True) -> Enrolment:
    return Enrolment(progress, nonce=Nonces(), jitter=lambda: 0.5, fits=lambda _, __: fits)


def accepted(step: str, nonce: str, **more: Any) -> Accepted:
    return Accepted.model_validate({"schema": 1, "step": step, "nonce": nonce, "device": "m1", **more})


def rejected(step: str, nonce: str | None, code: str, retry: int = 60) -> Rejected:
    return Rejected.model_validate(
        {"schema": 1, "step": step, "nonce": nonce, "code": code, "message": "no", "retry_after_s": retry}
    )


def asked(effects: tuple[Effect, ...]) -> Ask:
    (ask,) = (one for one in effects if isinstance(one, Ask))
    return ask


def test_the_table_leads_from_a_claim_to_an_identity() -> None:
    enrolment = machine(Progress())

    assert enrolment.begin() == (Connect("claim"),)
    csr = asked(enrolment.connected())
    store, register = enrolment.answered(accepted("csr", csr.nonce, certificate="CHAIN", token=TOKEN))
    assert store == Store(STORED["registering"])
    assert isinstance(register, Ask)
    assert enrolment.answered(accepted("register", register.nonce)) == (Store(STORED["confirming"]), Connect("device"))
    confirm = asked(enrolment.connected())
    end = enrolment.answered(accepted("confirm", confirm.nonce))

    assert [csr.step, register.step, confirm.step] == ["csr", "register", "confirm"]
    assert end == (Install("CHAIN"), Store(Progress(state="enrolled", **GIVEN)), Finish())
    assert enrolment.done


@pytest.mark.parametrize("state", sorted(STATES))
def test_a_device_that_starts_again_continues_with_what_it_stored(state: Any) -> None:
    enrolment = machine(STORED[state])

    connect = enrolment.begin()
    ask = asked(enrolment.connected())

    assert connect == (Connect(STATES[state].who),)
    assert ask.step == STATES[state].step


def test_a_device_that_lost_power_before_giving_up_its_claim_does_it_now() -> None:
    assert machine(Progress(state="enrolled", **GIVEN)).begin() == (Finish(),)


@pytest.mark.parametrize("state", sorted(STATES))
def test_an_answer_to_anything_but_a_request_that_is_out_changes_nothing(state: Any) -> None:
    """A second holder of the claim sends rubbish under this key; its rejections come here, too."""
    enrolment = machine(STORED[state])
    ask = asked(enrolment.connected())
    step, other = ask.step, "csr" if ask.step != "csr" else "register"

    for answer in (
        rejected(step, None, "malformed"),
        rejected(step, "f" * 32, "revoked"),
        accepted(step, "f" * 32, certificate="EVIL", token="00" * 32),
        accepted(other, ask.nonce, certificate="EVIL", token="00" * 32),
        rejected(other, ask.nonce, "revoked"),
    ):
        assert enrolment.answered(answer) == ()
    assert enrolment.progress == STORED[state]


@pytest.mark.parametrize("state", sorted(STATES))
def test_a_late_acceptance_of_an_earlier_request_counts_and_a_late_rejection_does_not(state: Any) -> None:
    """A fleet with a thousand devices to answer takes longer than one device waits."""
    enrolment = machine(STORED[state])
    first, _ = asked(enrolment.connected()), asked(enrolment.due())

    assert enrolment.answered(rejected(first.step, first.nonce, "unavailable")) == ()
    assert enrolment.answered(accepted(first.step, first.nonce, certificate="CHAIN", token=TOKEN))
    assert enrolment.progress.state == STATES[state].then


def test_an_answer_is_taken_once() -> None:
    enrolment = machine(STORED["registering"])
    ask = asked(enrolment.connected())

    assert enrolment.answered(accepted("register", ask.nonce))
    assert enrolment.answered(accepted("register", ask.nonce)) == ()


def test_a_certificate_that_is_not_for_this_key_is_ignored() -> None:
    enrolment = machine(Progress(), fits=False)
    ask = asked(enrolment.connected())

    (said,) = enrolment.answered(accepted("csr", ask.nonce, certificate="EVIL", token=TOKEN))

    assert isinstance(said, Say)
    assert enrolment.progress == Progress()


@pytest.mark.parametrize("state", sorted(STATES))
def test_a_request_without_an_answer_is_sent_again_ever_more_rarely_with_another_nonce(state: Any) -> None:
    enrolment = machine(STORED[state])
    nonces, waits = {asked(enrolment.connected()).nonce}, [enrolment.wait]
    for _ in range(6):
        nonces.add(asked(enrolment.due()).nonce)
        waits.append(enrolment.wait)

    assert len(nonces) == 7
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SECONDS * 1.5


@pytest.mark.parametrize("state", sorted(STATES))
def test_a_rejection_that_time_may_cure_is_waited_for_and_stored_state_stays(state: Any) -> None:
    enrolment = machine(STORED[state])
    ask = asked(enrolment.connected())

    (said,) = enrolment.answered(rejected(ask.step, ask.nonce, "unavailable", retry=120))

    assert isinstance(said, Say)
    assert said.code == "unavailable"
    assert 120 <= enrolment.wait <= 150
    assert enrolment.progress == STORED[state]
    assert asked(enrolment.due()).step == ask.step


@pytest.mark.parametrize(
    ("state", "code", "then"),
    [(state, code, then) for state, row in STATES.items() for code, then in row.back.items()],
)
def test_a_rejection_that_a_step_cannot_get_over_leads_back(state: Any, code: str, then: str) -> None:
    enrolment = machine(STORED[state])
    ask = asked(enrolment.connected())

    effects = enrolment.answered(rejected(ask.step, ask.nonce, code, retry=0))

    assert Store(enrolment.progress) in effects
    assert enrolment.progress.state == then
    assert (enrolment.progress.token is None) == (then == "asking")


def test_a_new_identity_that_cannot_connect_sends_the_device_back_to_its_claim() -> None:
    enrolment = machine(STORED["confirming"])
    for _ in range(FAILURES - 1):
        assert [type(one) for one in enrolment.disconnected("refused")] == [Say]

    assert enrolment.disconnected("refused")[1:] == (Store(STORED["registering"]), Connect("claim"))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("kill_at", range(12))
def test_power_lost_after_any_effect_ends_in_one_certificate_and_one_identity(manager: Manager, kill_at: int) -> None:
    """The real fleet's side; the device forgets everything but what it has stored, after its nth effect."""
    box = Box("SN-1")
    manager.batch("berlin", {"SN-1": box.id})
    stored, installed, claim, effects_done, lives = Progress(), "", True, 0, 0

    def live(enrolment: Enrolment, until: int | None) -> bool:
        nonlocal stored, installed, claim, effects_done
        todo = list(enrolment.begin())
        name = "berlin"
        while todo:
            if until is not None and effects_done == until:
                effects_done += 1
                return False
            effects_done += 1
            match todo.pop(0):
                case Store(progress):
                    assert isinstance(progress, Progress)
                    stored = progress
                case Connect(who):
                    name = "berlin" if who == "claim" else stored.device or ""
                    assert claim or who == "device"
                    todo += enrolment.connected()
                case Ask(step, nonce):
                    sent = json.loads(box.csr() if step == "csr" else box.proof(step, name, enrolment.progress.token or ""))
                    if step == "csr":
                        sent["nonce"] = nonce
                    answer = manager.ask(name, box.id, step, json.dumps(sent).encode())
                    kind = Rejected if "code" in answer else Accepted
                    answer["nonce"] = nonce
                    todo += enrolment.answered(kind.model_validate(answer))
                case Install(certificate):
                    installed = certificate
                case Finish():
                    assert stored.state == "enrolled"
                    claim = False
        return True

    nonce = Nonces()
    while not live(Enrolment(stored, nonce=nonce, jitter=lambda: 0, fits=lambda _, __: True), kill_at):
        lives += 1
        assert lives < 3

    assert (stored.state, claim) == ("enrolled", False)
    assert list(manager.states("SN-1").values()) == [f"{box.id[:12]} live"]
    assert installed == stored.certificate
