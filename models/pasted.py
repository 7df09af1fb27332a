"""Scenes with faces at known places: FER+ training images pasted into drawn scenes, to calibrate and compare face detectors on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from device.cameras import CameraOptions
from device.cameras.composite import open_camera
from device.types import Face, Pixels
from models.data import Rows

SMALLEST, LARGEST = 24, 220  # sides of a pasted image, pixels; drawn evenly on a logarithmic scale
MOST: Final = 4  # pasted into one scene
TRIES: Final = 30
NOT_A_FACE: Final = 9  # column of the votes
OVAL: Final = (0.44, 0.49)  # half width and half height of what is pasted, as fractions of the side
SOFT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Pasted:
    """A scene, ``uint8[480, 640, 3]``, and its pasted images: middle x, middle y and side, pixels, ``float64[N, 3]``."""

    pixels: Pixels
    places: npt.NDArray[np.float64]


def scenes(rows: Rows, count: int, seed: int) -> Iterator[Pasted]:
    """Draw scenes, half of them bright, half of them dim, with one to four faces of any size.

    Args:
        rows: Whose images are pasted; those that somebody called no face are left out.
        count: How many scenes.
        seed: Which scenes; the same on every machine.
    """
    rng = np.random.default_rng(seed)
    faces = rows.images[rows.votes[:, NOT_A_FACE] == 0]
    options = CameraOptions(fps=0.1, fast=True)
    with closing(open_camera(str(seed), options)) as camera:
        for _ in range(count):
            with camera.take() as frame:
                shown = frame.pixels.astype(np.float32)
            canvas = np.asarray(cv2.GaussianBlur(shown, (0, 0), 25) if rng.random() < 0.5 else shown[:, ::-1].copy(), np.float32)
            places: list[tuple[float, float, float]] = []
            for _ in range(int(rng.integers(1, MOST + 1))):
                if place := _free(places, canvas.shape[1], canvas.shape[0], rng):
                    places.append(place)
                    _paste(canvas, faces[int(rng.integers(len(faces)))], place, rng)
            dimmed = canvas * rng.uniform(0.35, 1.2) + rng.normal(0, rng.uniform(0.5, 8), canvas.shape)
            yield Pasted(np.clip(dimmed, 0, 255).astype(np.uint8), np.array(places, np.float64))


def _free(
    taken: list[tuple[float, float, float]], width: int, height: int, rng: np.random.Generator
) -> tuple[float, float, float] | None:
    """A place that touches no other, if one is found."""
    for _ in range(TRIES):
        side = round(float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))))
        x, y = (float(rng.integers(side // 2, length - side // 2)) for length in (width, height))
        if all(max(abs(x - a), abs(y - b)) > 0.6 * (side + other) for a, b, other in taken):
            return x, y, float(side)
    return None


def _paste(canvas: npt.NDArray[np.float32], image: Pixels, place: tuple[float, float, float], rng: np.random.Generator) -> None:
    x, y, side = (int(value) for value in place)
    scaled = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if side < image.shape[0] else cv2.INTER_CUBIC)
    tint = np.array([1.12, 1.0, 0.88]) ** rng.uniform(0, 1.5)
    line = (np.arange(side) + 0.5) / side - 0.5
    away = np.hypot(line[None] / OVAL[0], line[:, None] / OVAL[1])
    cover = np.clip((1 + SOFT / 2 - away) / SOFT, 0, 1)[..., None]
    part = canvas[y - side // 2 : y - side // 2 + side, x - side // 2 : x - side // 2 + side]
    part += cover * (scaled[..., None] * tint - part)


def matched(found: tuple[Face, ...], scene: Pasted) -> tuple[int, int]:
    """How many pasted faces were found, and how many detections are no pasted face (the drawn people among them)."""
    height, width = scene.pixels.shape[:2]
    free = list(range(len(scene.places)))
    for face in found:
        x0, y0, x1, y1 = np.array(face.box) * (width, height, width, height)
        for place in free:
            x, y, side = scene.places[place]
            if max(abs((x0 + x1) / 2 - x), abs((y0 + y1) / 2 - y)) < 0.3 * side and 0.4 < (x1 - x0) / side < 1.4:
                free.remove(place)
                break
    hits = len(scene.places) - len(free)
    return hits, len(found) - hits
