"""A simulated device keeps to the contract: what it says is checked by the contract's own models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from device.contract import Report, Status
from device.contract_command import CommandResult
from device.contract_messages import kind
from device.contract_model import ModelState
from device.contract_twin import ReportedTwin
from device.identity import Key
from provisioning.simulate.acts import Act, Close, Open, Publish, Tell
from provisioning.simulate.device import SimulatedDevice, device
from provisioning.simulate.habits import Habits
from provisioning.simulate.obey import Request
from tests.fleet import Box, Manager

EXPIRING = Request(expires_in=60, correlation=b"mine", response_topic="mien/v1/x/up/reply/a")
JOB = {"job": "0" * 16, "target": "emotion-1.tflite", "url": "https://models.example"}


def at_work(manager: Manager, habits: Habits = Habits()) -> tuple[SimulatedDevice, list[Act]]:  # noqa: B008 (frozen)
    """A device that has enrolled with a real manager, on the clock of 0 s; and what it did last: connect as itself."""
    box = Box("SIM-1")
    key = Key(box.key)
    manager.batch("sim", {"SIM-1": key.sha256})
    made = device("SIM-1", key, claim="sim", authority=manager.authority.ca_pem, habits=habits, seed="1")
    acts = made.begin(0.0)
    for _ in range(10):
        if made.work is not None:
            return made, acts
        if any(isinstance(act, Open) for act in acts):
            acts = made.connected(0.0)
        (asked,) = (act for act in acts if isinstance(act, Publish))
        answer = manager.intake.handle(asked.topic, asked.payload)
        assert answer is not None
        acts = made.received(0.0, answer.topic, answer.payload, Request())
    raise AssertionError("it does not enrol")


@pytest.fixture
def manager(tmp_path: Any) -> Manager:
    return Manager(tmp_path)


def said(acts: Iterable[Act], what: str) -> list[Any]:
    """What was published on ``up/{what}``, by the contract's models."""
    found = [act for act in acts if isinstance(act, Publish) and f"/up/{what}" in act.topic]
    for one in found:
        name = one.topic.split("/", 3)[3]
        model = kind(name)
        assert model is not None, name
        model.model_validate_json(one.payload)
    return [json.loads(one.payload) for one in found]


def until(made: SimulatedDevice, end: float) -> list[Act]:
    """Everything it does by itself up to a moment."""
    acts: list[Act] = []
    for _ in range(10_000):
        if made.wake > end:
            return acts
        acts += made.due(made.wake)
    raise AssertionError("it does not rest")


def test_it_enrols_as_a_device_does_and_connects_as_itself_with_a_last_will(manager: Manager) -> None:
    made, acts = at_work(manager)

    told, opened = acts[-2:]
    assert isinstance(told, Tell)
    assert told.kind == "enrolled"
    assert isinstance(opened, Open)
    assert opened.who == "device"
    assert opened.will is not None
    assert Status.model_validate_json(opened.will.payload).state == "lost"
    assert set(opened.topics) == {f"mien/v1/{made.name}/{one}" for one in ("down/twin", "down/command/+", "down/model")}


def test_it_says_that_it_is_there_and_reports_on_a_schedule(manager: Manager) -> None:
    made, _ = at_work(manager, Habits(report_every=30, status_every=60))

    acts = made.connected(0.0)
    for token in range(1, 11):
        acts += [*until(made, 30.0 * token), *made.delivered(token)]

    reports = said(acts, "report")
    assert [one["seq"] for one in reports] == list(range(1, 11))
    assert Report.model_validate(reports[0]).privacy.policy == "simulated/EU@1"
    assert [one["state"] for one in said(acts, "status")] == ["online"] * 6


def test_what_was_not_confirmed_is_sent_again_as_the_same_bytes(manager: Manager) -> None:
    made, _ = at_work(manager)
    acts = [*made.connected(0.0), *until(made, 31.0)]
    (before,) = (act for act in acts if isinstance(act, Publish) and act.topic.endswith("/report"))

    assert [act.kind for act in made.disconnected(40.0, 40.0, "") if isinstance(act, Tell)] == ["cut"]
    again = made.connected(41.0)

    assert before in again
    assert next(act.kind for act in again if isinstance(act, Tell)) == "back"
    made.delivered(1)
    assert made.work is not None
    assert not made.work.waiting


def test_a_device_that_was_cut_off_comes_back_at_a_moment_of_its_own(manager: Manager) -> None:
    made, _ = at_work(manager, Habits(longest_wait=60))
    made.connected(0.0)

    made.disconnected(1000.0, 1000.0, "the broker restarts")
    acts = until(made, 1060.0)

    assert [act.who for act in acts if isinstance(act, Open)] == ["device"]


