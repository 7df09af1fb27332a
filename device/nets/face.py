"""BlazeFace: where the faces are.

Three graphs of one family: *full* range, *short* range and *back* camera. Each has anchors on one or two grids over a square
input; each anchor predicts an offset, a size and six keypoints, in input pixels, and a logit. Source: MediaPipe face
detection (Apache-2.0): ``SsdAnchorsCalculator`` with strides 4 (full), 8, 16, 16, 16 (short) and 16, 32, 32, 32 (back), two
anchors per cell and stride, the first of which makes a grid of its own; all anchors have size 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from device.nets._letterbox import Letterbox, for_input, levels, prepare
from device.nets._tiles import View, views
from device.tflite import Model, ModelFile, Tensor, TensorSpec, Wanted
from device.types import Face, Frame, Pixels

NAME: Final = "face"  # in the manifest: full range, with which the training images are aligned
MIN_SCORE: Final = 0.5
SAME_FACE_IOU: Final = 0.3  # boxes that overlap more are one face (MediaPipe's non-maximum suppression)
SAME_FACE_INSIDE: Final = 0.7  # so is, with tiles, a box that lies so much in another
EDGE: Final = 0.02  # of a tile's side: a box that comes so near to a cut may be half a face, and is whole in another view
MAX_FACES: Final = 64
MAX_HITS: Final = 512  # anchors that are looked at, the surest first

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detector:
    """One graph.

    Attributes:
        name: Of its model in the manifest.
        side: Input width and height, pixels.
        grids: Cells per row and anchors per cell, in the order of the output.
        larger, up: The box that it predicts, made so much larger and moved up by so much of its height, is that of *full*, so
            that crops are the same whichever graph finds the face (medians over FER+ training images, models/face.md).
    """

    name: str
    side: int
    grids: tuple[tuple[int, int], ...]
    larger: float = 1.0
    up: float = 0.0

    @cached_property
    def centres(self) -> Floats:
        """Of the anchors, as fractions of the input: ``float64[anchors, 2]``."""
        return np.concatenate([np.repeat(_cells(grid), per_cell, axis=0) for grid, per_cell in self.grids])

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec((1, self.side, self.side, 3), ("float32", "int8")),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        anchors = sum(grid * grid * per_cell for grid, per_cell in self.grids)
        return (TensorSpec((1, anchors, 16), ("float32",)), TensorSpec((1, anchors, 1), ("float32",)))


def _cells(grid: int) -> Floats:
    return (np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), axis=-1).reshape(-1, 2) + 0.5) / grid


FULL: Final = Detector("face", 192, ((48, 1),))
SHORT: Final = Detector("face-short", 128, ((16, 2), (8, 6)), larger=1.022, up=0.065)
BACK: Final = Detector("face-back", 256, ((16, 2), (8, 6)), larger=1.017, up=0.062)
DETECTORS: Final = {"full": FULL, "short": SHORT, "back": BACK}


def hits(detector: Detector, boxes: Tensor, logits: Tensor, letterbox: Letterbox, min_score: float) -> tuple[Floats, Floats]:
    """The anchors that see a face, in fractions of the picture that was put in.

    Args:
        detector: Whose output it is.
        boxes: ``float32[1, anchors, 16]``: x, y, width, height and six keypoints per anchor, in input pixels.
        logits: ``float32[1, anchors, 1]``.
        letterbox: What ``prepare`` returned.
        min_score: Anchors below this confidence are left out.

    Returns:
        ``float64[N, 16]``: left, top, right, bottom and six keypoints; and ``float64[N]``, their scores.
    """
    flat = logits[0, :, 0]
    found = np.flatnonzero(flat > np.log(min_score / (1 - min_score)))
    scores = 1 / (1 + np.exp(-flat[found].astype(np.float64)))
    raw = boxes[0, found].astype(np.float64).reshape(-1, 8, 2) / detector.side
    offset = np.array([letterbox.left, letterbox.top]) / detector.side
    extent = np.array([letterbox.width, letterbox.height]) / detector.side
    points = (raw + detector.centres[found][:, None] - offset) / extent
    size = raw[:, 1] / extent
    middle = points[:, 0] - size * (0, detector.up)
    corners = np.concatenate([middle - size * detector.larger / 2, middle + size * detector.larger / 2], axis=1)
    return np.concatenate([corners, points[:, 2:].reshape(-1, 12)], axis=1), scores


def merge(rows: Floats, scores: Floats, inside: float = 1.0) -> tuple[Face, ...]:
    """Weighted non-maximum suppression: hits on one face become their mean, weighted by score; the surest comes first.

    Args:
        rows, scores: As ``hits`` returns them.
        inside: A box of which a larger share lies in another is the same face.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_HITS]
    rows, scores = rows[order], scores[order]
    shared, area = _shared(rows[:, :4])
    union = np.maximum(area[:, None] + area[None, :] - shared, 1e-12)
    smaller = np.maximum(np.minimum(area[:, None], area[None, :]), 1e-12)
    same = ((shared / union > SAME_FACE_IOU) | (shared / smaller > inside)).tolist()
    left = list(range(len(rows)))
    groups: list[list[int]] = []
    while left and len(groups) < MAX_FACES:
        best = left[0]
        groups.append([best, *(other for other in left[1:] if same[best][other])])
        left = [other for other in left[1:] if not same[best][other]]
    weights = np.zeros((len(groups), len(rows)))
    for number, group in enumerate(groups):
        weights[number, group] = scores[group]
    means = weights @ rows / weights.sum(axis=1, keepdims=True)
    return tuple(_face(mean, float(scores[group[0]])) for mean, group in zip(means, groups, strict=True))


