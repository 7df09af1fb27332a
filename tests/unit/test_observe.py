"""The life of an image."""

from __future__ import annotations

import numpy as np
import pytest

from device.errors import FrameClosedError
from device.observe import observe
from device.types import Frame, Pixels, Reading, wiped
from tests.build import NEUTRAL, face


def grey(level: int = 200) -> Frame:
    return Frame(np.full((4, 6, 3), level, np.uint8), taken_at=1.5)


def test_a_frame_becomes_numbers_and_its_pixels_become_zeros() -> None:
    frame = grey()
    kept = frame.pixels

    seen = observe(lambda: frame, lambda _: (face(),), lambda _, __: Reading(NEUTRAL, 1.0))

    assert (seen.taken_at, seen.aspect, len(seen.sightings)) == (1.5, 1.5, 1)
    assert not kept.any()


def test_a_model_that_keeps_the_frame_is_left_with_zeros() -> None:
    frame = grey()
    kept: list[Pixels] = []

    def greedy(leaked: Frame, _: object) -> Reading:
        kept.append(leaked.pixels)
        raise ValueError

    with pytest.raises(ValueError):
        observe(lambda: frame, lambda _: (face(),), greedy)

    assert not kept[0].any()
    with pytest.raises(FrameClosedError):
        _ = frame.pixels


def test_a_detector_that_raises_leaves_no_pixel() -> None:
    frame = grey()
    kept = frame.pixels

    def broken(_: Frame) -> tuple[()]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        observe(lambda: frame, broken, lambda _, __: Reading(NEUTRAL, 1.0))

    assert not kept.any()


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 4), (0, 6, 3)])
def test_a_frame_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"uint8\[height, width, 3\]"):
        Frame(np.zeros(shape, np.uint8), 0.0)


def test_a_frame_that_cannot_be_zeroed_is_refused() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels.flags.writeable = False

    with pytest.raises(ValueError, match="read-only"):
        Frame(pixels, 0.0)


def test_a_frame_does_not_show_its_pixels_when_printed() -> None:
    frame = grey()

    with frame:
        assert repr(frame) == "Frame(6x4)"
    assert repr(frame) == "Frame(destroyed)"


def test_a_wiped_array_is_zero_afterwards_even_after_an_error() -> None:
    array = np.ones(5)

    with pytest.raises(KeyError), wiped(array):
        raise KeyError

    assert not array.any()


def test_a_smaller_copy_is_made_once_and_zeroed_with_its_frame() -> None:
    made: list[Pixels] = []

    def smaller(pixels: Pixels) -> Pixels:
        made.append(pixels[::2, ::2].copy())
        return made[-1]

    with grey() as frame:
        assert frame.derived(smaller) is frame.derived(smaller)
        assert made[0].all()

    assert len(made) == 1
    assert not made[0].any()
    with pytest.raises(FrameClosedError):
        frame.derived(smaller)
