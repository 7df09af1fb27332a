"""What policy, pauses and objections do to a report."""

from __future__ import annotations

from fractions import Fraction

import pytest

from device.contract import CELLS, Report
from device.privacy import Circumstances, Gate, Terms
from device.window import Window, Windows
from tests.build import HASHES, NOON, window

AT = Circumstances(seq=1, start=NOON, boot="5f0c1a2b", synced=True, models=HASHES)


def release(made: Window, terms: Terms, **means: object) -> Report:
    (report,) = Gate(terms, **means).release(made, AT)  # type: ignore[arg-type]
    return report


def refused() -> bool:
    raise AssertionError("the ledger was charged")


def people(count: int) -> Window:
    """A window in which people were counted and nothing else."""
    made = window({})
    made.counts = {"unknown": count}
    return made


def noisy(*, emotion: bool = True, k: int = 3) -> Terms:
    return Terms(k, "discrete-laplace", Fraction(1), policy="retail/DE@1", emotion=emotion)


def test_where_emotions_are_forbidden_a_report_holds_people_and_no_emotion() -> None:
    report = release(people(9), Terms(5, policy="classroom/FR@1", emotion=False))

    assert report.groups is not None
    assert (report.people, report.groups.emotion, report.withheld) == (9, None, None)
    assert report.privacy.policy == "classroom/FR@1"


def test_people_are_then_a_cell_of_their_own_with_one_noise() -> None:
    drawn: list[Fraction] = []

    def noise(epsilon: Fraction) -> int:
        drawn.append(epsilon)
        return 2

    report = release(people(9), noisy(emotion=False), charge=lambda: True, noise=noise)

    assert report.people == 11
    assert drawn == [Fraction(1)] * 2  # people, and those who opted out


def test_emotions_that_the_policy_forbids_are_withheld_should_they_get_so_far() -> None:
    report = release(window({"fear": 9}), noisy(emotion=False), charge=refused, noise=lambda _: 0)

    assert (report.withheld, report.people, report.groups) == ("policy", None, None)


def test_a_window_without_the_cells_that_the_policy_permits_is_withheld() -> None:
    assert release(people(9), Terms(5)).withheld == "policy"


def test_a_window_that_was_paused_throughout_says_so_and_costs_nothing() -> None:
    made = Window(0.0, 10, frames=0, pauses=1)

    report = release(made, noisy(), charge=refused, noise=lambda _: 0)

    assert (report.withheld, report.people, report.pauses) == ("paused", None, 1)


def test_a_window_that_was_paused_for_a_part_is_reported_with_its_pauses() -> None:
    made = window({"neutral": 9})
    made.pauses = 2

    report = release(made, Terms(5))

    assert (report.people, report.pauses) == (9, 2)


def test_windows_that_were_held_are_not_lost_in_a_pause() -> None:
    gate = Gate(Terms(5, "discrete-laplace", Fraction(1), max_hold=4), charge=lambda: True, noise=lambda _: 0)

    assert gate.release(window({"neutral": 1}), AT) == ()
    first, second = gate.release(Window(10.0, 10, pauses=1), AT)

    assert [first.withheld, second.withheld] == ["k", "paused"]
    assert [first.seq, second.seq] == [1, 2]


@pytest.mark.parametrize(("count", "told"), [(0, None), (1, None), (4, None), (5, 5), (12, 12)])
def test_without_noise_fewer_than_k_who_opted_out_are_left_out(count: int, told: int | None) -> None:
    made = window({"neutral": 9})
    made.opted_out = count

    report = release(made, Terms(5))

    assert report.groups is not None
    assert report.groups.opted_out == told
    assert report.people == 9  # they are nobody's part of it
    assert made.opted_out == 0


def test_with_noise_those_who_opted_out_are_a_noised_cell_of_their_own() -> None:
    made = window({"neutral": 9})
    made.opted_out = 2
    draws = iter(range(1, 99))

    report = release(made, noisy(), charge=lambda: True, noise=lambda _: next(draws))

    assert report.groups is not None
    assert report.groups.opted_out == 2 + len(CELLS) + 1
    assert report.people == 9 + sum(range(1, len(CELLS) + 1))


def test_noised_objections_add_up_while_windows_are_held() -> None:
    gate = Gate(Terms(5, "discrete-laplace", Fraction(1), max_hold=4), charge=lambda: True, noise=lambda _: 0)
    one, two = window({"neutral": 3}), window({"neutral": 3})
    one.opted_out, two.opted_out = 1, 2

    assert gate.release(one, AT) == ()
    (report,) = gate.release(two, AT)

    assert report.groups is not None
    assert (report.people, report.groups.opted_out) == (6, 3)


def test_windows_end_while_paused_and_each_says_so() -> None:
    windows = Windows(10, 0.2)
    windows.frame(0.0)
    for now in (1.0, 2.0, 9.9):
        windows.rest(now)

    first = windows.due(25.0)
    second = windows.due(25.0)

    assert first is not None
    assert second is not None
    assert (first.pauses, first.frames, first.paused) == (1, 1, False)
    assert (second.pauses, second.frames, second.paused) == (1, 0, True)
    assert windows.due(25.0) is None


def test_two_pauses_in_a_window_are_two() -> None:
    windows = Windows(10, 0.2)
    for start in (0.0, 4.0):
        windows.frame(start)
        windows.rest(start + 1)
        windows.rest(start + 2)

    over = windows.due(10.0)

    assert over is not None
    assert over.pauses == 2


def test_a_window_begins_with_a_pause_when_watching_does() -> None:
    windows = Windows(10, 0.2)
    for now in (5.0, 6.0, 8.9):
        windows.rest(now)

    over = windows.finish()

    assert over is not None
    assert over.paused
    assert (over.coverage, over.seconds) == (0, 3)  # it lasted no longer
