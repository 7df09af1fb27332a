"""Waits before the next connection: one device is quick, a fleet is not all at once."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from device.backoff import LASTED, Backoff


def top(_: float, limit: float) -> float:
    """The longest wait that may be drawn."""
    return limit


def test_a_device_whose_attempts_fail_waits_twice_as_long_each_time_up_to_the_longest() -> None:
    waits = Backoff(60, top)

    assert [waits.after(None) for _ in range(8)] == [2, 4, 8, 16, 32, 60, 60, 60]


def test_a_connection_that_ends_at_once_is_a_failure_too() -> None:
    waits = Backoff(60, top)

    assert [waits.after(LASTED - 0.1) for _ in range(3)] == [2, 4, 8]


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=50), st.integers())
def test_no_wait_is_longer_than_the_longest(history: list[float | None], seed: int) -> None:
    waits = Backoff(60, random.Random(seed).uniform)

    assert all(0 <= waits.after(stood) <= 60 for stood in history)


def test_after_a_restart_of_the_broker_no_second_has_five_percent_of_the_fleet_and_all_are_back_in_two_minutes() -> None:
    """The broker of 20,000 devices is away for so many seconds, of all lengths up to two minutes."""
    rng = random.Random(1)
    for away in (0.0, 1.0, 5.0, 30.0, 60.0, 120.0):
        back = []
        for _ in range(20_000):
            waits = Backoff(60, rng.uniform)
            at = waits.after(3600)
            while at < away:
                at += waits.after(None)
            back.append(at - away)

        share = max(Counter(map(int, back)).values()) / len(back)
        assert share < 0.04, (away, share)
        assert max(back) < 120


def test_two_machines_with_one_name_end_each_others_connection_twice_a_minute_and_not_more() -> None:
    """Each takes the name over when its wait is over; the other one then waits."""
    rng = random.Random(1)
    machines = [Backoff(60, rng.uniform), Backoff(60, rng.uniform)]
    now, since, connected, changes = 0.0, 0.0, 0, 0
    while now < 100 * 3600:
        loser, connected = connected, 1 - connected
        now += machines[loser].after(now - since)
        since, changes = now, changes + 1

    assert changes / 100 < 130  # an hour
