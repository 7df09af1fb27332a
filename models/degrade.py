"""Worse pictures, on purpose: how much do the models lose in a dark shop, out of focus, at night?

Each kind has one fixed strength, and the same picture always gets the same noise. Values are levels, 0 to 255.

- **dark**: ``255 · 0.35 · (level / 255) ^ 1.5``, rounded to whole levels: middle grey 128 becomes 32, white 89.
- **blur**: Gaussian, σ 1.2 pixels in a 48-pixel crop; in larger pictures 0.4 % of the width where that is more (2.6 px at 640).
- **noise**: Gaussian, σ 12 levels, each pixel and channel on its own.
- **small**: a crop is reduced to 32 × 32, any larger picture to half its sides (by area), and enlarged again (bilinear).
- **rotate**: by 20° about the centre, clockwise or counter-clockwise at random; beyond the edge its nearest pixels are repeated.
- **infrared**: a camera with infrared lamps at night. Grey of 80 % red and 20 % green (skin and cloth are bright, lips fade);
  tone curve ``255 · (0.15 + 0.8 · (level / 255) ^ 0.6)``; lamp falling off to 60 % in the corners; Gaussian noise, σ 8 levels.
"""

from __future__ import annotations

from math import cos, radians, sin
from typing import Final, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from device.types import Pixels

Kind = Literal["dark", "blur", "noise", "small", "rotate", "infrared"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

DARK_GAIN, DARK_GAMMA = 0.35, 1.5
BLUR, BLUR_OF_WIDTH = 1.2, 0.004  # σ in pixels, and as a share of the width
NOISE: Final = 12.0  # σ in levels
CROP, SMALL, SMALLER = 64, 32, 0.5  # up to 64 pixels wide a picture is a crop
LONGEST_TURNED: Final = 32_766  # pixels a side: all that OpenCV can turn
TURN: Final = 20.0  # degrees
RED, GREEN = 0.8, 0.2
INFRARED_FLOOR, INFRARED_GAIN, INFRARED_GAMMA, INFRARED_CORNER, INFRARED_NOISE = 0.15, 0.8, 0.6, 0.6, 8.0


def degrade(picture: Pixels, kind: Kind, number: int = 0) -> Pixels:
    """A worse copy of a picture.

    Args:
        picture: ``uint8[height, width, 3]`` RGB or ``uint8[height, width]`` grey; for ``rotate`` at most 32,766 pixels a side.
        kind: What happens to it.
        number: Of the picture in its set: chooses noise and direction.

    Returns:
        A new array of the same shape.
    """
    rng = np.random.default_rng((KINDS.index(kind), number))
    height, width = picture.shape[:2]
    if kind == "dark":
        return _curve(picture, DARK_GAIN * (np.arange(256) / 255) ** DARK_GAMMA)
    if kind == "blur":
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(BLUR, BLUR_OF_WIDTH * width)), np.uint8)
    if kind == "noise":
        return _noisy(picture.astype(np.float32), NOISE, rng)
    if kind == "small":
        sides = (SMALL, SMALL) if max(height, width) <= CROP else (max(1, round(width * SMALLER)), max(1, round(height * SMALLER)))
        less = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if kind == "rotate":
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -_degrees(number), 1)
        return np.asarray(cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    return _infrared(picture, rng)


def turned(boxes: npt.NDArray[np.float64], width: int, height: int, number: int) -> npt.NDArray[np.float64]:
    """Where head boxes are in the picture that ``rotate`` makes of a picture with this number.

    Args:
        boxes: ``[N, 4]``: left, top, right, bottom in pixels, each around an upright ellipse.
        width, height: Of the picture, in pixels.
        number: The one that the picture was rotated with.

    Returns:
        ``[N, 4]``: the upright rectangles around the turned ellipses.
    """
    angle = radians(_degrees(number))
    c, s = cos(angle), sin(angle)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 - (width / 2, height / 2)
    a, b = (boxes[:, 2:] - boxes[:, :2]).T / 2
    middles = middles @ np.array([[c, s], [-s, c]]) + (width / 2, height / 2)
    halves = np.stack([np.hypot(a * c, b * s), np.hypot(a * s, b * c)], axis=1)
    return np.hstack([middles - halves, middles + halves])


def _degrees(number: int) -> float:
    """Clockwise, as seen."""
    return TURN if np.random.default_rng((KINDS.index("rotate"), number)).random() < 0.5 else -TURN


def _curve(picture: Pixels, curve: npt.NDArray[np.float64]) -> Pixels:
    """Map each level; ``curve`` is ``float64[256]`` in 0..1."""
    return np.asarray(cv2.LUT(picture, np.rint(np.clip(curve, 0, 1) * 255).astype(np.uint8)), np.uint8)


def _noisy(picture: npt.NDArray[np.float32], deviation: float, rng: np.random.Generator) -> Pixels:
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(deviation)
    return np.asarray(np.clip(np.rint(picture + noise), 0, 255), np.uint8)


def _infrared(picture: Pixels, rng: np.random.Generator) -> Pixels:
    grey = picture if picture.ndim == 2 else np.rint(picture[:, :, 0] * RED + picture[:, :, 1] * GREEN).astype(np.uint8)
    lit = _curve(grey, INFRARED_FLOOR + INFRARED_GAIN * (np.arange(256) / 255) ** INFRARED_GAMMA)
    height, width = grey.shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    lamp = 1 - np.float32(1 - INFRARED_CORNER) * (y[:, None] ** 2 + x[None] ** 2) / 2
    noisy = _noisy(lit * lamp, INFRARED_NOISE, rng)
    return noisy if picture.ndim == 2 else np.ascontiguousarray(np.repeat(noisy[:, :, None], 3, axis=2))
