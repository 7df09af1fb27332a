"""Training pictures: another light, another lens, another framing, then cut exactly as the device cuts."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from device.nets import emotion

WORSE = 0.5  # share of the pictures that are made worse; the others are only moved


def worse(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Another distance, lens, light and sensor."""
    if rng.random() < 0.5:  # far away: fewer pixels
        small = int(rng.integers(20, 44))
        distant = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(distant, (48, 48), interpolation=cv2.INTER_LINEAR), np.uint8)
    if rng.random() < 0.3:  # out of focus
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < 0.7:  # gamma, gain, offset
        level = np.arange(256) / 255.0
        curve = np.clip(level ** rng.uniform(0.5, 2.0) * rng.uniform(0.3, 1.2) + rng.uniform(-0.05, 0.1), 0, 1)
        image = np.asarray(cv2.LUT(image, (curve * 255).astype(np.uint8)), np.uint8)
    if rng.random() < 0.5:  # sensor noise
        image = np.clip(image + rng.normal(0, rng.uniform(2, 14), image.shape), 0, 255).astype(np.uint8)
    return image


def shake(image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One training crop, ``uint8[48, 48]``: another light, another lens, another framing, then cut as on the device."""
    if rng.random() < WORSE:
        image = worse(image, rng)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        matrix = mirrored(matrix)
    angle, zoom = math.radians(rng.normal(0, 8)), math.exp(rng.normal(0, 0.09))
    c, s, middle = math.cos(angle) * zoom, math.sin(angle) * zoom, (emotion.SIDE - 1) / 2
    dx, dy = rng.normal(0, 1.6, 2)
    turn = np.array([[c, -s, middle - c * middle + s * middle + dx], [s, c, middle - s * middle - c * middle + dy], [0, 0, 1]])
    crop = emotion.cut(np.ascontiguousarray(image), (turn @ np.vstack([matrix, [0, 0, 1]]))[:2])
    if rng.random() < 0.3:  # a hand, a mask, a shelf
        h, w = rng.integers(6, 22, 2)
        y, x = int(rng.integers(0, 48 - h)), int(rng.integers(0, 48 - w))
        crop[y : y + h, x : x + w] = rng.integers(0, 256)
    emotion.normalise(crop)
    return crop


def mirrored(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The crop's matrix for the same picture seen in a mirror."""
    flip = np.array([[-1.0, 0, 47], [0, 1, 0], [0, 0, 1]])
    whole = np.vstack([matrix, [0, 0, 1]])
    return np.asarray((flip @ whole @ flip)[:2])


def plain(images: npt.NDArray[np.uint8], matrices: npt.NDArray[np.float64]) -> Tensor:
    """Crops as the device sees them: ``float32[N, 1, 48, 48]`` in -1..1."""
    crops = [emotion.cut(image, matrix) for image, matrix in zip(images, matrices, strict=True)]
    for crop in crops:
        emotion.normalise(crop)
    return as_input(np.stack(crops))


def as_input(crops: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(((crops.astype(np.float32) - 128) / 128)[:, None]).contiguous(memory_format=torch.channels_last)
