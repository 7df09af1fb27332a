"""The emotion network: what one face expresses.

A face is cut out the way the training images are framed (``crop_matrix``), turned upright, made grey, and its brightness
and contrast are normalised (``normalise``). Training calls these same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, cos, exp, hypot, sin
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from device.contract import EMOTIONS
from device.tflite import Model, ModelFile, Tensor, TensorSpec, Wanted
from device.types import Face, Frame, Pixels, Reading, unread, wiped

Table = npt.NDArray[np.integer[Any] | np.floating[Any]]  # what each of the 256 grey levels becomes

NAME: Final = "emotion"
SIDE: Final = 48  # width and height of the crop, pixels
INPUTS: Final = (TensorSpec((1, SIDE, SIDE, 1), ("int8", "uint8", "float32")),)
OUTPUTS: Final = (TensorSpec((1, len(EMOTIONS)), ("float32", "int8")),)

# How the FER+ images are framed, measured by `python -m models.framing`: medians over the training images in which the
# detector finds a face. In units of the box's width, along the face's own axes.
CROP_SIDE: Final = 1.15
CROP_UP: Final = 0.043  # the crop's centre lies this far above the box's centre

MEAN, DEVIATION, LEAST_DEVIATION = 128.0, 52.0, 6.0  # of the normalised crop, and the contrast below which noise would be raised
GREYS: Final = np.arange(256, dtype=np.float64)
FULL_QUALITY_PIXELS: Final = 48.0  # a box this wide fills the crop without being enlarged

# Below these the network is surer than it is right (models/RUNS.md): such a reading is worth nothing.
LEAST_PIXELS: Final = 12.0  # width of the box
LEAST_CONTRAST: Final = 2.5  # deviation of the crop, levels


def crop_matrix(face: Face, width: int, height: int, side: int = SIDE) -> npt.NDArray[np.float64]:
    """The affine map from a picture's pixels to the pixels of an upright crop.

    Scale and centre come from the box, which hardly changes when a head turns; the angle comes from the eyes.

    Args:
        face: Fractions of the picture.
        width, height: Of the picture, in pixels.
        side: Width and height of the crop, in pixels.

    Returns:
        ``float64[2, 3]`` for ``cv2.warpAffine``.
    """
    x0, y0, x1, y1 = face.box
    (rx, ry), (lx, ly) = face.keypoints[0], face.keypoints[1]
    angle = atan2((ly - ry) * height, (lx - rx) * width)
    box = ((x1 - x0) * width + (y1 - y0) * height) / 2
    scale = side / max(CROP_SIDE * box, 1e-6)
    c, s = cos(angle) * scale, sin(angle) * scale
    cx = (x0 + x1) / 2 * width + sin(angle) * CROP_UP * box - 0.5  # index of a pixel's centre, not of its edge
    cy = (y0 + y1) / 2 * height - cos(angle) * CROP_UP * box - 0.5
    middle = (side - 1) / 2
    return np.array([[c, s, middle - c * cx - s * cy], [-s, c, middle + s * cx - c * cy]])


def normalise(crop: Pixels) -> float:
    """Bring a grey crop to one mean and contrast, in place, so that a dark shop looks like a bright one.

    Args:
        crop: ``uint8[side, side]``.

    Returns:
        The contrast that it had: the standard deviation, in levels.
    """
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(crop))
    gain = DEVIATION / max(deviation, LEAST_DEVIATION)
    curve = GREYS - mean
    curve *= gain
    curve += MEAN
    cv2.LUT(crop, curve.clip(0, 255, out=curve).astype(np.uint8), dst=crop)
    return deviation


def quality(width: float, contrast: float, score: float) -> float:
    """How much a reading is worth, 0 to 1; 0 where the network cannot know what it sees.

    Blur, brightness and the turn of the head are not in it: the probabilities fall with them as they should (models/RUNS.md).

    Args:
        width: Of the face's box, pixels.
        contrast: Of the crop before it was normalised, levels.
        score: The detector's, 0 to 1.
    """
    if width < LEAST_PIXELS or contrast < LEAST_CONTRAST:
        return 0.0
    return min(1.0, width / FULL_QUALITY_PIXELS) * score


def cut(pixels: Pixels, matrix: npt.NDArray[np.float64], side: int = SIDE) -> Pixels:
    """Cut a grey crop out of a picture; the caller wipes it.

    A picture that is much finer than the crop is averaged down, so that no pixel is skipped.

    Args:
        pixels: ``uint8[height, width, 3]`` RGB or ``uint8[height, width]`` grey.
        matrix: From ``crop_matrix``.

    Returns:
        ``uint8[side, side]``, not yet normalised.
    """
    left, top, right, bottom = _needed(matrix, side, pixels.shape[1], pixels.shape[0])
    shrink = max(1, int(1 / max(hypot(matrix[0, 0], matrix[0, 1]), 1e-3) + 0.25))
    fine = matrix * shrink
    fine[:, 2] += fine[:, :2] @ (left, top) + (shrink - 1) / 2  # from the needed part; to pixel centres
    with wiped(_grey(pixels[top:bottom, left:right])) as part:
        large = cv2.warpAffine(part, fine, (side * shrink, side * shrink), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if shrink == 1:
        return np.asarray(large, np.uint8)
    with wiped(large):
        return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _needed(matrix: npt.NDArray[np.float64], side: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture that a crop is made of, with a margin; at least one pixel."""
    (c, s, tx), (_, _, ty) = matrix.tolist()
    square = max(c * c + s * s, 1e-12)
    across = [
        ((c * (u - tx) - s * (v - ty)) / square, (s * (u - tx) + c * (v - ty)) / square) for u in (0, side) for v in (0, side)
    ]
    xs, ys = zip(*across, strict=True)
    left, top = min(max(int(min(xs)) - 3, 0), width - 1), min(max(int(min(ys)) - 3, 0), height - 1)
    return left, top, max(min(int(max(xs)) + 4, width), left + 1), max(min(int(max(ys)) + 4, height), top + 1)


