"""What a rehearsal measures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.simulate.figures import Restart, Tally, largest_share, missed, quantile, thinned


def came_back(count: int, over: float) -> Tally:
    """A fleet that lost its broker at 100 s, had it again at 105 s, and came back evenly over so many seconds."""
    tally = Tally(count, began=0.0)
    tally.add(50.0, {"connected": count, "enrolled": count}, {"enrolled": [2.0] * count})
    tally.restart = Restart(stopped=100.0, listening=105.0)
    back = [105.0 + over * n / count for n in range(1, count + 1)]
    tally.add(200.0, {"cut": count, "back": count}, {"back": back})
    return tally


def figures(tally: Tally, **other: Any) -> dict[str, Any]:
    said = {"devices": tally.devices, "enrolment": tally.of_enrolment(), "restart": tally.of_the_restart()}
    return {**said, "reports": {"lost": 0}, "service": {"peak_mib": [120.0]}, **other}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.99, 10), (0.1, 1), (1.0, 10)])
def test_a_quantile_is_one_of_the_values(share: float, expected: int) -> None:
    assert quantile(range(10, 0, -1), share) == expected


def test_nothing_has_no_quantile_and_no_share() -> None:
    assert quantile([], 0.5) is None
    assert largest_share([]) is None


def test_the_busiest_second_is_found_wherever_it_begins() -> None:
    assert largest_share([0.0, 0.9, 1.1, 1.8, 5.0]) == pytest.approx(3 / 5)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60).map(sorted))
def test_no_second_has_more_than_the_busiest(times: list[float]) -> None:
    share = largest_share(times)

    assert share is not None
    assert all(sum(begin <= at < begin + 1 for at in times) <= share * len(times) + 1e-9 for begin in times)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), max_size=500))
def test_a_curve_keeps_its_ends_and_has_sixty_points_at_most(curve: list[tuple[float, int]]) -> None:
    points = thinned(curve)

    assert len(points) <= 60
    assert bool(points) == bool(curve)
    if curve:
        assert points[0] == [round(curve[0][0], 1), curve[0][1]]
        assert points[-1] == [round(curve[-1][0], 1), curve[-1][1]]


def test_a_fleet_that_came_back_as_it_must_misses_nothing() -> None:
    tally = came_back(1000, over=60.0)

    restart = tally.of_the_restart() or {}

    assert tally.connected == 1000
    assert restart.pop("curve")[-1] == [60.0, 1000]
    assert restart == {
        "broker_away_seconds": 5.0,
        "cut_off": 1000,
        "back": 1000,
        "seconds_until_all_back": 60.0,
        "largest_share_in_one_second": pytest.approx(1 / 60, abs=0.001),
    }
    assert missed(figures(tally)) == []


@pytest.mark.parametrize(
    ("tally", "other", "word"),
    [
        (came_back(1000, 10.0), {}, "came back in one second"),
        (came_back(1000, 130.0), {}, "all were back after"),
        (came_back(1000, 60.0), {"reports": {"lost": 3}}, "3 reports were lost"),
        (came_back(1000, 60.0), {"service": {"peak_mib": [120.0, 201.0]}}, "a service took 201 MiB"),
    ],
    ids=["all at once", "late", "lost", "large"],
)
def test_what_is_not_as_it_must_be_is_said(tally: Tally, other: dict[str, Any], word: str) -> None:
    (said,) = missed(figures(tally, **other))

    assert word in said


def test_devices_that_did_not_enrol_or_come_back_are_counted_with_the_reason() -> None:
    tally = came_back(10, 60.0)
    tally.devices = 12
    tally.add(210.0, {"rejected unknown_serial": 2, "cut": 1}, {})

    said = missed(figures(tally))

    assert said == [
        "2 devices did not enrol: {'unknown_serial': 2}",
        "1 devices did not come back after the broker's restart",
    ]


def test_a_reconnection_after_a_power_cut_is_none_after_the_brokers_restart() -> None:
    tally = came_back(10, 60.0)

    tally.add(220.0, {"failed": 1, "connected": 1}, {})

    assert tally.all_back
    assert (tally.of_the_restart() or {})["back"] == 10
