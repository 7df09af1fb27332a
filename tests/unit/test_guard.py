"""What a camera delivers is looked at before it counts: black, frozen and absurd pictures do not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from device.cameras._guard import DARK, FROZEN, Darkness, Guard, Guarded
from device.errors import CameraError, CameraStoppedError
from device.types import Frame

RNG = np.random.default_rng(0)


def noisy(at: float, level: int = 90) -> Frame:
    return Frame(RNG.integers(max(0, level - 3), level + 3, (120, 160, 3), np.uint8), at)


def flat(at: float, level: int = 90) -> Frame:
    return Frame(np.full((120, 160, 3), level, np.uint8), at)


def verdict(guard: Guard, frame: Frame) -> str:
    try:
        with frame:
            guard.check(frame)
    except Darkness:
        return "dark"
    except CameraError:
        return "camera"
    return "good"


def test_pictures_with_a_sensors_noise_are_good_for_ever() -> None:
    guard = Guard()

    assert {verdict(guard, noisy(at)) for at in range(0, 7200, 10)} == {"good"}


def test_the_very_same_picture_for_too_long_is_a_camera_that_has_stopped() -> None:
    guard = Guard()

    said = [verdict(guard, flat(float(at))) for at in range(40)]

    assert said == ["good"] * int(FROZEN) + ["camera"] * 10


def test_a_frozen_camera_that_was_opened_anew_is_known_at_its_first_picture() -> None:
    guard = Guard()
    for at in range(31):
        verdict(guard, flat(float(at)))

    assert verdict(guard, flat(100.0)) == "camera"
    assert verdict(guard, noisy(101.0)) == "good"
    assert verdict(guard, flat(102.0)) == "good"


def test_a_camera_behind_its_lid_has_never_seen_anything() -> None:
    guard = Guard()

    assert verdict(guard, flat(0.0, level=1)) == "dark"
    assert verdict(guard, noisy(1.0)) == "good"


def test_a_light_that_goes_out_is_told_after_an_hour_only() -> None:
    guard = Guard()
    verdict(guard, noisy(0.0))

    assert {verdict(guard, noisy(float(at), level=2)) for at in range(30, int(DARK), 30)} == {"good"}
    assert verdict(guard, noisy(DARK + 1, level=2)) == "dark"
    assert verdict(guard, noisy(DARK + 2)) == "good"
    assert verdict(guard, noisy(DARK + 3, level=2)) == "good"


def test_time_without_pictures_is_neither_light_nor_dark() -> None:
    guard = Guard()
    verdict(guard, noisy(0.0))

    assert verdict(guard, noisy(2 * DARK, level=2)) == "good"  # the first black one after a long pause
    later = 2 * int(DARK)
    assert {verdict(guard, noisy(float(at), level=2)) for at in range(later, later + int(DARK), 30)} == {"good"}
    assert verdict(guard, noisy(later + DARK + 1, level=2)) == "dark"
    assert verdict(guard, noisy(later + 3 * DARK, level=2)) == "dark"  # as it was before the next pause


def test_black_pictures_may_be_the_same() -> None:
    guard = Guard()
    verdict(guard, noisy(0.0))

    assert {verdict(guard, flat(float(at), level=0)) for at in range(1, 100)} == {"good"}


def test_a_dim_room_is_not_dark() -> None:
    guard = Guard()

    assert {verdict(guard, noisy(float(at), level=8)) for at in range(0, 7200, 60)} == {"good"}


def test_a_scrap_is_no_picture() -> None:
    with pytest.raises(CameraError, match=r"2x8 pixels; expected 64x64 at least"):
        Guard().check(Frame(np.ones((8, 2, 3), np.uint8), 0.0))


class OneFrame:
    """A camera that shows what it is given."""

    def __init__(self, make: Callable[[], Frame]) -> None:
        self._make = make
        self.closed = 0

    def take(self) -> AbstractContextManager[Frame]:
        return self._make()

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("level", [90, 0])
def test_a_guarded_camera_destroys_every_picture_also_one_that_it_refuses(level: int) -> None:
    pixels = np.full((120, 160, 3), level, np.uint8)
    pixels[0, 0] = 255  # which is not in the sample
    camera = Guarded(OneFrame(lambda: Frame(pixels, 0.0)), Guard())

    try:
        with camera.take() as frame:
            assert frame.pixels.any()
    except Darkness:
        assert level == 0

    assert not pixels.any()


def test_a_guarded_camera_is_closed_with_its_camera() -> None:
    inner = OneFrame(lambda: flat(0.0))

    Guarded(inner, Guard()).close()

    assert inner.closed == 1


def test_the_error_says_what_to_do() -> None:
    guard = Guard()
    guard.check(flat(0.0))

    with pytest.raises(CameraStoppedError, match=r"very same picture for 30 s; check its cable and power"):
        guard.check(flat(40.0))
