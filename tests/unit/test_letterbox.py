"""A frame in a model's input, and the half that the detector and the search for cards share."""

from __future__ import annotations

import numpy as np
import pytest

from device.nets._letterbox import for_input, half, prepare
from device.types import Frame


def noise(width: int, height: int) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8), 0.0)


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (384, 288), (480, 640), (320, 240), (64, 64)])
@pytest.mark.parametrize("side", [128, 192, 256])
def test_what_is_prepared_from_the_half_is_what_is_prepared_from_the_frame(size: tuple[int, int], side: int) -> None:
    frame = noise(*size)
    whole, by_half = (np.zeros((1, side, side, 3), np.float32) for _ in range(2))

    assert prepare(for_input(frame, side), by_half) == prepare(frame.pixels, whole)

    assert np.array_equal(by_half, whole)


def test_each_pixel_of_the_half_is_the_mean_of_four() -> None:
    frame = noise(64, 48)

    four = frame.pixels.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))

    assert np.abs(half(frame) - four).max() <= 0.5


def test_the_half_of_a_frame_is_gone_with_it() -> None:
    with noise(64, 48) as frame:
        kept = half(frame)
        assert kept.any()

    assert not kept.any()
