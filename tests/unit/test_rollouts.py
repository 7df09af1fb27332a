"""Rollouts in the registry: stored before they are sent, whoever of several processes decides, on either database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from provisioning import manage, rollouts
from provisioning.errors import WordsError
from provisioning.registry import Registry
from provisioning.rollout import Plan
from provisioning.rollout_screen import drawn
from provisioning.rollouts import Wanted
from provisioning.tables import DeviceRow
from tests.fleet import Clock

NAMES = [f"dev-{n:02}" for n in range(20)]
PLAN = Plan((5.0, 50.0, 100.0), 2.0, soak_seconds=60, timeout_seconds=10, trial_seconds=10)
WANTED = Wanted("emotion-0123abcd.tflite", "https://models.example/", 3)


class Fleet:
    """A registry with twenty devices, and a rollout."""

    def __init__(self, url: str) -> None:
        self.clock = Clock(1_000_000)
        self.registry = Registry.open(url, self.clock)
        manage.add_batch(self.registry, "berlin", "retail", "DE", dict.fromkeys(NAMES))
        rows = [DeviceRow(name=name, serial=name, created_at=0) for name in NAMES]
        self.registry.transact(lambda session: session.add_all(rows))

    def start(self, plan: Plan = PLAN, **other: Any) -> str:
        return rollouts.start(self.registry, Wanted(**{**vars_of(WANTED), **other}), plan, NAMES)

    def go_on(self, seconds: float = 0) -> dict[str, dict[str, Any]]:
        """What is sent now: device → job."""
        self.clock.at += seconds
        return {answer.topic.split("/")[2]: json.loads(answer.payload) for answer in rollouts.go_on(self.registry)}

    def says(self, number: str, state: str, *devices: str, reason: str | None = None) -> None:
        for name in devices:
            said = {"schema": 1, "job": number, "state": state, "reason": reason, "milliseconds": 1.5}
            rollouts.hear(self.registry, name, json.dumps(said).encode())

    def status(self, device: str, **said: Any) -> None:
        whole = {"schema": 1, "state": "online", "session": "0123abcd", "health": "ok", **said}
        rollouts.examine(self.registry, device, json.dumps(whole).encode())

    @property
    def state(self) -> tuple[str, int]:
        found = rollouts.view(self.registry).rollout
        return found.state, found.stage


def vars_of(wanted: Wanted) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in ("target", "url", "timestamp", "slowest_ms", "chosen")}


@pytest.fixture
def fleet(url: str) -> Iterator[Fleet]:
    made = Fleet(url)
    yield made
    made.registry.close()


def test_a_rollout_goes_through_its_stages_to_the_end(fleet: Fleet) -> None:
    number = fleet.start()
    counts = []
    for _ in range(3):
        sent = fleet.go_on()
        counts.append(len(sent))
        assert {job["action"] for job in sent.values()} == {"install"}
        assert {(job["job"], job["target"], job["timestamp"]) for job in sent.values()} == {(number, WANTED.target, 3)}
        assert fleet.go_on() == {}
        fleet.says(number, "trial", *sent)
        fleet.says(number, "committed", *sent)
        fleet.clock.at += 60
    assert fleet.go_on() == {}

    assert counts == [1, 9, 10]
    assert fleet.state == ("done", 2)
    assert {member.milliseconds for member in rollouts.view(fleet.registry).rollout.members} == {1.5}
    said = [(one.step, one.code) for one in manage.audit_log(fleet.registry, None, 1000) if one.step == "rollout"]
    assert [said.count(("rollout", code)) for code in ("started", "stage", "committed", "done")] == [1, 2, 20, 1]


def test_too_many_failures_abort_it_and_the_others_are_told_to_go_back(fleet: Fleet) -> None:
    number = fleet.start(Plan((100.0,), 5.0))
    sent = fleet.go_on()
    fleet.says(number, "trial", *NAMES)
    fleet.says(number, "rolled_back", *NAMES[:2], reason="slow")

    sent = fleet.go_on()

    assert fleet.state[0] == "aborted"
    assert rollouts.view(fleet.registry).rollout.reason == "2 of 20 devices have failed (slow): 10.0 %, where 5 % are allowed"
    assert {job["action"] for job in sent.values()} == {"withdraw"}
    assert sorted(sent) == NAMES[2:]
    fleet.says(number, "rolled_back", *NAMES[2:], reason="withdrawn")
    assert fleet.go_on(10_000) == {}


def test_what_was_decided_and_never_sent_is_sent_again(fleet: Fleet) -> None:
    """A process that dies after its decision has told nobody; the device answers nothing, so the job is due again."""
    fleet.start()
    assert len(fleet.go_on()) == 1
    assert fleet.go_on(29) == {}

    assert len(fleet.go_on(1)) == 1


def test_several_processes_send_each_job_once(fleet: Fleet, url: str) -> None:
    fleet.start(Plan((100.0,)))
    others = [Registry.open(url, fleet.clock) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        sent = [answer.topic for answers in pool.map(rollouts.go_on, others) for answer in answers]
    for one in others:
        one.close()

    assert sorted(sent) == [f"mien/v1/{name}/down/model" for name in NAMES]


def test_one_rollout_at_a_time_and_a_new_one_takes_the_word_from_the_old(fleet: Fleet) -> None:
    fleet.start(Plan((100.0,)))
    fleet.go_on()
    with pytest.raises(WordsError, match="is running; abort it first"):
        fleet.start()
    rollouts.change(fleet.registry, "aborted")
    second = fleet.start(Plan((100.0,)))

    sent = fleet.go_on(100_000)

    assert {job["job"] for job in sent.values()} == {second}


def test_a_person_may_pause_resume_abort_and_take_all_of_it_back(fleet: Fleet) -> None:
    with pytest.raises(WordsError, match="there is no rollout"):
        rollouts.change(fleet.registry, "paused")
    number = fleet.start()
    (canary,) = fleet.go_on()
    rollouts.change(fleet.registry, "paused")
    fleet.says(number, "committed", canary)
    assert fleet.go_on(1000) == {}
    rollouts.change(fleet.registry, "running")
    assert len(fleet.go_on()) == 9
    rollouts.change(fleet.registry, "aborted")
    with pytest.raises(WordsError, match="is aborted; only abort --back"):
        rollouts.change(fleet.registry, "running")
    assert len(fleet.go_on()) == 9

    rollouts.change(fleet.registry, "aborted", back=True)

    sent = fleet.go_on()
    assert len(sent) == 10
    assert sent[canary]["action"] == "withdraw"


@pytest.mark.parametrize(
    ("trouble", "state"), [("model", "aborted"), ("stopped", "aborted"), ("camera", "running"), (None, "running")]
)
def test_a_device_that_is_not_well_with_the_new_model_counts_as_a_failure(fleet: Fleet, trouble: str | None, state: str) -> None:
    number = fleet.start()
    (canary,) = fleet.go_on()
    fleet.says(number, "committed", canary)

    fleet.status(canary, health="degraded" if trouble else "ok", trouble=trouble)
    fleet.go_on()

    assert fleet.state[0] == state


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"x" * 1_000_000, b'{"schema": 1, "job": "0123456789abcdef", "state": "committed"}'],
)
def test_what_is_no_state_of_a_job_of_ours_is_nothing(fleet: Fleet, payload: bytes) -> None:
    fleet.start()
    (canary,) = fleet.go_on()
    before = rollouts.view(fleet.registry)

    rollouts.hear(fleet.registry, canary, payload)
    rollouts.examine(fleet.registry, canary, payload)
    rollouts.hear(fleet.registry, "nobody", payload)

    assert rollouts.view(fleet.registry) == before


def test_a_device_speaks_for_itself_alone(fleet: Fleet) -> None:
    number = fleet.start()
    (canary,) = fleet.go_on()
    other = next(name for name in NAMES if name != canary)

    fleet.says(number, "committed", other)

    states = {member.device: member.state for member in rollouts.view(fleet.registry).rollout.members}
    assert states[canary] == "sent"


@pytest.mark.parametrize("other", [{"url": "ftp://models.example/"}, {"url": "https://"}, {"target": "../x"}, {"slowest_ms": 0}])
def test_a_rollout_that_devices_would_refuse_is_refused_here(fleet: Fleet, other: dict[str, Any]) -> None:
    with pytest.raises(WordsError, match="devices would refuse this rollout"):
        fleet.start(**other)


def test_the_rollout_survives_the_process(fleet: Fleet, url: str, tmp_path: Path) -> None:
    number = fleet.start()
    (canary,) = fleet.go_on()
    fleet.says(number, "committed", canary)
    fleet.registry.close()

    fleet.registry = Registry.open(url, fleet.clock)

    assert len(fleet.go_on(60)) == 9


def test_the_screen_shows_stages_failures_and_why_it_stopped(tmp_path: Path) -> None:
    fleet = Fleet(f"sqlite:///{tmp_path}/registry.db")
    number = fleet.start(Plan((50.0, 100.0), 5.0))
    sent = sorted(fleet.go_on())
    fleet.says(number, "rolled_back", sent[0], reason="slow")
    fleet.go_on()
    console = Console(width=120, record=True, file=StringIO())

    console.print(drawn(rollouts.view(fleet.registry), fleet.registry.now()))

    said = console.export_text()
    fleet.registry.close()
    for wanted in ("aborted", "1 of 10 devices have failed (slow)", "50%", "100%", f"│ {sent[0]} │ rolled_back │ slow", "1.5 ms"):
        assert wanted in said, said
