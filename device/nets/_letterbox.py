"""A picture of any size in a square input."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from device.tflite import Tensor
from device.types import Frame, Pixels, wiped


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in a square input of ``side`` pixels: its scaled size and its offset, pixels."""

    side: int
    width: int
    height: int
    left: int
    top: int

    @classmethod
    def of(cls, width: int, height: int, side: int) -> Letterbox:
        scale = side / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        return cls(side, *inner, (side - inner[0]) // 2, (side - inner[1]) // 2)


def levels(scale: float, zero_point: int) -> npt.NDArray[np.int8]:
    """What the levels 0 to 255, as -1 to 1, are in an int8 input: ``int8[256]``.

    At the usual scale of 1/127.5 all lie half-way between two steps; all go up, so that no two become one.
    """
    values = np.floor((np.arange(256) / 127.5 - 1) / scale + 0.501) + zero_point
    return np.asarray(np.clip(values, -128, 127), np.int8)


def prepare(pixels: Pixels, out: Tensor, table: npt.NDArray[np.int8] | None = None, grey: int = 0) -> Letterbox:
    """Scale a picture into a model's input, aspect kept, borders grey.

    Args:
        pixels: ``uint8[height, width, 3]``, RGB.
        out: ``float32[1, side, side, 3]``, or int8 of the same shape if there is a table; written in place.
        table: What each level becomes, see ``levels``; without one, -1 to 1.
        grey: What the borders become: the input's zero.

    Returns:
        Where the picture lies in the input.
    """
    height, width = pixels.shape[:2]
    box = Letterbox.of(width, height, out.shape[1])
    out.fill(grey)
    inner = out[0, box.top : box.top + box.height, box.left : box.left + box.width]
    with wiped(_scaled(pixels, box.width, box.height)) as small:
        if table is None:
            np.multiply(small, np.float32(1 / 127.5), out=inner, dtype=np.float32)
            inner -= np.float32(1.0)
        else:
            cv2.LUT(small, table, dst=inner)
    return box


def for_input(frame: Frame, side: int) -> Pixels:
    """A whole frame to be prepared for an input of so many pixels: its half, if that is fine enough, which others use as well."""
    box = Letterbox.of(*frame.size, side)
    return half(frame) if _twice_as_fine(frame.pixels, box.width, box.height) else frame.pixels


def half(frame: Frame) -> Pixels:
    """A frame at half its width and height, every 2 x 2 pixels averaged: made once, and zeroed with the frame."""
    return frame.derived(_halved)


def _scaled(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture; the caller wipes it.

    It is halved while it is twice as fine as wanted, which skips no pixel and takes a seventh of the time of averaging over
    fractions of pixels.
    """
    if not _twice_as_fine(pixels, width, height):
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    with wiped(_halved(pixels)) as finer:
        return _scaled(np.asarray(finer, np.uint8), width, height)


def _twice_as_fine(pixels: Pixels, width: int, height: int) -> bool:
    return bool(pixels.shape[1] >= 2 * width and pixels.shape[0] >= 2 * height)


def _halved(pixels: Pixels) -> Pixels:
    width, height = pixels.shape[1] // 2, pixels.shape[0] // 2
    return np.asarray(cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA), np.uint8)
