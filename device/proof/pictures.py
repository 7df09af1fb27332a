"""The canary as files that cameras can read, alone and behind faces that the detector finds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from device.cameras.composite import Painter
from device.proof import canary
from device.scene import Figure
from device.types import Pixels

PEOPLE = tuple(
    Figure(n, x, 0.38, 130.0, (("happiness", 1.0),), (1.0, 0.95, 0.9), (60, 40, 30), (40, 60, 90), mirrored=False)
    for n, x in enumerate((0.2, 0.5, 0.8))
)


def write(folder: Path) -> None:
    """The canary as files of three formats in ``pictures/``, and as a driver's buffer in ``picture.nv12``."""
    rgb = canary.picture()
    (folder / "pictures").mkdir()
    for name in ("1.png", "2.jpg", "3.bmp"):
        _write(folder / "pictures" / name, rgb)
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)  # NV12 has the same luma, and the same chroma in another order
    chroma = planes[canary.HEIGHT :].reshape(2, -1).T
    (folder / "picture.nv12").write_bytes(planes[: canary.HEIGHT].tobytes() + np.ascontiguousarray(chroma).tobytes())


def write_people(folder: Path, count: int) -> None:
    """So many pictures of three people in front of the canary: their faces are found, cut out and read."""
    folder.mkdir()
    painter = Painter(canary.WIDTH, canary.HEIGHT, 0)
    painter.backgrounds[:] = [canary.picture()]
    for number in range(count):
        _write(folder / f"{number}.png", painter.paint(PEOPLE))


def _write(file: Path, rgb: Pixels) -> None:
    good, content = cv2.imencode(file.suffix, np.ascontiguousarray(rgb[..., ::-1]))
    assert good
    file.write_bytes(content.tobytes())