def test_the_power_goes_without_a_word_and_comes_back(manager: Manager) -> None:
    made, _ = at_work(manager, Habits(fails_every=100, away=10))
    made.connected(0.0)

    acts = until(made, 2000.0)

    assert Close(abrupt=True) in acts
    assert Tell("failed") in acts
    assert isinstance(acts[-1], Open | Tell | Publish)
    assert any(isinstance(act, Open) for act in acts[acts.index(Close(abrupt=True)) :])


def send(made: SimulatedDevice, name: str, message: Any, request: Request = EXPIRING, now: float = 1.0) -> list[Act]:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return made.received(now, f"mien/v1/{made.name}/{name}", payload, request)


def test_a_command_is_accepted_then_done_once_and_answered_again_when_it_comes_again(manager: Manager) -> None:
    made, _ = at_work(manager)
    made.connected(0.0)

    acts = [*send(made, "down/command/a1", {"command": "pause", "seconds": 600}), *until(made, 5.0)]
    again = send(made, "down/command/a1", {"command": "pause", "seconds": 600}, now=6.0)

    assert [one["state"] for one in said(acts, "command/a1")] == ["accepted", "succeeded"]
    assert [one["state"] for one in said(acts, "reply/a")] == ["accepted", "succeeded"]
    assert {act.correlation for act in acts if isinstance(act, Publish) and "/command/" in act.topic} == {b"mine"}
    assert [one["state"] for one in said(again, "command/a1")] == ["succeeded"]
    assert {one["withheld"] for one in said(until(made, 100.0), "report")} == {"paused"}


def test_a_command_without_an_expiry_is_rejected(manager: Manager) -> None:
    made, _ = at_work(manager)
    made.connected(0.0)

    (result,) = said(send(made, "down/command/a1", {"command": "doctor"}, Request()), "command/a1")

    assert CommandResult.model_validate(result).reason == "no_expiry"


def test_settings_are_applied_or_rejected_with_the_path_and_a_stale_version_changes_nothing(manager: Manager) -> None:
    made, _ = at_work(manager)
    made.connected(0.0)

    send(made, "down/twin", {"epoch": 1, "version": 1, "desired": {"window_seconds": 1800, "camera": {"fps": 4}}})
    (applied,) = said(until(made, 9.0), "twin")
    send(made, "down/twin", {"epoch": 1, "version": 2, "desired": {"broker": {"url": "mqtt://evil"}}}, now=10.0)
    send(made, "down/twin", {"epoch": 1, "version": 1, "desired": {"k": 3}}, now=10.0)
    (rejected,) = said(until(made, 19.0), "twin")

    assert ReportedTwin.model_validate(applied).reported.camera.fps == 4
    assert (applied["state"], applied["from_twin"]) == ("applied", ["window_seconds", "camera.fps"])
    assert (rejected["state"], rejected["desired_version"], rejected["errors"][0]["path"]) == ("rejected", 2, "broker.url")
    assert rejected["reported"] == applied["reported"]


@pytest.mark.parametrize(("bad", "end"), [(0.0, "committed"), (1.0, "rolled_back")])
def test_a_model_goes_through_its_states_and_is_kept_or_not(manager: Manager, bad: float, end: str) -> None:
    made, _ = at_work(manager, Habits(bad_models=bad))
    made.connected(0.0)

    states = said([*send(made, "down/model", JOB), *until(made, 60.0)], "model")

    assert [one["state"] for one in states] == ["queued", "downloading", "verifying", "trial", end]
    assert ModelState.model_validate(states[-1]).job == JOB["job"]


@pytest.mark.parametrize("name", ["down/twin", "down/command/a", "down/model"])
@pytest.mark.parametrize("payload", [b"", b"\xff", b"[" * 3000, b"{}", b"x" * 9000], ids=["none", "bytes", "deep", "empty", "long"])
def test_rubbish_changes_nothing(manager: Manager, name: str, payload: bytes) -> None:
    made, _ = at_work(manager)
    made.connected(0.0)

    acts = send(made, name, payload)

    assert not [act for act in acts if isinstance(act, Publish)]


def test_two_devices_do_not_do_the_same_at_the_same_moment() -> None:
    waits = {Habits(fails_every=10).next_failure(0.0, Random(f"0 SIM-{n}")) for n in range(100)}

    assert len(waits) == 100
