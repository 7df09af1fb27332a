"""Pictures with printed cards in them, drawn as a camera would see them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from device.nets.cards import MODULES, pattern
from device.types import Frame, Pixels

CELL = 20  # pixels of a cell before the card is put into the picture


def grey_picture(width: int = 640, height: int = 480, level: int = 110) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def show(picture: Pixels, marker: int, x: float, y: float, side: float, *, turn: float = 0.0, yaw: float = 0.0) -> Pixels:
    """Put a printed card into a picture, in place.

    Args:
        picture: ``uint8[height, width, 3]``.
        marker: Its id.
        x, y: Where its centre is, pixels.
        side: Of its black square, pixels, before it is turned.
        turn: In the plane of the picture, degrees.
        yaw: Away from the camera, around its vertical axis, degrees.
    """
    cells = np.pad(np.where(np.array(pattern(marker)), 25, 225), 1, constant_values=225).astype(np.uint8)
    card = np.kron(cells, np.ones((CELL, CELL), np.uint8))
    half = side * (MODULES + 2) / MODULES / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    corners[:, 1] *= 1 + corners[:, 0] / half * 0.15 * np.sin(np.radians(yaw))  # the far side is smaller
    corners[:, 0] *= np.cos(np.radians(yaw))
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    corners = corners @ np.array([(c, s), (-s, c)]) + (x, y)
    finer, size = 4, len(card)  # drawn finer, then averaged, as a lens does
    height, width = picture.shape[:2]
    place = cv2.getPerspectiveTransform(_points([(0, 0), (size, 0), (size, size), (0, size)]), _points((corners + 0.5) * finer))
    drawn = cv2.warpPerspective(card, place, (width * finer, height * finer), flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.full_like(card, 255), place, (width * finer, height * finer))
    seen = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    share = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)[..., None] / 255
    picture[:] = np.clip(picture * (1 - share) + seen[..., None] * (share > 0), 0, 255).astype(np.uint8)
    return picture


def blurred(picture: Pixels, noise: float = 3.0, seed: int = 0) -> Frame:
    """The picture as a frame, with a lens's blur and a sensor's noise."""
    soft = cv2.GaussianBlur(picture, (0, 0), 0.7).astype(np.float64)
    soft += np.random.default_rng(seed).normal(0, noise, soft.shape)
    return Frame(np.clip(soft, 0, 255).astype(np.uint8), 0.0)


def _points(corners: object) -> npt.NDArray[np.float32]:
    return np.asarray(corners, np.float32)
