"""Pictures made worse: each kind does what its line in models/degrade.py says, the same way each time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.types import Pixels
from models import degrade as worse
from models.degrade import KINDS, Kind, degrade, turned


def face_like(side: int = 48, channels: int = 1) -> Pixels:
    """Something with edges and gradients, not symmetric."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(30, 226, (6, 6, channels), np.uint8)
    large = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).reshape(side, side, channels)
    return np.asarray(large[:, :, 0] if channels == 1 else large, np.uint8)


def flat(level: int, side: int = 48) -> Pixels:
    return np.full((side, side), level, np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_gives_a_new_picture_of_the_same_form(kind: Kind, channels: int) -> None:
    picture = face_like(96, channels)
    before = picture.copy()

    made = degrade(picture, kind)

    assert made.shape == picture.shape
    assert made.dtype == np.uint8
    assert made.flags.c_contiguous
    assert made.flags.writeable
    assert (picture == before).all()
    assert (made != picture).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_picture_gets_worse_in_the_same_way(kind: Kind) -> None:
    assert (degrade(face_like(), kind, 7) == degrade(face_like(), kind, 7)).all()


def test_another_picture_gets_other_noise() -> None:
    assert (degrade(face_like(), "noise", 1) != degrade(face_like(), "noise", 2)).any()


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (128, 32), (255, 89)])
def test_dark_follows_its_curve(level: int, expected: int) -> None:
    assert (degrade(flat(level), "dark") == expected).all()


@pytest.mark.parametrize(("width", "sigma"), [(48, 1.2), (640, 2.56)])
def test_blur_spreads_an_edge_by_its_strength(width: int, sigma: float) -> None:
    edge = np.zeros((8, width), np.uint8)
    edge[:, width // 2 :] = 255

    step = np.diff(degrade(edge, "blur")[4].astype(float)) / 255

    middle = (np.arange(width - 1) * step).sum()
    assert np.sqrt((((np.arange(width - 1) - middle) ** 2) * step).sum()) == pytest.approx(sigma, rel=0.1)


def test_noise_has_its_deviation_and_no_offset() -> None:
    made = degrade(flat(128, 200), "noise").astype(float)

    assert made.std() == pytest.approx(worse.NOISE, rel=0.05)
    assert made.mean() == pytest.approx(128, abs=0.5)


@pytest.mark.parametrize(("side", "smallest"), [(48, 32), (200, 100)])
def test_small_keeps_no_more_than_its_pixels(side: int, smallest: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)

    made = degrade(noise, "small")

    again = cv2.resize(cv2.resize(noise, (smallest, smallest), interpolation=cv2.INTER_AREA), (side, side))
    assert (made == again).all()


@pytest.mark.parametrize("shape", [(200, 1), (1, 65), (1, 1), (1, 200, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_one_line_is_made_worse_like_any_other(kind: Kind, shape: tuple[int, ...]) -> None:
    assert degrade(np.full(shape, 90, np.uint8), kind).shape == shape


def test_rotate_turns_by_twenty_degrees_to_either_side() -> None:
    bar = np.zeros((101, 101), np.uint8)
    bar[45:56, 5:96] = 255
    angles = []
    for number in range(8):
        y, x = np.nonzero(degrade(bar, "rotate", number) > 128)
        angles.append(round(float(np.degrees(np.arctan(np.polyfit(x, y, 1)[0])))))

    assert set(angles) == {20, -20}


@pytest.mark.parametrize("number", range(4))
def test_a_head_box_turns_with_its_picture(number: int) -> None:
    picture = np.zeros((200, 300), np.uint8)
    cv2.ellipse(picture, (210, 60), (20, 35), 0, 0, 360, (255.0,), -1)

    made = degrade(picture, "rotate", number)

    (box,) = turned(np.array([[190.0, 25, 230, 95]]), 300, 200, number)
    y, x = np.nonzero(made > 128)
    assert box.tolist() == pytest.approx([x.min(), y.min(), x.max(), y.max()], abs=2)


def test_infrared_is_grey_brighter_in_the_dark_and_falls_off_in_the_corners() -> None:
    made = degrade(np.full((200, 200, 3), 40, np.uint8), "infrared")

    middle, corner = made[90:110, 90:110].mean(), made[:20, :20].mean()
    assert (made[:, :, 0] == made[:, :, 2]).all()
    assert middle == pytest.approx(255 * (0.15 + 0.8 * (40 / 255) ** 0.6), rel=0.03)
    assert corner / middle == pytest.approx(0.65, abs=0.05)  # 0.6 in the very corner


def test_infrared_sees_red_as_bright_and_blue_as_black() -> None:
    red, blue = (np.zeros((50, 50, 3), np.uint8) for _ in range(2))
    red[:, :, 0] = blue[:, :, 2] = 200

    assert degrade(red, "infrared")[20:30, 20:30].mean() > 4 * degrade(blue, "infrared")[20:30, 20:30].mean()
