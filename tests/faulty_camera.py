"""``mien watch`` with a camera that is a file: the real adapter of OpenCV, on a recording or a pipe where a device would be.

    python -m tests.faulty_camera FOLDER watch --settings FILE --camera v4l2:NAME

Opening the camera opens ``FOLDER/NAME``, once it is there. What the file holds is what the camera shows, as fast as it comes: a
pipe that nobody writes to is a camera that hangs, the end of a file one that is unplugged.
``times.json`` there, ``{"GIVE_UP": 5}``, shortens what ``device/reopen.py``, ``device/cameras/_guard.py`` and ``device/health.py``
wait for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2

from device import health, reopen
from device.cameras import CameraOptions, _guard, v4l2
from device.cli import main
from device.errors import CameraError


def _check(path: str) -> None:
    if not Path(path).exists():
        raise CameraError(f"{path}: no such camera; connect one and look again")


def _open(path: str, _: CameraOptions) -> cv2.VideoCapture:
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG)


if __name__ == "__main__":
    folder = Path(sys.argv.pop(1))
    times = folder / "times.json"
    for name, seconds in json.loads(times.read_text()).items() if times.exists() else ():
        setattr(next(module for module in (reopen, _guard, health) if hasattr(module, name)), name, seconds)
    v4l2._check_device = lambda path: _check(f"{folder}/{path}")
    v4l2._open_device = lambda path, options: _open(f"{folder}/{path}", options)
    main()
