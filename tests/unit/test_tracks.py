"""Sightings over time become people, each counted once."""

from __future__ import annotations

import pytest

from device.tracks import GONE_AFTER, HITS, Tracks
from tests.build import HAPPY, NEUTRAL, seen, sighting


def people(tracks: Tracks) -> int:
    return sum(tracks.close_window().cells.values())


def test_a_person_in_many_frames_is_counted_once() -> None:
    tracks = Tracks()

    for frame in range(50):
        tracks.see(seen(frame * 0.2, sighting()))

    assert people(tracks) == 1
    assert tracks.people == 1


def test_a_false_alarm_in_single_frames_is_nobody() -> None:
    tracks = Tracks()

    for frame in range(50):
        tracks.see(seen(frame * 0.2, *([sighting(x=0.1 + 0.8 * (frame % 2))] if frame % 10 < HITS - 1 else [])))

    assert people(tracks) == 0


def test_somebody_who_walks_through_the_picture_is_one_person() -> None:
    tracks = Tracks()

    for frame in range(30):
        tracks.see(seen(frame * 0.2, sighting(x=0.1 + frame * 0.03, size=0.1 + frame * 0.004)))

    assert tracks.people == 1


def test_two_people_who_pass_each_other_stay_two() -> None:
    tracks = Tracks()

    for frame in range(25):
        there, back = 0.1 + frame * 0.032, 0.9 - frame * 0.032
        tracks.see(seen(frame * 0.2, sighting(x=there, y=0.4, size=0.15), sighting(x=back, y=0.6, size=0.15)))

    assert tracks.people == 2
    assert people(tracks) == 2


def test_a_head_that_turns_away_for_two_seconds_is_the_same_person() -> None:
    tracks = Tracks()

    for frame in range(40):
        away = 10 <= frame < 20
        tracks.see(seen(frame * 0.2, *([] if away else [sighting()])))

    assert tracks.people == 1


def test_somebody_who_comes_after_the_first_has_gone_is_another_person() -> None:
    tracks = Tracks()

    for frame in range(10):
        tracks.see(seen(frame * 0.2, sighting()))
    for frame in range(10):
        tracks.see(seen(2.0 + GONE_AFTER + 0.2 + frame * 0.2, sighting()))

    assert tracks.people == 2
    assert people(tracks) == 2


def test_people_who_left_within_the_window_are_still_counted() -> None:
    tracks = Tracks()
    for frame in range(10):
        tracks.see(seen(frame * 0.2, sighting(emotion=HAPPY)))

    tracks.see(seen(9.9))

    assert tracks.close_window().cells["happiness"] == 1
    assert people(tracks) == 0


def test_a_person_who_stays_counts_in_each_window_once() -> None:
    tracks = Tracks()
    counts = []

    for frame in range(60):
        if frame and frame % 20 == 0:
            counts.append(people(tracks))
        tracks.see(seen(frame * 0.2, sighting()))

    assert counts == [1, 1]
    assert tracks.people == 1


def test_the_emotion_of_a_person_is_taken_over_the_whole_window() -> None:
    tracks = Tracks()

    for frame in range(20):
        tracks.see(seen(frame * 0.2, sighting(emotion=HAPPY if frame % 4 else NEUTRAL)))

    assert tracks.close_window().cells["happiness"] == 1


def test_a_large_face_says_more_than_a_small_one() -> None:
    tracks = Tracks()

    for frame in range(20):
        near = frame >= 12
        tracks.see(seen(frame * 0.2, sighting(emotion=HAPPY if near else NEUTRAL, quality=0.9 if near else 0.2)))

    assert tracks.close_window().cells["happiness"] == 1


def test_who_expresses_nothing_clearly_is_unknown_and_not_neutral() -> None:
    tracks = Tracks()

    for frame in range(10):
        tracks.see(seen(frame * 0.2, sighting(emotion=(0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.0, 0.0))))

    assert tracks.close_window().cells["unknown"] == 1


@pytest.mark.parametrize("quality", [0.0])
def test_readings_that_are_worth_nothing_are_unknown(quality: float) -> None:
    tracks = Tracks()

    for frame in range(10):
        tracks.see(seen(frame * 0.2, sighting(quality=quality)))

    assert tracks.close_window().cells["unknown"] == 1
