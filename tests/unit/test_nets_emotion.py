"""The emotion network: crop, light, levels, probabilities. Runs with either TFLite runtime."""

from __future__ import annotations

from math import cos, radians, sin
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.contract import EMOTIONS
from device.manifest import read_manifest
from device.nets import emotion
from device.nets.emotion import CROP_SIDE, CROP_UP, SIDE, EmotionNet
from device.types import Face, Frame, Pixels

COMPOSITES = Path(__file__).parents[2] / "device" / "cameras" / "faces"
Matrix = npt.NDArray[np.float64]


def face_at(x: float, y: float, size: float, *, degrees: float = 0, width: int = 400, height: int = 400) -> Face:
    """A face in a picture: centre and size in pixels, turned clockwise (as seen) by some degrees."""
    c, s = cos(radians(degrees)), sin(radians(degrees))

    def at(dx: float, dy: float) -> tuple[float, float]:
        return (x + (dx * c - dy * s) * size) / width, (y + (dx * s + dy * c) * size) / height

    half = size / 2
    box = ((x - half) / width, (y - half) / height, (x + half) / width, (y + half) / height)
    return Face(box, (at(-0.2, -0.2), at(0.2, -0.2), at(0, 0), at(0, 0.25), at(-0.5, -0.1), at(0.5, -0.1)), 0.9)


def rgb(grey: npt.NDArray[np.uint8]) -> Pixels:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def apply(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    moved = matrix @ (x, y, 1)
    return float(moved[0]), float(moved[1])


# crop


def test_an_upright_crop_is_centred_a_little_above_the_box_and_scaled_to_its_width() -> None:
    size = 100.0

    matrix = emotion.crop_matrix(face_at(200, 180, size), 400, 400)

    middle = (SIDE - 1) / 2
    assert apply(matrix, 199.5, 179.5 - CROP_UP * size) == pytest.approx((middle, middle))
    edge = apply(matrix, 199.5 + CROP_SIDE * size / 2, 179.5 - CROP_UP * size)
    assert edge == pytest.approx((middle + SIDE / 2, middle))


@pytest.mark.parametrize("degrees", [-80, -20, 15, 45, 170])
def test_a_turned_face_comes_out_upright(degrees: float) -> None:
    found = face_at(200, 200, 90, degrees=degrees)

    matrix = emotion.crop_matrix(found, 400, 400)

    right, left, _, mouth = (apply(matrix, x * 400 - 0.5, y * 400 - 0.5) for x, y in found.keypoints[:4])
    assert right[1] == pytest.approx(left[1])
    assert right[0] < left[0]
    assert mouth[1] > right[1]
    assert mouth[0] == pytest.approx((right[0] + left[0]) / 2)


@pytest.mark.parametrize("size", [20.0, 60.0, 300.0])
def test_the_crop_shows_the_same_part_of_a_face_at_every_size(size: float) -> None:
    found = face_at(200, 200, size)

    eyes = [apply(emotion.crop_matrix(found, 400, 400), x * 400 - 0.5, y * 400 - 0.5) for x, y in found.keypoints[:2]]

    assert eyes[1][0] - eyes[0][0] == pytest.approx(0.4 / CROP_SIDE * SIDE)


def test_a_frame_that_is_not_square_does_not_stretch_the_crop() -> None:
    matrix = emotion.crop_matrix(face_at(300, 100, 80, degrees=30, width=640, height=200), 640, 200)

    square = emotion.crop_matrix(face_at(300, 100, 80, degrees=30), 400, 400)
    np.testing.assert_allclose(matrix, square)


def test_a_box_without_area_still_gives_a_crop() -> None:
    point = Face((0.5, 0.5, 0.5, 0.5), ((0.5, 0.5),) * 6, 0.5)

    crop = emotion.cut(np.full((40, 40), 77, np.uint8), emotion.crop_matrix(point, 40, 40))

    assert crop.shape == (SIDE, SIDE)
    assert (crop == 77).all()


def test_the_identity_cuts_an_image_of_the_crops_size_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)

    crop = emotion.cut(image, np.array([[1.0, 0, 0], [0, 1.0, 0]]))

    assert (crop == image).all()


def test_colour_and_grey_pictures_give_the_same_crop() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    matrix = emotion.crop_matrix(face_at(150, 150, 200, degrees=10, width=300, height=300), 300, 300)

    from_grey, from_colour = emotion.cut(grey, matrix), emotion.cut(rgb(grey), matrix)

    np.testing.assert_allclose(from_grey, from_colour, atol=1)


def test_a_fine_pattern_is_averaged_rather_than_sampled() -> None:
    """A large face with stripes one pixel wide becomes grey, not a moiré."""
    stripes = np.zeros((400, 400), np.uint8)
    stripes[:, ::2] = 200

    crop = emotion.cut(stripes, emotion.crop_matrix(face_at(200, 200, 330), 400, 400))

    assert abs(float(crop.mean()) - 100) < 3
    assert float(crop.std()) < 12


# light


@pytest.mark.parametrize(("gain", "offset"), [(0.2, 0), (0.5, 100), (1.0, 0)])
def test_a_dark_or_pale_crop_is_brought_to_the_same_light(gain: float, offset: float) -> None:
    scene = np.random.default_rng(0).integers(40, 200, (SIDE, SIDE)).astype(np.uint8)
    crop = (scene * gain + offset).astype(np.uint8)

    emotion.normalise(crop)

    assert crop.mean() == pytest.approx(emotion.MEAN, abs=2)
    assert crop.std() == pytest.approx(emotion.DEVIATION, abs=2)


