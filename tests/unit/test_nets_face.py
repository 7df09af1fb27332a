"""The face detectors: anchors, letterbox, tiles, merging, and faces that they must find. Runs with either TFLite runtime."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.manifest import read_manifest
from device.nets import _tiles, face
from device.nets._letterbox import Letterbox
from device.nets.face import BACK, DETECTORS, FULL, SHORT, FaceNet
from device.types import Face, Frame

COMPOSITES = sorted((Path(__file__).parents[2] / "device" / "cameras" / "faces").glob("*.png"))
GRID, SIDE = 48, FULL.side
SQUARE = Letterbox.of(SIDE, SIDE, SIDE)
Hit = tuple[int, int, float, tuple[float, float, float, float]]  # row, column, logit, (dx, dy, width, height) in input pixels


def decode(
    boxes: npt.NDArray[np.float32], logits: npt.NDArray[np.float32], letterbox: Letterbox, min_score: float = face.MIN_SCORE
) -> tuple[Face, ...]:
    return face.merge(*face.hits(FULL, boxes, logits, letterbox, min_score))


def tensors(*hits: Hit) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The model's output for some hits and nothing else; keypoint k lies 2k pixels right of the anchor and k below."""
    boxes = np.zeros((1, GRID * GRID, 16), np.float32)
    logits = np.full((1, GRID * GRID, 1), -20, np.float32)
    for row, column, logit, box in hits:
        anchor = row * GRID + column
        logits[0, anchor, 0] = logit
        boxes[0, anchor, :4] = box
        boxes[0, anchor, 4:] = [value for k in range(6) for value in (2 * k, k)]
    return boxes, logits


def scene(composite: Path, size: int, left: int, top: int, *, width: int = 640, height: int = 480) -> Frame:
    """A mean face, ``size`` pixels wide, on a plain grey canvas."""
    image = cv2.imread(str(composite), cv2.IMREAD_GRAYSCALE)
    canvas = np.full((height, width), 128, np.uint8)
    canvas[top : top + size, left : left + size] = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return Frame(np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2RGB), np.uint8), 0.0)


# decode


def test_no_hit_is_no_face() -> None:
    assert decode(*tensors(), SQUARE) == ()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 47), (24, 24), (47, 5)])
def test_a_box_lies_around_the_centre_of_its_anchors_cell(row: int, column: int) -> None:
    (found,) = decode(*tensors((row, column, 3.0, (0, 0, 48, 96))), SQUARE)

    x, y = (column + 0.5) / GRID, (row + 0.5) / GRID
    assert found.box == pytest.approx((x - 0.125, y - 0.25, x + 0.125, y + 0.25))
    assert found.score == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_offsets_and_keypoints_are_in_input_pixels_from_the_anchor() -> None:
    (found,) = decode(*tensors((10, 20, 2.0, (9.6, -4.8, 40, 40))), SQUARE)

    x, y = 20.5 / GRID, 10.5 / GRID
    assert (found.box[0] + found.box[2]) / 2 == pytest.approx(x + 0.05)
    assert (found.box[1] + found.box[3]) / 2 == pytest.approx(y - 0.025)
    assert [c for p in found.keypoints for c in p] == pytest.approx([c for k in range(6) for c in (x + 2 * k / SIDE, y + k / SIDE)])


@pytest.mark.parametrize(("logit", "count"), [(-0.1, 0), (0.1, 1)])
def test_a_face_counts_from_the_least_score_on(logit: float, count: int) -> None:
    assert len(decode(*tensors((5, 5, logit, (0, 0, 30, 30))), SQUARE, min_score=0.5)) == count


def test_overlapping_hits_are_one_face_at_their_mean_weighted_by_score() -> None:
    (found,) = decode(*tensors((20, 20, 4.0, (0, 0, 40, 40)), (20, 21, 1.0, (0, 0, 40, 40))), SQUARE)

    strong, weak = 1 / (1 + np.exp(-4.0)), 1 / (1 + np.exp(-1.0))
    expected = (20.5 * strong + 21.5 * weak) / (strong + weak) / GRID
    assert (found.box[0] + found.box[2]) / 2 == pytest.approx(expected)
    assert found.score == pytest.approx(strong)


