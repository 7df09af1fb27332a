from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.cameras._yuv import LAYOUTS, to_rgb
from device.types import Pixels

WIDTH, HEIGHT, PADDING = 96, 34, 32


@pytest.fixture
def scene() -> Pixels:
    """Six flat blocks of colour, RGB, larger than a chroma sample."""
    colours = np.array([(200, 40, 40), (40, 180, 60), (30, 60, 190), (220, 200, 40), (128, 128, 128), (90, 30, 120)], np.uint8)
    return np.repeat(np.repeat(colours[None], WIDTH // 6, 1), HEIGHT, 0)


def padded(rows: Pixels, padding: int) -> Pixels:
    """Rows as a driver stores them: each followed by bytes that mean nothing."""
    return np.pad(rows, ((0, 0), (0, padding)), constant_values=77).reshape(-1)


def encode(scene: Pixels, layout: str) -> tuple[Pixels, int]:
    """A driver's buffer of the scene, and its stride."""
    if layout.endswith("888"):
        reverse, depth = layout in ("RGB888", "XRGB8888"), 4 if layout.startswith("X") else 3
        pixels = np.full((HEIGHT, WIDTH, depth), 9, np.uint8)
        pixels[:, :, :3] = scene[:, :, ::-1] if reverse else scene
        return padded(pixels.reshape(HEIGHT, -1), PADDING), WIDTH * depth + PADDING
    planes = np.asarray(cv2.cvtColor(scene, cv2.COLOR_RGB2YUV_I420), np.uint8).reshape(-1)
    luma = planes[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH)
    u, v = planes[HEIGHT * WIDTH :].reshape(2, HEIGHT // 2, WIDTH // 2)
    first, second = (v, u) if layout in ("NV21", "YVU420") else (u, v)
    if layout.startswith("NV"):
        chroma = padded(np.stack((first, second), -1).reshape(HEIGHT // 2, WIDTH), PADDING)
    else:
        chroma = np.concatenate([padded(first, PADDING // 2), padded(second, PADDING // 2)])
    return np.concatenate([padded(luma, PADDING), chroma]), WIDTH + PADDING


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_out_as_the_colours_that_went_in(scene: Pixels, layout: str) -> None:
    buffer, stride = encode(scene, layout)

    rgb = to_rgb(buffer, layout, WIDTH, HEIGHT, stride)

    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(rgb.astype(int) - scene).max() <= 4
    assert rgb.flags.c_contiguous


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_buffer_is_blank_afterwards_padding_included(scene: Pixels, layout: str) -> None:
    buffer, stride = encode(scene, layout)

    rgb = to_rgb(buffer, layout, WIDTH, HEIGHT, stride)

    assert not buffer.any()
    assert rgb.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_buffer_may_be_longer_than_the_picture_and_may_lack_the_last_padding(scene: Pixels, layout: str) -> None:
    buffer, stride = encode(scene, layout)
    longer = np.concatenate([buffer, np.full(4096, 200, np.uint8)])
    shorter = buffer[: buffer.size - PADDING // 2].copy()

    expected = to_rgb(buffer, layout, WIDTH, HEIGHT, stride)

    assert np.array_equal(to_rgb(longer, layout, WIDTH, HEIGHT, stride), expected)
    assert np.array_equal(to_rgb(shorter, layout, WIDTH, HEIGHT, stride), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_buffer_that_is_too_short_is_refused_and_still_blanked(scene: Pixels, layout: str) -> None:
    buffer, stride = encode(scene, layout)
    cut = buffer[: buffer.size - 2 * stride].copy()

    with pytest.raises(ValueError, match="too short"):
        to_rgb(cut, layout, WIDTH, HEIGHT, stride)

    assert not cut.any()


@pytest.mark.parametrize(
    ("layout", "width", "complaint"), [("SRGGB10", WIDTH, "pixel layout SRGGB10 is not known"), ("NV12", 95, "even")]
)
def test_what_cannot_be_read_is_refused_and_still_blanked(layout: str, width: int, complaint: str) -> None:
    buffer = np.full(WIDTH * HEIGHT * 2, 200, np.uint8)

    with pytest.raises(ValueError, match=complaint):
        to_rgb(buffer, layout, width, HEIGHT, WIDTH)

    assert not buffer.any()
