"""A camera that has failed is tried again, less and less often, and given up in the end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.reopen import FIRST, GIVE_UP, LONGEST, SETTLED, Reopening


def tries(reopening: Reopening, begin: float, end: float) -> list[float]:
    """When it is tried, if it fails each time; it ends when it is given up."""
    at, now = [], begin
    while now < end:
        if reopening.due(now):
            at.append(now)
            if reopening.failed(now):
                break
        now += 0.5
    return at


def test_the_waits_double_up_to_the_longest() -> None:
    at = tries(Reopening(), 100.0, 260.0)

    assert [b - a for a, b in itertools.pairwise(at)] == [1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_a_camera_that_never_works_is_given_up_after_its_time_and_no_sooner() -> None:
    at = tries(Reopening(), 0.0, 3 * GIVE_UP)

    assert GIVE_UP <= at[-1] <= GIVE_UP + LONGEST
    assert len(at) < 30  # of which each may leave a thread behind


def test_a_camera_that_has_settled_begins_anew() -> None:
    reopening = Reopening()
    tries(reopening, 0.0, 500.0)
    reopening.works(510.0)
    reopening.works(510.0 + SETTLED)

    assert not reopening.failed(2000.0)
    assert not reopening.due(2000.0 + FIRST / 2)
    assert reopening.due(2000.0 + FIRST)


def test_a_camera_that_works_for_a_moment_now_and_then_is_given_up_all_the_same() -> None:
    reopening, now, given_up = Reopening(), 0.0, False
    while not given_up and now < 3 * GIVE_UP:
        given_up = reopening.failed(now)
        while not reopening.due(now):
            now += 1
        reopening.works(now)
        now += SETTLED / 2

    assert GIVE_UP <= now <= GIVE_UP + LONGEST + SETTLED


def test_it_is_failing_until_it_delivers() -> None:
    reopening = Reopening()
    before = reopening.failing

    reopening.failed(0.0)
    failed = reopening.failing
    reopening.works(5.0)

    assert (before, failed, reopening.failing) == (False, True, False)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 400)), max_size=60))
def test_whatever_happens_it_is_due_again_within_the_longest_wait(story: list[tuple[bool, float]]) -> None:
    reopening, now = Reopening(), 0.0
    for fails, later in story:
        now += later
        if fails:
            reopening.failed(now)
        else:
            reopening.works(now)
        assert reopening.due(now + LONGEST)


@pytest.mark.parametrize("good", [SETTLED - 1, SETTLED + 1])
def test_only_a_camera_that_settled_is_forgiven(good: float) -> None:
    reopening = Reopening()
    reopening.failed(0.0)
    reopening.works(10.0)

    assert reopening.failed(10.0 + good) is False
    given_up = tries(reopening, 11.0 + good, 3 * GIVE_UP)[-1]
    assert (given_up <= GIVE_UP + LONGEST) is (good < SETTLED)


def test_time_in_which_nobody_tries_does_not_count() -> None:
    reopening = Reopening()

    assert not any(reopening.failed(at) for at in (0.0, 5000.0, 10_000.0))
    assert tries(reopening, 10_001.0, 20_000.0)[-1] <= 10_000.0 + GIVE_UP + LONGEST
