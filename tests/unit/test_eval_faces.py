"""The arithmetic of the evaluation of faces, and of their framing."""

from __future__ import annotations

import numpy as np
import pytest

from device.types import Face
from models import eval_faces, framing
from models.data import DataError

POINTS = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.5, 0.6), (0.3, 0.45), (0.7, 0.45))


def test_overlap_of_a_box_with_itself_is_one_and_with_a_distant_one_zero() -> None:
    box = np.array([0.0, 0, 10, 10])

    overlaps = eval_faces.overlap(box, np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]))

    assert overlaps.tolist() == pytest.approx([1, 1 / 3, 0])


def test_each_head_is_hit_once_by_the_surest_detection() -> None:
    head = np.array([[0.0, 0, 10, 10]])

    assert eval_faces.match([np.array([0.0, 0, 10, 9]), np.array([0.0, 0, 10, 10])], head) == [0, None]


def test_a_picture_without_heads_makes_every_detection_false() -> None:
    assert eval_faces.match([np.array([0.0, 0, 10, 9])], np.empty((0, 4))) == [None]


@pytest.mark.parametrize(
    ("scores", "hits", "truths", "expected"),
    [
        ([0.9, 0.8], [True, True], 2, 1.0),
        ([0.9, 0.8], [True, True], 4, 0.5),
        ([0.9, 0.8, 0.7], [True, False, True], 2, 0.5 + 0.5 * 2 / 3),
        ([0.7, 0.9, 0.8], [True, True, False], 2, 0.5 + 0.5 * 2 / 3),  # the order is that of the scores
        ([0.9], [False], 2, 0.0),
        ([], [], 2, 0.0),
    ],
)
def test_average_precision_is_the_area_under_precision_over_recall(
    scores: list[float], hits: list[bool], truths: int, expected: float
) -> None:
    assert eval_faces.average_precision(scores, hits, truths) == pytest.approx(expected)


def test_a_head_box_is_taller_than_its_face_and_reaches_higher() -> None:
    left, top, right, bottom = eval_faces.head_box(Face((0.25, 0.25, 0.75, 0.75), POINTS, 0.9), 400, 200)

    assert (left + right) / 2 == pytest.approx(200)
    assert right - left == pytest.approx(eval_faces.HEAD_WIDTH * 200)
    assert bottom - top == pytest.approx(eval_faces.HEAD_HEIGHT * 100)
    assert top < 50


# framing


def test_framing_is_the_images_side_and_height_in_widths_of_the_face() -> None:
    upright = Face((0.1, 0.2, 0.9, 1.0), POINTS, 0.9)

    measured = framing.measure([upright] * 3)

    assert measured.side == pytest.approx(1 / 0.8)
    assert measured.up == pytest.approx(0.1 / 0.8)
    assert measured.spread == pytest.approx((0, 0))


def test_framing_without_a_face_says_so() -> None:
    with pytest.raises(DataError, match="no face"):
        framing.measure([])
