"""A QR code as a camera sees it: turned, seen from the side, out of focus, noisy, in light that is not white."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt


def seen(
    code: npt.NDArray[np.uint8], *, side: int = 420, turned: float = 6, aslant: float = 0.04, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """A picture, ``uint8[480, 640, 3]``, with a code in its middle.

    Args:
        code: Grey, with its white border.
        side: Of the code in the picture, pixels.
        turned: Degrees.
        aslant: By how much one side is shorter, as a part of the other.
        seed: Of the noise.
    """
    size, angle = float(code.shape[0]), np.deg2rad(turned)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
    corners = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners[1:3] *= 1 - aslant
    where = cv2.getPerspectiveTransform(
        np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32), (corners + np.array([320, 240])).astype(np.float32)
    )
    picture = cv2.warpPerspective(code, where, (640, 480), flags=cv2.INTER_AREA, borderValue=(110,))
    picture = cv2.GaussianBlur(picture, (0, 0), 0.5)
    noisy = picture * 0.8 + 20 + np.random.default_rng(seed).normal(0, 4, picture.shape)
    return np.stack([np.clip(noisy * light, 0, 255) for light in (0.95, 1.0, 0.9)], axis=-1).astype(np.uint8)


def recording(code: Path, folder: Path) -> Path:
    """A folder of pictures, as of a hand that brings a code before the camera: nothing, too far, and then near."""
    grey = cv2.imread(str(code), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    drawn = np.asarray(grey, np.uint8)
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.full((480, 640, 3), 110, np.uint8))
    for number, (side, turned, aslant) in enumerate(
        ((150, 30, 0.2), (380, 10, 0.05), (420, 6, 0.04), (440, 3, 0.02), (430, 0, 0.0)), 1
    ):
        cv2.imwrite(str(folder / f"{number}.png"), seen(drawn, side=side, turned=turned, aslant=aslant, seed=number)[..., ::-1])
    return folder