def _grey(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels.copy(), np.uint8)


def levels(scale: float, zero_point: int, dtype: np.dtype[np.generic]) -> Table:
    """What each of the 256 grey levels is in the model's input.

    The network sees ``(grey - 128) / 128``; a quantized input holds that divided by ``scale``, plus ``zero_point``.
    """
    real = (np.arange(256) - 128) / 128
    if dtype == np.float32 or not scale:
        return real.astype(np.float32)
    info = np.iinfo(dtype)  # type: ignore[type-var]  # the spec allows int8 and uint8 only
    return np.asarray(np.clip(np.rint(real / scale) + zero_point, info.min, info.max), dtype)


def prepare(frame: Frame, face: Face, table: Table, out: Tensor) -> float:
    """Write one face into the model's input tensor; returns its contrast, in levels.

    Args:
        frame: The picture.
        face: Where the face is in it.
        table: From ``levels``.
        out: ``[1, 48, 48, 1]`` in the model's input type, written in place.
    """
    with wiped(cut(frame.pixels, crop_matrix(face, *frame.size))) as crop:
        contrast = normalise(crop)
        cv2.LUT(crop, table, dst=out[0, :, :, 0])
    return contrast


def decode(
    output: Tensor, scale: float, zero_point: int, temperature: float, offsets: Sequence[float] = (0.0,) * len(EMOTIONS)
) -> tuple[float, ...]:
    """Logits to probabilities.

    Args:
        output: ``[1, 8]``, float32 or quantized logits.
        temperature: Divides the logits, so that probabilities mean what they say (from the manifest).
        offsets: Added after that, one for each emotion: they take back how common it was in training (from the manifest).
    """
    gain = (scale or 1.0) / temperature  # plain floats: eight numbers are too few for array operations to pay
    logits = [(value - zero_point) * gain + offset for value, offset in zip(output[0].tolist(), offsets, strict=True)]
    highest = max(logits)
    exponents = [exp(logit - highest) for logit in logits]
    total = sum(exponents)
    return tuple(value / total for value in exponents)


class EmotionNet:
    """The emotion network, loaded; temperature and offsets are an operating point of the manifest."""

    def __init__(
        self,
        file: ModelFile,
        *,
        temperature: float = 1.0,
        offsets: Sequence[float] = (0.0,) * len(EMOTIONS),
        runtime: Wanted = "auto",
    ) -> None:
        self.model = Model(file, inputs=INPUTS, outputs=OUTPUTS, runtime=runtime)
        self._table = levels(self.model.scale, self.model.zero_point, self.model.input_dtype)
        self._temperature = temperature
        self._offsets = tuple(offsets)

    def __call__(self, frame: Frame, face: Face) -> Reading:
        """Read one face; the quality falls with the face's size in pixels, and is 0 where nothing can be told."""
        contrasts: list[float] = []
        emotion = self.model.run(
            lambda out: contrasts.append(prepare(frame, face, self._table, out)),
            lambda output: decode(output, *self.model.output_scales[0], self._temperature, self._offsets),
        )
        width = (face.box[2] - face.box[0]) * frame.size[0]
        return Reading(emotion, quality(width, contrasts[0], face.score))


class Unread:
    """Reads nothing, where the policy permits no emotions: no pixel is looked at."""

    def __call__(self, _: Frame, face: Face) -> Reading:
        return unread(face).reading
