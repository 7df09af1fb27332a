"""The device's table of states: what follows from which event, and which models are then in force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.contract_manifest import Entry
from device.contract_model import FINAL, ModelJob, Reason, Release, State, Trial
from device.rollout import (
    ATTEMPTS,
    LEAST_PASSES,
    Begun,
    Damaged,
    Ended,
    Event,
    Passed,
    Progress,
    Staged,
    Survived,
    Verified,
    step,
    verdict,
)

OLD, NEW, NEWER = (Entry(file=f"{name}.tflite", sha256=name * 64, source="", licence="") for name in "abc")


def job(number: int = 1, **other: object) -> ModelJob:
    return ModelJob.model_validate({"job": f"{number:016x}", "target": "emotion-1.tflite", "url": "http://127.0.0.1/", **other})


def release(entry: Entry = NEW) -> Release:
    return Release(model="emotion", entry=entry, vectors="v", card="c")


WITHDRAWN = Staged(job(action="withdraw"))
VERIFYING = step(Progress(installed={"emotion": OLD}), Staged(job()))
TRIAL = step(VERIFYING, Verified(release(), 1.5))
COMMITTED = step(TRIAL, Passed())
STATES: dict[State, Progress] = {
    "verifying": VERIFYING,
    "trial": TRIAL,
    "committed": COMMITTED,
    "rolled_back": step(TRIAL, Ended("error")),
    "rejected": step(VERIFYING, Ended("hash")),
}
TABLE: list[tuple[State, Event, State, Reason | None, Entry]] = [
    ("verifying", Verified(release(), 1.5), "trial", None, NEW),
    ("verifying", Ended("signature"), "rejected", "signature", OLD),
    ("verifying", Passed(), "verifying", None, OLD),
    ("verifying", Survived("expired"), "verifying", "expired", OLD),
    ("verifying", WITHDRAWN, "rejected", "withdrawn", OLD),
    ("verifying", Staged(job(2)), "verifying", None, OLD),
    ("trial", Passed(), "committed", None, NEW),
    ("trial", Ended("slow"), "rolled_back", "slow", OLD),
    ("trial", WITHDRAWN, "rolled_back", "withdrawn", OLD),
    ("trial", Staged(job(2)), "verifying", None, OLD),
    ("trial", Verified(release(NEWER), 1.0), "trial", None, NEW),
    ("committed", Ended("timeout"), "committed", None, NEW),
    ("committed", Passed(), "committed", None, NEW),
    ("committed", WITHDRAWN, "rolled_back", "withdrawn", OLD),
    ("committed", Staged(job(2)), "verifying", None, NEW),
    ("rolled_back", Passed(), "rolled_back", "error", OLD),
    ("rolled_back", WITHDRAWN, "rolled_back", "error", OLD),
    ("rejected", Verified(release(), 1.0), "rejected", "hash", OLD),
    ("rejected", WITHDRAWN, "rejected", "hash", OLD),
    ("rejected", Staged(job(2)), "verifying", None, OLD),
]


@pytest.mark.parametrize(("state", "event", "then", "reason", "model"), TABLE)
def test_each_state_and_event_leads_where_the_table_says(
    state: State, event: Event, then: State, reason: Reason | None, model: Entry
) -> None:
    after = step(STATES[state], event)

    assert (after.state, after.reason, after.installed) == (then, reason, {"emotion": model})


@pytest.mark.parametrize("state", STATES)
def test_the_same_job_again_changes_nothing(state: State) -> None:
    assert step(STATES[state], Staged(job())) is STATES[state]


@pytest.mark.parametrize("state", STATES)
def test_a_withdrawal_of_another_job_changes_nothing(state: State) -> None:
    assert step(STATES[state], Staged(job(7, action="withdraw"))) is STATES[state]


@pytest.mark.parametrize(("state", "then"), [("verifying", "rejected"), ("trial", "rolled_back")])
def test_what_the_process_does_not_survive_is_given_up_after_three_attempts(state: State, then: State) -> None:
    progress = STATES[state]
    for _ in range(ATTEMPTS):
        progress = step(progress, Begun())
        assert progress.state == state

    progress = step(progress, Begun())

    assert (progress.state, progress.reason, progress.installed) == (then, "crashed", {"emotion": OLD})


def test_an_end_as_it_should_be_does_not_count_as_an_attempt() -> None:
    progress = TRIAL
    for _ in range(3 * ATTEMPTS):
        progress = step(step(progress, Begun()), Survived())

    assert progress == TRIAL


@pytest.mark.parametrize("state", ["trial", "committed"])
def test_a_damaged_model_leaves_the_packaged_one_and_says_so(state: State) -> None:
    after = step(STATES[state], Damaged("emotion"))

    assert (after.state, after.reason, after.installed, after.damaged) == ("rolled_back", "damaged", {}, ("emotion",))
    cured = step(step(step(after, Staged(job(2))), Verified(release(NEWER), 1.0)), Passed())
    assert (cured.installed, cured.damaged) == ({"emotion": NEWER}, ())


def test_a_damaged_model_of_an_earlier_job_leaves_the_newest_job_alone() -> None:
    progress = COMMITTED.model_copy(update={"installed": {"emotion": NEW, "face": OLD}})

    after = step(progress, Damaged("face"))

    assert (after.state, after.reason, after.installed, after.damaged) == ("committed", None, {"emotion": NEW}, ("face",))


def test_the_file_that_may_have_to_come_back_is_kept_until_the_next_job() -> None:
    assert TRIAL.files == COMMITTED.files == {"a.tflite", "b.tflite"}
    assert step(COMMITTED, Staged(job(2))).files == {"b.tflite"}


EVENTS = st.sampled_from(
    [Staged(job(n)) for n in (1, 2)]
    + [Staged(job(n, action="withdraw")) for n in (1, 2)]
    + [
        Begun(),
        Survived(),
        Passed(),
        Ended("timeout"),
        Damaged("emotion"),
        Verified(release(NEW), 1.0),
        Verified(release(NEWER), 2.0),
    ]
)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_there_is_one_whole_model_and_a_reason_for_each_failure(events: list[Event]) -> None:
    progress = Progress()
    for event in events:
        progress = step(progress, event)

        assert {entry.file for entry in progress.installed.values()} <= progress.files
        told = progress.told  # which refuses a failure without a reason
        assert (told is None) == (progress.job is None)
        if progress.state in FINAL - {"committed"}:
            assert progress.before is None
        assert Progress.model_validate_json(progress.model_dump_json()) == progress


@pytest.mark.parametrize(
    ("over", "passes", "spent", "expected"),
    [
        (False, 0, 0.0, None),
        (True, 0, 0.0, Passed()),
        (True, LEAST_PASSES, 0.05, Passed()),
        (False, LEAST_PASSES, 0.2 * LEAST_PASSES, Ended("slow")),
        (True, LEAST_PASSES, 0.2 * LEAST_PASSES, Ended("slow")),
        (True, LEAST_PASSES - 1, 0.2 * LEAST_PASSES, Passed()),
    ],
)
def test_a_trial_is_passed_with_time_and_failed_by_slowness(over: bool, passes: int, spent: float, expected: Event | None) -> None:
    assert verdict(Trial(slowest_ms=100), over=over, passes=passes, spent=spent) == expected
