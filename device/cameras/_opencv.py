"""What the cameras that use OpenCV share."""

from __future__ import annotations

import os
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from device.types import Frame, wiped_on_error


def quiet() -> None:
    """Keep OpenCV and its FFmpeg from writing to the terminal: what they have to say is said by our errors."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read by OpenCV at its first video
    cv2.setLogLevel(0)


def unfolded(picture: npt.NDArray[Any], capture: cv2.VideoCapture) -> npt.NDArray[Any]:
    """A picture with its rows, in the same memory.

    OpenCV 4.11 gives what a V4L2 driver delivers in BGR as one row of bytes, ``uint8[1, height * width * 3]``.
    """
    if picture.shape[:1] != (1,):
        return picture
    width, height = (int(capture.get(what)) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    return picture.reshape(height, width, 3) if picture.size == height * width * 3 else picture


def frame_from_bgr(picture: npt.NDArray[Any], taken_at: float) -> Frame:
    """Make a frame of a picture as OpenCV gives it, ``uint8[height, width, 3]`` BGR, in the same memory."""
    with wiped_on_error(picture):
        return Frame(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture), np.uint8), taken_at)
