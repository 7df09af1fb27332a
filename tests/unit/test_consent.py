"""Pauses, consent, and the no-thanks card."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.consent import REACH, REMEMBER, Consent, Objections
from device.contract import CELLS
from device.tracks import Tracks
from device.types import Observation
from tests.build import HAPPY, face, seen, sighting


def test_a_face_within_reach_of_a_card_is_left_out_and_one_beyond_is_not() -> None:
    near, far = face(x=0.3, size=0.1), face(x=0.3 + REACH * 0.1 + 0.02 + 0.02, size=0.1)

    welcome, declined = Objections().sort(0.0, 1.0, (near, far), [(0.32, 0.5)])

    assert (welcome, declined) == ((far,), (near,))


def test_the_reach_is_the_same_in_both_directions_of_a_wide_picture() -> None:
    wide = 2.0  # twice as wide as high: a face of 0.1 of the height is 0.05 of the width
    one = face(x=0.5, y=0.5, size=0.1)
    narrow = type(one)((0.475, 0.45, 0.525, 0.55), one.keypoints, one.score)

    for x, y in ((0.5 + 0.29 / wide, 0.5), (0.5, 0.79)):
        assert Objections().sort(0.0, wide, (narrow,), [(x, y)])[1] == (narrow,)
    for x, y in ((0.5 + 0.31 / wide, 0.5), (0.5, 0.81)):
        assert Objections().sort(0.0, wide, (narrow,), [(x, y)])[0] == (narrow,)


def test_a_card_that_is_not_read_for_a_moment_still_holds_for_a_face_that_moves() -> None:
    objections = Objections()
    objections.sort(0.0, 1.0, (face(x=0.2, size=0.1),), [(0.2, 0.6)])

    for n in range(1, int(REMEMBER * 5)):
        moving = face(x=0.2 + 0.05 * n, size=0.1)
        assert objections.sort(n / 5, 1.0, (moving,), [])[1] == (moving,)


def test_a_card_that_is_gone_is_forgotten() -> None:
    objections = Objections()
    one = face(size=0.1)
    objections.sort(0.0, 1.0, (one,), [(0.5, 0.6)])

    assert objections.sort(REMEMBER + 0.1, 1.0, (one,), [])[0] == (one,)


def test_a_memory_of_cards_does_not_grow() -> None:
    objections = Objections()
    for n in range(200):
        objections.sort(n / 5, 1.0, (face(size=0.1), face(x=0.9, size=0.1)), [(0.5 + 0.001 * (n % 7), 0.6)])

    assert len(objections._places) < 40


def counted(frames: Iterable[Observation]) -> tuple[int, int, int]:
    """Happy people, neutral ones, and those who said no, in one window of these frames."""
    tracks = Tracks()
    for frame in frames:
        tracks.see(frame)
    cells, opted_out = tracks.close_window()
    assert sum(cells.values()) == cells["happiness"] + cells["neutral"]
    return cells["happiness"], cells["neutral"], opted_out


def test_somebody_who_says_no_is_not_counted_and_what_was_read_before_is_forgotten() -> None:
    before = [seen(n / 5, sighting(emotion=HAPPY), sighting(x=0.9)) for n in range(10)]
    after = [Observation(n / 5, 1.0, (sighting(x=0.9),), (face(),)) for n in range(10, 40)]

    assert counted(before + after) == (0, 1, 1)


def test_somebody_who_puts_the_card_away_again_counts_once_as_one_who_said_no() -> None:
    """Else one person would be in two figures of a window, and pay for one."""
    shown = [Observation(n / 5, 1.0, (), (face(),)) for n in range(10)]
    put_away = [seen(n / 5, sighting(emotion=HAPPY)) for n in range(10, 60)]

    assert counted(shown + put_away) == (0, 0, 1)


def test_a_card_that_comes_and_goes_leaves_one_person_in_one_figure() -> None:
    frames = [Observation(n / 5, 1.0, (), (face(),)) if n % 10 > 6 else seen(n / 5, sighting(emotion=HAPPY)) for n in range(100)]

    assert counted(frames) == (0, 0, 1)


def test_who_said_no_in_one_window_and_goes_before_it_ends_is_still_one_who_said_no() -> None:
    shown = [Observation(n / 5, 1.0, (), (face(),)) for n in range(10)]

    assert counted([*shown, seen(10.0)]) == (0, 0, 1)


def test_a_no_is_for_the_window_in_which_it_was_said() -> None:
    tracks = Tracks()
    for n in range(10):
        tracks.see(Observation(n / 5, 1.0, (), (face(),)))
    tracks.close_window()
    for n in range(10, 20):
        tracks.see(seen(n / 5, sighting(emotion=HAPPY)))

    assert tracks.close_window() == ({**dict.fromkeys(CELLS, 0), "happiness": 1}, 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["read", "card", "away"]), min_size=3, max_size=80))
def test_one_track_counts_in_one_figure_at_most_whatever_it_does_with_its_card(story: list[str]) -> None:
    """Never more than one figure for each time the person was gone long enough to be forgotten."""
    tracks, away, visits = Tracks(), 0, 1
    for n, act in enumerate(story):
        away = away + 1 if act == "away" else 0
        visits += away == 5  # a second: longer than a track that is no person yet is waited for
        faces = {"read": (sighting(),), "card": (), "away": ()}[act]
        tracks.see(Observation(n / 5, 1.0, faces, (face(),) if act == "card" else ()))

    cells, opted_out = tracks.close_window()

    assert sum(cells.values()) + opted_out <= visits


def test_people_who_say_no_are_counted_once_each_by_place_alone() -> None:
    assert counted(Observation(n / 5, 1.0, (), (face(x=0.2), face(x=0.8))) for n in range(20)) == (0, 0, 2)


def test_without_opt_in_people_may_always_be_measured() -> None:
    assert Consent().given(0.0)


def test_consent_holds_for_its_time_and_no_longer() -> None:
    consent = Consent(opt_in=True, lasts=30)
    assert not consent.given(0.0)

    consent.give(10.0)

    assert consent.given(40.0)
    assert not consent.given(40.1)


def test_a_pause_holds_for_its_time_a_shorter_one_does_not_end_it_and_consent_ends_with_it() -> None:
    consent = Consent(opt_in=True, lasts=100)
    consent.give(0.0)

    consent.pause(0.0, 60)
    consent.pause(1.0, 5)

    assert consent.paused(59.9)
    assert not consent.paused(60.0)
    assert not consent.given(60.0)


@pytest.mark.parametrize("now", [0.0, 50.0])
def test_a_pause_can_be_ended(now: float) -> None:
    consent = Consent()
    consent.pause(0.0, 60)

    consent.resume()

    assert not consent.paused(now)
