"""BlazeFace, full range: where the faces are.

One anchor per cell of a 48 x 48 grid over a square input; each predicts an offset, a size and six keypoints, in input
pixels, and a logit. Source: MediaPipe face detection (Apache-2.0), model card "BlazeFace full range".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from device.tflite import Model, ModelFile, Tensor, TensorSpec, Wanted
from device.types import Face, Frame, Pixels, wiped

NAME: Final = "face"
SIDE: Final = 192  # input width and height, pixels
GRID: Final = 48  # anchors per row
INPUTS: Final = (TensorSpec((1, SIDE, SIDE, 3), ("float32",)),)
OUTPUTS: Final = (TensorSpec((1, GRID * GRID, 16), ("float32",)), TensorSpec((1, GRID * GRID, 1), ("float32",)))
MIN_SCORE: Final = 0.5
SAME_FACE_IOU: Final = 0.3  # boxes that overlap more are one face (MediaPipe's non-maximum suppression)
MAX_FACES: Final = 64
MAX_HITS: Final = 512  # anchors that are looked at, the surest first

_CENTRES: Final = (np.stack(np.meshgrid(np.arange(GRID), np.arange(GRID)), axis=-1).reshape(-1, 2) + 0.5) / GRID


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame of ``width`` x ``height`` pixels lies in the square input: its scaled size and its offset, pixels."""

    width: int
    height: int
    left: int
    top: int

    @classmethod
    def of(cls, width: int, height: int) -> Letterbox:
        scale = SIDE / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        return cls(*inner, (SIDE - inner[0]) // 2, (SIDE - inner[1]) // 2)


def prepare(pixels: Pixels, out: Tensor) -> Letterbox:
    """Scale a picture into the model's input, aspect kept, borders grey (0).

    Args:
        pixels: ``uint8[height, width, 3]``, RGB.
        out: ``float32[1, 192, 192, 3]``, written in place, -1 to 1.

    Returns:
        Where the picture lies in the input.
    """
    height, width = pixels.shape[:2]
    box = Letterbox.of(width, height)
    out.fill(0.0)
    inner = out[0, box.top : box.top + box.height, box.left : box.left + box.width]
    with wiped(_scaled(pixels, box.width, box.height)) as small:
        np.multiply(small, np.float32(1 / 127.5), out=inner, dtype=np.float32)
    inner -= np.float32(1.0)
    return box


def _scaled(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture; the caller wipes it.

    It is halved while it is twice as fine as wanted, which skips no pixel and takes a seventh of the time of averaging over
    fractions of pixels.
    """
    if pixels.shape[1] < 2 * width or pixels.shape[0] < 2 * height:
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    half = pixels.shape[1] // 2, pixels.shape[0] // 2
    with wiped(cv2.resize(pixels[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)) as finer:
        return _scaled(np.asarray(finer, np.uint8), width, height)


def decode(boxes: Tensor, logits: Tensor, letterbox: Letterbox, min_score: float = MIN_SCORE) -> tuple[Face, ...]:
    """Turn the model's output into faces, the surest first.

    Args:
        boxes: ``float32[1, 2304, 16]``: x, y, width, height and six keypoints per anchor, in input pixels.
        logits: ``float32[1, 2304, 1]``.
        letterbox: What ``prepare`` returned.
        min_score: Faces below this confidence are left out.
    """
    flat = logits[0, :, 0]
    threshold = np.log(min_score / (1 - min_score))
    hits = np.flatnonzero(flat > threshold)
    if not hits.size:
        return ()
    scores = 1 / (1 + np.exp(-flat[hits].astype(np.float64)))
    raw = boxes[0, hits].astype(np.float64).reshape(-1, 8, 2)
    points = raw / SIDE
    points[:, [0, 2, 3, 4, 5, 6, 7]] += _CENTRES[hits][:, None]
    offset = np.array([letterbox.left, letterbox.top]) / SIDE
    extent = np.array([letterbox.width, letterbox.height]) / SIDE
    points = (points - offset) / extent
    size = raw[:, 1] / SIDE / extent
    corners = np.concatenate([points[:, 0] - size / 2, points[:, 0] + size / 2], axis=1)
    rows = np.concatenate([corners, points[:, 2:].reshape(-1, 12)], axis=1)
    return tuple(_face(row, score) for row, score in _merge(rows, scores))


def _face(row: npt.NDArray[np.float64], score: float) -> Face:
    x0, y0, x1, y1, *rest = row.tolist()
    right_eye, left_eye, nose, mouth, right_ear, left_ear = zip(rest[0::2], rest[1::2], strict=True)
    return Face((x0, y0, x1, y1), (right_eye, left_eye, nose, mouth, right_ear, left_ear), score)


def _merge(rows: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> list[tuple[npt.NDArray[np.float64], float]]:
    """Weighted non-maximum suppression: overlapping hits become their mean, weighted by score."""
    order = np.argsort(-scores, kind="stable")[:MAX_HITS]
    rows, scores = rows[order], scores[order]
    same = (_overlaps(rows[:, :4]) > SAME_FACE_IOU).tolist()
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
    return [(mean, float(scores[group[0]])) for mean, group in zip(means, groups, strict=True)]


def _overlaps(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of each box with each: ``float64[N, N]``."""
    inner = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared = np.maximum(inner[..., 0], 0) * np.maximum(inner[..., 1], 0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(shared / np.maximum(area[:, None] + area[None, :] - shared, 1e-12))


class FaceNet:
    """The face detector, loaded."""

    def __init__(self, file: ModelFile, *, runtime: Wanted = "auto", min_score: float = MIN_SCORE) -> None:
        self.model = Model(file, inputs=INPUTS, outputs=OUTPUTS, runtime=runtime)
        self._min_score = min_score

    def __call__(self, frame: Frame) -> tuple[Face, ...]:
        """Find the faces in a frame, the surest first."""
        boxes: list[Letterbox] = []
        raw, logits = self.model.run(lambda out: boxes.append(prepare(frame.pixels, out)))
        return decode(raw, logits, boxes[0], self._min_score)
