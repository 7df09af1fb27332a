"""Stages, aborts and patience of a rollout: decisions of the fleet, without a fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.contract import Status
from device.contract_model import ModelState
from provisioning.errors import WordsError
from provisioning.rollout import ORDER, Member, Plan, Rollout, Send, abort, assign, decide, examined, heard, percents

PLAN = Plan(stages=(5.0, 50.0, 100.0), abort_above=2.0, soak_seconds=100, timeout_seconds=10, trial_seconds=10)
JOB = "0123456789abcdef"


def rollout(count: int = 100, plan: Plan = PLAN) -> Rollout:
    return Rollout(JOB, plan, assign(JOB, (f"dev-{n}" for n in range(count)), plan.stages))


def said(state: str, **other: Any) -> ModelState:
    reason = "hash" if state in ("rejected", "rolled_back") else None
    return ModelState.model_validate({"schema": 1, "job": JOB, "state": state, "reason": reason, **other})


def tell(one: Rollout, now: int, state: str, *devices: str) -> Rollout:
    members = (heard(m, said(state), now) if m.device in devices else m for m in one.members)
    return replace(one, members=tuple(members))


def devices(sends: tuple[Send, ...], action: str = "install") -> list[str]:
    return [send.device for send in sends if send.action == action]


def test_stages_are_cumulative_percents_and_each_has_a_device() -> None:
    assert [sum(m.stage == n for m in rollout().members) for n in range(3)] == [5, 45, 50]
    assert [sum(m.stage == n for m in rollout(3).members) for n in range(3)] == [1, 1, 1]
    assert [sum(m.stage == n for m in rollout(1).members) for n in range(3)] == [1, 0, 0]
    assert assign(JOB, ["b", "a"], (100.0,)) == assign(JOB, ["a", "b", "a"], (100.0,))


@pytest.mark.parametrize(
    ("canary", "then", "expected"),
    [(5, (50,), (5, 50, 100)), (None, (), (100,)), (10, (100,), (10, 100)), (None, (1, 2), (1, 2, 100))],
)
def test_the_last_stage_is_everybody(canary: float | None, then: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert percents(canary, then) == expected


@pytest.mark.parametrize(("canary", "then"), [(0, ()), (101, ()), (50, (5,)), (5, (5,)), (-1, ())])
def test_stages_that_do_not_grow_are_refused(canary: float, then: tuple[float, ...]) -> None:
    with pytest.raises(WordsError, match="percents that grow"):
        percents(canary, then)


def test_a_stage_begins_when_all_of_the_one_before_have_stayed_well_for_long_enough() -> None:
    one, sends = decide(rollout(), 1000)
    canary = devices(sends)
    assert len(canary) == 5
    one = tell(one, 1010, "committed", *canary)

    one, sends = decide(one, 1109)
    assert (one.stage, sends) == (0, ())
    one, sends = decide(one, 1110)

    assert one.stage == 1
    assert len(devices(sends)) == 45


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_rollout_that_goes_well_is_done_after_its_last_stage(count: int) -> None:
    one, now = rollout(count), 0
    for _ in range(3):
        one, sends = decide(one, now)
        one = tell(one, now, "committed", *devices(sends))
        now += 100
    one, sends = decide(one, now)

    assert (one.state, sends) == ("done", ())
    assert all(m.state == "committed" for m in one.members)


def test_one_device_of_five_that_fails_aborts_and_those_underway_are_told_to_go_back() -> None:
    one, sends = decide(rollout(), 0)
    first, second, *rest = devices(sends)
    one = tell(tell(tell(one, 5, "rolled_back", first), 5, "committed", second), 5, "trial", *rest)

    one, sends = decide(one, 6)

    assert one.state == "aborted"
    assert one.reason == "1 of 5 devices have failed (hash): 20.0 %, where 2 % are allowed"
    assert sorted(devices(sends, "withdraw")) == sorted(rest)


def test_failures_up_to_the_limit_do_not_abort() -> None:
    one, sends = decide(rollout(plan=replace(PLAN, stages=(100.0,))), 0)
    names = devices(sends)

    one = tell(one, 1, "rejected", *names[:2])
    assert decide(one, 2)[0].state == "running"
    one = tell(one, 3, "rejected", names[2])

    assert decide(one, 4)[0].state == "aborted"


def test_a_device_that_is_not_there_holds_up_nobody_and_counts_for_nothing() -> None:
    one, sends = decide(rollout(plan=replace(PLAN, soak_seconds=0)), 0)
    names = devices(sends)
    one = tell(one, 1, "committed", *names[:4])
    patience = PLAN.patience

    assert decide(one, patience)[0].stage == 0
    one, sends = decide(one, patience + 1)

    assert one.stage == 1
    assert names[4] in devices(sends)  # and it is told again, should it come back


def test_no_stage_begins_while_nobody_has_the_model() -> None:
    one, _ = decide(rollout(), 0)

    one, _ = decide(one, 100 * PLAN.patience)

    assert (one.state, one.stage) == ("running", 0)


def test_a_device_that_has_begun_and_never_ends_is_late_and_a_failure() -> None:
    one, sends = decide(rollout(), 0)
    names = devices(sends)
    one = tell(tell(one, 1, "committed", *names[:4]), 1, "downloading", names[4])

    one, sends = decide(one, PLAN.patience + 2)

    assert one.state == "aborted"
    assert "timeout" in one.reason
    assert devices(sends, "withdraw") == [names[4]]


def status(state: str = "online", health: str = "ok", trouble: str | None = None) -> Status:
    return Status.model_validate({"schema": 1, "state": state, "session": "0123abcd", "health": health, "trouble": trouble})


@pytest.mark.parametrize(
    ("seen", "unwell"),
    [
        (status(), False),
        (status(health="degraded", trouble="model"), True),
        (status(health="degraded", trouble="stopped"), True),
        (status(health="degraded", trouble="camera"), False),
        (status(health="unknown"), False),
        (status("lost"), False),
    ],
)
def test_a_committed_device_that_is_unwell_for_a_reason_of_the_model_is_a_failure(seen: Status, unwell: bool) -> None:
    member = Member("a", 0, "committed")

    assert examined(member, seen, 7).failed == unwell
    assert not examined(examined(member, seen, 7), status(), 8).failed


def test_a_paused_rollout_begins_no_stage_and_still_aborts() -> None:
    one, sends = decide(rollout(), 0)
    names = devices(sends)
    one = replace(tell(one, 1, "committed", *names), state="paused")

    still, sends = decide(one, 1000)
    assert (still.stage, sends) == (0, ())
    one = tell(one, 2, "rolled_back", names[0])

    assert decide(one, 3)[0].state == "aborted"


def test_a_job_is_said_again_until_it_is_answered_at_growing_intervals() -> None:
    one, now, times = rollout(1), 0, []
    while now < 2000:
        one, sends = decide(one, now)
        times += [now] * len(sends)
        now += 10

    assert times == [0, 30, 90, 210, 450, 930, 1890]
    one = tell(one, now, "queued", "dev-0")
    assert decide(one, now + 10)[1] == ()


@pytest.mark.parametrize("back", [False, True])
def test_devices_that_have_the_model_go_back_when_that_is_wanted(back: bool) -> None:
    one, sends = decide(rollout(), 0)
    names = devices(sends)
    one = tell(one, 1, "committed", *names)

    one, sends = decide(abort(one, "a person said so", back=back), 2)

    assert sorted(devices(sends, "withdraw")) == (sorted(names) if back else [])


STATES = st.sampled_from([state for state in ORDER if state not in ("pending", "sent", "late")])


@given(st.lists(STATES, max_size=12), st.randoms())
def test_what_a_device_says_ends_the_same_in_whatever_order_and_however_often_it_arrives(states: list[str], random: Any) -> None:
    """Several processes hear the same device, and messages overtake each other; a device ends in one way only."""
    ends = [state for state in states if state in ("rejected", "rolled_back")]
    once = [state for state in states if state not in ends] + ends[:1]
    shuffled = once * 2
    random.shuffle(shuffled)
    results = []
    for order in (once, shuffled):
        member = Member("a", 0, "sent")
        for state in order:
            member = heard(member, said(state), 5)
        results.append((member.state, member.reason))

    assert len({str(result) for result in results}) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), STATES, st.integers(0, 60)), max_size=60), st.floats(0, 100))
def test_no_more_devices_have_a_job_than_the_stages_that_have_begun_allow(events: list[tuple[int, str, int]], limit: float) -> None:
    one, now = rollout(20, replace(PLAN, abort_above=limit)), 0
    for number, state, wait in events:
        one, _ = decide(one, now)
        now += wait
        if any(m.device == f"dev-{number}" and m.state != "pending" for m in one.members):
            one = tell(one, now, state, f"dev-{number}")
    after, sends = decide(one, now)

    given_ = [m for m in after.members if m.state != "pending"]
    assert all(m.stage <= after.stage for m in given_)
    failed = [m for m in given_ if m.failed]
    if after.state == "running":
        assert 100 * len(failed) <= limit * len([m for m in after.given() if not after.silent(m, now)]) + 1e-9
        assert not devices(sends, "withdraw")