def test_an_even_crop_is_not_blown_up_into_noise() -> None:
    crop = np.full((SIDE, SIDE), 60, np.uint8)
    crop[0, 0] = 61

    emotion.normalise(crop)

    assert crop.std() < 1
    assert crop.mean() == pytest.approx(emotion.MEAN, abs=1)


# levels


def test_int8_levels_of_the_shipped_scale_are_grey_minus_128() -> None:
    assert emotion.levels(1 / 128, 0, np.dtype(np.int8)).tolist() == list(range(-128, 128))


def test_uint8_and_float_levels_stand_for_the_same_numbers() -> None:
    real = emotion.levels(0.0, 0, np.dtype(np.float32))
    quantized = emotion.levels(1 / 128, 128, np.dtype(np.uint8))

    np.testing.assert_allclose((quantized.astype(float) - 128) / 128, real.astype(float))
    assert (real[0], real[128]) == (-1, 0)


def test_levels_that_do_not_fit_are_clipped_not_wrapped() -> None:
    table = emotion.levels(1 / 256, 0, np.dtype(np.int8))

    assert (table[0], table[-1]) == (-128, 127)
    assert (np.diff(table.astype(int)) >= 0).all()


# probabilities


def test_probabilities_sum_to_one_and_follow_the_logits() -> None:
    probabilities = emotion.decode(np.array([[3, 1, 0, 0, 0, 0, 0, -50]], np.float32), 0.0, 0, 1.0)

    assert sum(probabilities) == pytest.approx(1)
    assert probabilities[0] / probabilities[1] == pytest.approx(np.exp(2))
    assert probabilities[7] < 1e-12


def test_huge_logits_do_not_overflow() -> None:
    assert emotion.decode(np.array([[1e4, -1e4, 0, 0, 0, 0, 0, 0]], np.float32), 0.0, 0, 1.0)[0] == 1.0


def test_a_higher_temperature_is_less_sure() -> None:
    output = np.array([[3, 1, 0, 0, 0, 0, 0, 0]], np.float32)

    assert emotion.decode(output, 0.0, 0, 2.0)[0] < emotion.decode(output, 0.0, 0, 1.0)[0]


def test_quantized_logits_are_read_with_their_scale_and_zero_point() -> None:
    quantized = emotion.decode(np.array([[40, 20, 10, 10, 10, 10, 10, 10]], np.int8), 0.1, 10, 1.0)

    assert quantized == pytest.approx(emotion.decode(np.array([[3, 1, 0, 0, 0, 0, 0, 0]], np.float32), 0.0, 0, 1.0))


# the real model


@pytest.fixture(scope="module")
def net() -> EmotionNet:
    manifest = read_manifest()
    return EmotionNet(manifest.file(emotion.NAME), temperature=manifest[emotion.NAME].temperature)


def composite(name: str, size: int, *, gain: float = 1.0) -> Frame:
    stored = cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    image = cv2.resize(stored, (size, size), interpolation=cv2.INTER_AREA)
    canvas = np.full((size * 2, size * 2), 128 * gain, np.uint8)
    canvas[size // 2 : size // 2 + size, size // 2 : size // 2 + size] = image * gain
    return Frame(rgb(canvas), 0.0)


def centred(size: int) -> Face:
    return face_at(size, size, size / CROP_SIDE, width=size * 2, height=size * 2)


@pytest.mark.parametrize("name", ["neutral", "happiness", "surprise", "sadness", "anger"])
def test_the_mean_face_of_an_emotion_reads_as_that_emotion(net: EmotionNet, name: str) -> None:
    with composite(name, 96) as frame:
        reading = net(frame, centred(96))

    assert EMOTIONS[int(np.argmax(reading.emotion))] == name
    assert sum(reading.emotion) == pytest.approx(1)


def test_a_dark_picture_reads_like_a_bright_one(net: EmotionNet) -> None:
    with composite("happiness", 96) as bright, composite("happiness", 96, gain=0.25) as dark:
        readings = [net(frame, centred(96)).emotion for frame in (bright, dark)]

    np.testing.assert_allclose(readings[0], readings[1], atol=0.1)


def test_a_small_or_doubtful_face_is_worth_less(net: EmotionNet) -> None:
    with composite("neutral", 96) as large, composite("neutral", 24) as small:
        qualities = [net(large, centred(96)).quality, net(small, centred(24)).quality]

    assert qualities[0] == pytest.approx(0.9)  # the detector's score
    assert 0 < qualities[1] < 0.5


def test_a_face_that_reaches_beyond_the_picture_is_read(net: EmotionNet) -> None:
    with composite("happiness", 96) as frame:
        reading = net(frame, face_at(2, 190, 90, width=192, height=192))

    assert sum(reading.emotion) == pytest.approx(1)


def test_a_reading_is_worth_nothing_where_a_face_is_too_small_or_shows_no_contrast() -> None:
    assert emotion.quality(emotion.LEAST_PIXELS - 0.1, 50, 0.9) == 0
    assert emotion.quality(48, emotion.LEAST_CONTRAST - 0.1, 0.9) == 0
    assert emotion.quality(48, 50, 0.9) == pytest.approx(0.9)
    assert emotion.quality(24, 50, 0.9) == pytest.approx(0.45)


def test_a_picture_that_is_almost_black_is_read_as_worth_nothing(net: EmotionNet) -> None:
    with composite("neutral", 96, gain=0.02) as black, composite("neutral", 96, gain=0.2) as dark:
        qualities = [net(frame, centred(96)).quality for frame in (black, dark)]

    assert qualities == [0, pytest.approx(0.9)]