def _face(row: Floats, score: float) -> Face:
    x0, y0, x1, y1, *rest = row.tolist()
    right_eye, left_eye, nose, mouth, right_ear, left_ear = zip(rest[0::2], rest[1::2], strict=True)
    return Face((x0, y0, x1, y1), (right_eye, left_eye, nose, mouth, right_ear, left_ear), score)


def _shared(boxes: Floats) -> tuple[Floats, Floats]:
    """The area that each box shares with each, ``float64[N, N]``, and their own, ``float64[N]``."""
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.maximum(sides[..., 0], 0) * np.maximum(sides[..., 1], 0), area


def overlaps(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    shared, area = _shared(np.array([one, other]))
    return float(shared[0, 1] / max(area.sum() - shared[0, 1], 1e-12))


class FaceNet:
    """A face detector, loaded.

    Args:
        file: Its model.
        detector: Which graph that is: ``full``, ``short`` or ``back``.
        tiles: Into how many overlapping parts a frame is cut, besides being looked at as a whole: 1 for none, 2, 4 or 6.
        runtime: Which runtime to use.
        min_score: Faces below this confidence are left out.

    Raises:
        ModelError: The file is missing, damaged, or another graph.
        RuntimeMissingError: No runtime can be used.
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        detector: str = "full",
        tiles: int = 1,
        runtime: Wanted = "auto",
        min_score: float = MIN_SCORE,
    ) -> None:
        self.detector = DETECTORS[detector]
        self.model = Model(file, inputs=self.detector.inputs, outputs=self.detector.outputs, runtime=runtime)
        whole_numbers = self.model.input_dtype == np.int8
        self._table = levels(self.model.scale, self.model.zero_point) if whole_numbers else None
        self.tiles = tiles
        self._min_score = min_score

    def __call__(self, frame: Frame) -> tuple[Face, ...]:
        """Find the faces in a frame, the surest first."""
        return self.merge(*self.hits(frame, self._min_score), self._min_score)

    @property
    def passes(self) -> int:
        """How often the network runs for one frame."""
        return 1 if self.tiles == 1 else 1 + self.tiles

    def hits(self, frame: Frame, min_score: float) -> tuple[Floats, Floats]:
        """What the anchors see in all views of a frame: see ``hits`` above; in fractions of the frame."""
        found = [self._look(frame, view, min_score) for view in views(*frame.size, self.tiles)]
        rows, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return rows, scores

    def merge(self, rows: Floats, scores: Floats, min_score: float) -> tuple[Face, ...]:
        """The faces among hits of at least some confidence."""
        kept = scores > min_score
        return merge(rows[kept], scores[kept], 1.0 if self.tiles == 1 else SAME_FACE_INSIDE)

    def prepare(self, pixels: Pixels, out: Tensor) -> Letterbox:
        """Put a picture into the model's input; see ``_letterbox.prepare``."""
        return prepare(pixels, out, self._table, self.model.zero_point)

    def _look(self, frame: Frame, view: View, min_score: float) -> tuple[Floats, Floats]:
        """The hits in a part of a frame, as fractions of the frame; those that a cut may have halved are left out."""
        (width, height), (left, top, right, bottom) = frame.size, view
        cut = np.array([left > 0, top > 0, right < width, bottom < height])
        part = frame.pixels[top:bottom, left:right] if cut.any() else for_input(frame, self.detector.side)
        boxes: list[Letterbox] = []
        rows, scores = self.model.run(
            lambda out: boxes.append(self.prepare(part, out)),
            lambda raw, logits: hits(self.detector, raw, logits, boxes[0], min_score),
        )
        near = np.concatenate([rows[:, :2] < EDGE, rows[:, 2:4] > 1 - EDGE], axis=1)
        whole = ~(near & cut).any(axis=1)
        size, start = np.array([right - left, bottom - top]), np.array([left, top])
        placed = (rows.reshape(-1, 8, 2) * size + start) / (width, height)
        return placed.reshape(-1, 16)[whole], scores[whole]
