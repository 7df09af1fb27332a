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
