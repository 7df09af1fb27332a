"""The device's side of renewal: when it begins, every state of the table, and power lost after every effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from device.contract_enroll import BACKDATED, Accepted, Rejected
from device.dialogue import FAILURES, Ask, Connect, Effect, Finish, Install, Say, Store
from device.renew import STATES, Progress, Renewal, renew_at
from tests.fleet import Box, Manager

TOKEN = "ab" * 32
GIVEN = {"device": "m1", "certificate": "CHAIN", "token": TOKEN}
STORED = {"asking": Progress(), "trying": Progress(state="trying", **GIVEN), "installing": Progress(state="installing", **GIVEN)}
MADE = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Nonces:
    """0…1, 0…2, and so on; another life begins elsewhere."""

    def __init__(self, first: int = 0) -> None:
        self.last = first

    def __call__(self) -> str:
        self.last += 1
        return f"{self.last:032x}"


def machine(progress: Progress, *, fits: bool = True) -> Renewal:
    return Renewal(progress, nonce=Nonces(), jitter=lambda: 0.5, fits=lambda _, __: fits)


def answer(step: str, nonce: str, code: str | None = None, **more: Any) -> Accepted | Rejected:
    said = {"schema": 1, "step": step, "nonce": nonce}
    if code is None:
        return Accepted.model_validate({**said, "device": "m1", **more})
    return Rejected.model_validate({**said, "code": code, "message": "no", "retry_after_s": 60})


def asked(effects: tuple[Effect, ...]) -> Ask:
    (ask,) = (one for one in effects if isinstance(one, Ask))
    return ask


@pytest.mark.parametrize(("spread", "before"), [(0.0, 30), (1.0, 33), (0.5, 31.5)])
def test_a_certificate_of_ninety_days_is_renewed_thirty_days_before_its_end_and_each_device_a_little_earlier(
    spread: float, before: float
) -> None:
    end = MADE + timedelta(days=90)

    assert end - renew_at(MADE - BACKDATED, end, spread) == timedelta(days=before)


def test_a_new_certificate_is_never_due_however_short_its_life() -> None:
    for life in (timedelta(minutes=1), timedelta(days=1), timedelta(days=365)):
        assert renew_at(MADE - BACKDATED, MADE + life, 1.0) > MADE + life / 2


def test_the_table_touches_the_identity_in_use_only_after_the_new_one_has_connected() -> None:
    renewal = machine(STORED["asking"])

    assert renewal.begin() == (Connect("device"),)
    renew = asked(renewal.connected())
    assert renewal.answered(answer("renew", renew.nonce, certificate="CHAIN", token=TOKEN)) == (
        Store(STORED["trying"]),
        Connect("renewed"),
    )
    confirm = asked(renewal.connected())
    end = renewal.answered(answer("confirm", confirm.nonce))

    assert [renew.step, confirm.step] == ["renew", "confirm"]
    assert end == (Store(STORED["installing"]), Install("CHAIN"), Finish())
    assert renewal.done


@pytest.mark.parametrize("state", sorted(STATES))
def test_a_device_that_starts_again_continues_with_what_it_stored(state: Any) -> None:
    renewal = machine(STORED[state])

    assert renewal.begin() == (Connect(STATES[state].who),)
    assert asked(renewal.connected()).step == STATES[state].step


def test_a_device_that_lost_power_while_it_installed_installs_again() -> None:
    assert machine(STORED["installing"]).begin() == (Install("CHAIN"), Finish())


def test_a_new_identity_that_cannot_connect_is_given_up_while_the_old_one_works() -> None:
    renewal = machine(STORED["trying"])
    renewal.session = True
    for _ in range(FAILURES - 1):
        assert [type(one) for one in renewal.disconnected("refused")] == [Say]

    assert renewal.disconnected("refused")[1:] == (Store(Progress()), Connect("device"))


def test_a_new_identity_is_never_given_up_while_the_old_one_does_not_work_either() -> None:
    """The fleet may have accepted ``confirm`` and ended the old one, and the answer may be lost."""
    renewal = machine(STORED["trying"])

    for _ in range(10 * FAILURES):
        assert [type(one) for one in renewal.disconnected("no broker")] == [Say]
    assert renewal.progress == STORED["trying"]


@pytest.mark.parametrize("code", sorted(STATES["trying"].back))
def test_a_new_certificate_that_the_fleet_does_not_want_any_more_is_asked_for_again(code: str) -> None:
    renewal = machine(STORED["trying"])
    confirm = asked(renewal.connected())

    effects = renewal.answered(answer("confirm", confirm.nonce, code))

    assert effects[1:] == (Store(Progress()), Connect("device"))


def test_a_certificate_that_is_not_for_the_new_key_is_ignored() -> None:
    renewal = machine(Progress(), fits=False)
    renew = asked(renewal.connected())

    (said,) = renewal.answered(answer("renew", renew.nonce, certificate="EVIL", token=TOKEN))

    assert isinstance(said, Say)
    assert renewal.progress == Progress()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("kill_at", range(11))
def test_power_lost_after_any_effect_ends_in_one_certificate_and_one_identity(manager: Manager, kill_at: int) -> None:
    """The real fleet's side; the device forgets everything but what it has stored, after its nth effect."""
    box, new = Box("SN-1"), Box("SN-1", ec.generate_private_key(ec.SECP256R1()))
    name = manager.batch("berlin", {"SN-1": box.id}).enrol(box)["device"]
    stored: Progress | None = Progress()
    installed, effects_done, lives = "old", 0, 0

    def live(until: int | None) -> bool:
        nonlocal stored, installed, effects_done
        if stored is None:
            return True
        renewal = Renewal(stored, nonce=Nonces(100 * lives), jitter=lambda: 0, fits=lambda _, __: True)
        todo = list(renewal.begin())
        while todo:
            if until is not None and effects_done == until:
                effects_done += 1
                return False
            effects_done += 1
            match todo.pop(0):
                case Store(progress):
                    assert isinstance(progress, Progress)
                    stored = progress
                case Connect(_):
                    todo += renewal.connected()
                case Ask("renew", nonce):
                    said = manager.renew(name, new, nonce)
                    todo += renewal.answered(Accepted.model_validate(said))
                case Ask(_, nonce):
                    sent = {**json.loads(new.proof("confirm", name, renewal.progress.token or ""))}
                    said = manager.ask(name, new.id, "confirm", json.dumps(sent).encode())
                    assert said["said"] == "accepted"
                    todo += renewal.answered(Accepted.model_validate({**said, "nonce": nonce}))
                case Install(certificate):
                    installed = certificate
                case Finish():
                    stored = None
        return True

    while not live(kill_at):
        lives += 1
        assert lives < 3

    old, renewed = (state.split()[1] for state in manager.states("SN-1").values())
    assert (old, renewed) == ("superseded", "live")
    assert "BEGIN CERTIFICATE" in installed
