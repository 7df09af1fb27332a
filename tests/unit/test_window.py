"""Time is cut into windows of fixed length."""

from __future__ import annotations

import pytest

from device.window import Window, Windows
from tests.build import window


def frames(windows: Windows, times: list[float]) -> list[Window]:
    over = []
    for now in times:
        while done := windows.due(now):
            over.append(done)
        windows.frame(now)
    return over


def every(seconds: float, start: float, end: float) -> list[float]:
    return [start + seconds * n for n in range(round((end - start) / seconds))]


def test_windows_begin_with_the_first_frame_and_follow_each_other() -> None:
    over = frames(Windows(10, 0.2), every(0.2, 100.0, 131.0))

    assert [done.start for done in over] == [100.0, 110.0, 120.0]
    assert [done.frames for done in over] == [50, 50, 50]


def test_a_window_full_of_frames_was_wholly_watched() -> None:
    over = frames(Windows(10, 0.2), every(0.2, 0.0, 21.0))

    assert [done.coverage for done in over] == [pytest.approx(1.0), pytest.approx(1.0)]
    assert over[0].fps == pytest.approx(5.0)


def test_a_gap_without_frames_was_not_watched() -> None:
    over = frames(Windows(10, 0.2), every(0.2, 0.0, 4.0) + every(0.2, 8.0, 10.4))

    assert over[0].coverage == pytest.approx(0.58, abs=0.03)
    assert over[0].fps == pytest.approx(5.0, abs=0.3)


def test_windows_without_any_frame_are_handed_out_with_no_coverage() -> None:
    over = frames(Windows(10, 0.2), [0.0, 35.0])

    assert [done.coverage for done in over] == [0.0, 0.0, 0.0]
    assert [done.fps for done in over] == [0.0, 0.0, 0.0]


def test_a_window_that_is_cut_short_says_so() -> None:
    windows = Windows(10, 0.2)
    frames(windows, every(0.2, 0.0, 3.0))

    last = windows.finish()

    assert last is not None
    assert last.coverage == pytest.approx(0.3)
    assert windows.finish() is None


def test_there_is_nothing_to_finish_before_the_first_frame() -> None:
    assert Windows(10, 0.2).finish() is None


def test_an_erased_window_holds_no_count() -> None:
    full = window({"anger": 3, "unknown": 2})

    full.erase()

    assert not any(full.counts.values())


def test_a_slow_device_that_reads_a_frame_in_half_a_second_watches_all_the_time() -> None:
    """Or coverage would fall whenever many faces have to be read."""
    over = frames(Windows(10, 0.2), every(0.9, 0.0, 20.0))

    assert over[0].coverage == 1.0


def test_the_time_in_which_a_camera_opens_for_somebody_who_consents_counts_as_watched() -> None:
    """Or coverage would tell how often somebody has consented."""
    consented, nobody = Windows(10, 0.2), Windows(10, 0.2)
    for now in every(0.2, 0.0, 10.4):
        nobody.frame(now, idle=True)
        if not 2.0 < now < 5.0:  # pressed at 2, and the camera needs three seconds
            consented.frame(now, idle=now <= 2.0)

    over = consented.due(10.2), nobody.due(10.2)

    assert over[0] is not None
    assert over[1] is not None
    assert over[0].coverage == over[1].coverage


def test_a_device_that_is_told_to_go_slowly_watches_all_the_time() -> None:
    windows, over = Windows(10, 0.2), []
    for now in every(2.0, 0.0, 30.0):
        windows.pace(2.0)
        over += frames(windows, [now])

    assert [(done.coverage, done.fps) for done in over] == [(1.0, 0.5), (1.0, 0.5)]


def test_a_window_before_any_frame_is_unwatched_and_one_in_a_pause_is_paused() -> None:
    windows, over = Windows(10, 0.2), []
    for now in every(0.5, 0.0, 41.0):
        while done := windows.due(now):
            over.append(done)
        if 10 <= now < 25:
            windows.rest(now)
        else:
            windows.blind(now)

    assert [(done.unwatched, done.paused) for done in over] == [(True, False), (False, True), (False, True), (True, False)]


def test_a_pause_across_windows_that_become_one_report_is_one_pause() -> None:
    windows, parts = Windows(10, 0.2), []
    for now in every(0.2, 0.0, 31.0):
        while over := windows.due(now):
            parts.append(over)
        if 4 <= now < 15 or 22 <= now < 24:
            windows.rest(now)
        else:
            windows.frame(now)

    assert [part.pauses for part in parts] == [1, 1, 1]  # each alone says that it was paused in it
    assert parts[0].joined(parts[1]).pauses == 1
    assert parts[0].joined(parts[1]).joined(parts[2]).pauses == 2
    assert parts[1].joined(parts[2]).pauses == 2


def test_a_window_that_begins_as_watching_ends_and_of_which_nothing_is_heard_is_nothing_to_tell() -> None:
    """The one before it was over, and then neither a frame nor the lack of one was noted: another run is wanted."""
    windows = Windows(10, 0.2)
    windows.blind(100.0)
    windows.blind(106.0)
    assert windows.due(115.0) is not None

    assert windows.finish() is None
