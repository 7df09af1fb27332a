"""``mien watch`` with a camera that is a file: the real adapter of OpenCV, on a recording or a pipe where a device would be.

    python -m tests.faulty_camera FOLDER watch --settings FILE --camera v4l2:NAME

Opening the camera opens ``FOLDER/NAME``, once it is there. What the file holds is what the camera shows, as fast as it comes: a
pipe that nobody writes to is a camera that hangs, the end of a file one that is unplugged.
A camera of the name ``switch`` has no recording: it shows noise for as long as that file is there, and writes into ``shown.txt``
when (monotonic, seconds) it was asked for each picture.

``times.json`` there, ``{"GIVE_UP": 5}``, shortens what ``device/reopen.py``, ``device/cameras/_guard.py`` and ``device/health.py``
wait for.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from device import health, reopen
from device.cameras import CameraOptions, _guard, v4l2
from device.cli import main
from device.errors import CameraError


def _check(path: str) -> None:
    if not Path(path).exists():
        raise CameraError(f"{path}: no such camera; connect one and look again")


class Switched:
    """A camera that is unplugged and plugged in again as the file comes and goes; as much of OpenCV's as the adapter asks for."""

    def __init__(self, path: Path) -> None:
        self._path, self._noise = path, np.random.default_rng(0)
        self._shown = path.with_name("shown.txt").open("a", buffering=1)

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self._path.exists()

    def grab(self) -> bool:
        time.sleep(1 / 30)  # the pace of a camera
        return self._path.exists()

    def retrieve(self) -> tuple[bool, Any]:
        print(time.monotonic(), file=self._shown)
        return True, self._noise.integers(95, 105, (64, 64, 3), np.uint8)

    def get(self, _: int) -> float:
        return 0.0

    def release(self) -> None:
        self._shown.close()


def _open(path: str, _: CameraOptions) -> cv2.VideoCapture:
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG)


if __name__ == "__main__":
    folder = Path(sys.argv.pop(1))
    times = folder / "times.json"
    for name, seconds in json.loads(times.read_text()).items() if times.exists() else ():
        setattr(next(module for module in (reopen, _guard, health) if hasattr(module, name)), name, seconds)
    v4l2._check_device = lambda path: _check(f"{folder}/{path}")
    v4l2._open_device = lambda path, options: (
        cast("cv2.VideoCapture", Switched(folder / path)) if path == "switch" else _open(f"{folder}/{path}", options)
    )
    main()
