"""Pauses, consent, and the no-thanks card."""

from __future__ import annotations

import pytest

from device.consent import REACH, REMEMBER, Consent, Objections
from device.tracks import Tracks
from device.types import Observation, unread
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


def test_somebody_who_says_no_is_not_counted_and_what_was_read_before_is_forgotten() -> None:
    tracks = Tracks()
    for n in range(10):
        tracks.see(seen(n / 5, sighting(emotion=HAPPY), sighting(x=0.9)))
    for n in range(10, 40):
        tracks.see(Observation(n / 5, 1.0, (sighting(x=0.9),), (face(),)))

    counts = tracks.close_window()

    assert (counts["happiness"], counts["neutral"], sum(counts.values())) == (0, 1, 1)


def test_people_who_say_no_are_counted_once_each_by_place_alone() -> None:
    tracks = Tracks()
    for n in range(20):
        tracks.see(Observation(n / 5, 1.0, tuple(map(unread, (face(x=0.2), face(x=0.8))))))

    assert tracks.close_window()["unknown"] == 2


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