def test_faces_apart_stay_apart_and_the_surest_comes_first() -> None:
    found = decode(*tensors((10, 10, 1.0, (0, 0, 30, 30)), (10, 30, 5.0, (0, 0, 30, 30))), SQUARE)

    assert [round(f.box[0] * GRID) for f in found] == [27, 7]


def test_a_box_without_area_merges_with_nothing_and_divides_by_nothing() -> None:
    found = decode(*tensors((10, 10, 1.0, (0, 0, 0, 0)), (10, 11, 2.0, (0, 0, 0, 0))), SQUARE)

    assert len(found) == 2


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640)])
def test_the_letterbox_is_undone_in_boxes_and_keypoints(width: int, height: int) -> None:
    """The cell at the middle of the input is the middle of the frame; a square in the input is a square in the frame."""
    (found,) = decode(*tensors((24, 24, 3.0, (-2, -2, 48, 48))), Letterbox.of(width, height, SIDE))

    x0, y0, x1, y1 = found.box
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((0.5, 0.5))
    assert (x1 - x0) * width == pytest.approx((y1 - y0) * height)
    assert (x1 - x0) * width == pytest.approx(48 * 640 / SIDE)
    assert found.keypoints[0] == pytest.approx((0.5 + 2 * 640 / SIDE / width, 0.5 + 2 * 640 / SIDE / height))


# anchors


@pytest.mark.parametrize(("detector", "anchors"), [(FULL, 2304), (SHORT, 896), (BACK, 896)], ids=str)
def test_a_detector_has_one_centre_for_each_anchor_of_its_graph(detector: face.Detector, anchors: int) -> None:
    assert detector.centres.shape == (anchors, 2)
    assert detector.outputs[0].shape == (1, anchors, 16)


@pytest.mark.parametrize(
    ("anchor", "x", "y"),
    [
        (0, 0.5 / 16, 0.5 / 16),
        (1, 0.5 / 16, 0.5 / 16),
        (2, 1.5 / 16, 0.5 / 16),
        (511, 15.5 / 16, 15.5 / 16),
        (512, 0.5 / 8, 0.5 / 8),
        (517, 0.5 / 8, 0.5 / 8),
        (518, 1.5 / 8, 0.5 / 8),
        (895, 7.5 / 8, 7.5 / 8),
    ],
)
def test_short_and_back_have_two_anchors_per_fine_cell_and_six_per_coarse_one(anchor: int, x: float, y: float) -> None:
    for detector in (SHORT, BACK):
        assert detector.centres[anchor] == pytest.approx((x, y))


# tiles


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (100, 100), (1920, 1080), (641, 3), (1, 1)])
@pytest.mark.parametrize("tiles", list(_tiles.TILES))
def test_tiles_cover_every_frame_and_stay_inside(width: int, height: int, tiles: int) -> None:
    views = _tiles.views(width, height, tiles)

    seen = np.zeros((height, width), int)
    for left, top, right, bottom in views:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        seen[top:bottom, left:right] += 1
    assert views[0] == (0, 0, width, height)
    assert len(views) == (1 if tiles == 1 else 1 + tiles)
    assert seen.min() >= (1 if tiles == 1 else 2)


def test_tiles_overlap_by_a_quarter_along_the_longer_side() -> None:
    _, first, second = _tiles.views(700, 400, 2)

    assert first == (0, 0, 400, 400)
    assert second == (300, 0, 700, 400)


def test_a_box_that_lies_in_another_is_the_same_face_only_between_views() -> None:
    rows = np.zeros((2, 16))
    rows[:, :4] = [(0.1, 0.1, 0.5, 0.5), (0.2, 0.2, 0.35, 0.35)]
    scores = np.array([0.9, 0.8])

    assert len(face.merge(rows, scores)) == 2
    assert len(face.merge(rows, scores, face.SAME_FACE_INSIDE)) == 1


# the real models

FILES = [(name, form) for name, detector in DETECTORS.items() for form in read_manifest()[detector.name].forms]


@pytest.fixture(scope="module", params=FILES, ids="-".join)
def net(request: pytest.FixtureRequest) -> FaceNet:
    name, form = request.param
    return FaceNet(read_manifest().file(DETECTORS[name].name, form), detector=name)


def test_each_detector_has_all_three_forms() -> None:
    assert len(FILES) == 9


@pytest.mark.parametrize("composite", COMPOSITES, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [150, 200])
def test_every_mean_face_is_found_where_it_is(net: FaceNet, composite: Path, size: int) -> None:
    with scene(composite, size, left=330, top=150) as frame:
        (found,) = net(frame)

    x, y = (found.box[0] + found.box[2]) / 2 * 640, (found.box[1] + found.box[3]) / 2 * 480
    assert abs(x - (330 + size / 2)) < 0.15 * size
    assert abs(y - (150 + size / 2)) < 0.2 * size
    assert 0.5 * size < (found.box[2] - found.box[0]) * 640 < 1.2 * size
    (right_x, _), (left_x, _), _, (_, mouth_y) = found.keypoints[:4]
    assert right_x < left_x
    assert mouth_y > found.keypoints[0][1]


@pytest.mark.parametrize(("width", "height"), [(640, 360), (360, 640)])
def test_a_face_is_found_in_wide_and_in_tall_frames(net: FaceNet, width: int, height: int) -> None:
    with scene(COMPOSITES[0], 150, left=100, top=100, width=width, height=height) as frame:
        (found,) = net(frame)

    assert (found.box[0] + found.box[2]) / 2 * width == pytest.approx(175, abs=25)
    assert (found.box[1] + found.box[3]) / 2 * height == pytest.approx(175, abs=30)


def test_an_empty_picture_holds_no_face(net: FaceNet) -> None:
    with Frame(np.full((480, 640, 3), 128, np.uint8), 0.0) as frame:
        assert net(frame) == ()


def test_all_detectors_put_the_same_box_around_a_face() -> None:
    boxes = []
    for name, detector in DETECTORS.items():
        with scene(COMPOSITES[4], 200, left=200, top=140) as frame:
            (found,) = FaceNet(read_manifest().file(detector.name), detector=name)(frame)
        boxes.append(found.box)

    full, *others = boxes
    assert all(face.overlaps(full, other) > 0.85 for other in others)


@pytest.mark.parametrize("name", list(DETECTORS))
@pytest.mark.parametrize("tiles", [2, 4, 6])
@pytest.mark.parametrize(("size", "left", "top"), [(0, 250, 200), (200, 220, 140), (330, 150, 100), (0, 20, 300)])
def test_with_tiles_a_face_of_any_size_is_found_once_also_where_views_meet(
    name: str, tiles: int, size: int, left: int, top: int
) -> None:
    size = size or (150 if name == "short" else 60)
    net = FaceNet(read_manifest().file(DETECTORS[name].name), detector=name, tiles=tiles)

    with scene(COMPOSITES[4], size, left=left, top=top) as frame:
        (found,) = net(frame)

    x, y = (found.box[0] + found.box[2]) / 2 * 640, (found.box[1] + found.box[3]) / 2 * 480
    assert (x, y) == pytest.approx((left + size / 2, top + size / 2), abs=0.2 * size)


def test_tiles_find_a_face_that_is_too_small_in_the_whole_picture() -> None:
    counts = []
    for tiles in (1, 6):
        net = FaceNet(read_manifest().file(SHORT.name), detector="short", tiles=tiles)
        with scene(COMPOSITES[4], 50, left=300, top=220) as frame:
            counts.append(len(net(frame)))

    assert counts == [0, 1]
