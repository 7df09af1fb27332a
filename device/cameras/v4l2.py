"""Webcams and other V4L2 devices, and anything that a GStreamer pipeline can bring, through OpenCV.

``v4l2:/dev/video0``, or ``v4l2:`` and a pipeline that ends in ``appsink`` (whatever contains a ``!`` is one). On a Jetson::

    v4l2:nvarguscamerasrc ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1
         ! nvvidconv ! video/x-raw,width=640,height=480,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink

The last few pictures remain in the driver's own buffers, which OpenCV does not let us blank; the next ones overwrite them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Final

import cv2

from device.cameras import Camera, CameraOptions
from device.cameras._grabber import start
from device.cameras._opencv import quiet
from device.errors import CameraError

_BUFFERS: Final = 2  # one being filled, one being read


def open_camera(address: str, options: CameraOptions) -> Camera:
    """Open a device or a pipeline; a pipeline sets its size itself.

    Args:
        address: Device path (``/dev/video0`` when empty), or a GStreamer pipeline that ends in ``appsink``.
        options: ``width`` and ``height`` of a device, ``fps``, ``timeout``.

    Raises:
        CameraError: There is no such device, it may not be opened, it delivers nothing within the timeout, or the
            pipeline has no chance to run here.
    """
    quiet()
    if "!" in address:
        _check_pipeline(address, options.timeout)
        return start(lambda: cv2.VideoCapture(address, cv2.CAP_GSTREAMER), _short(address), options)
    path = address or "/dev/video0"
    _check_device(path)
    return start(lambda: _open_device(path, options), path, options)


def _open_device(path: str, options: CameraOptions) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if capture.isOpened():
        capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.height)
    return capture


def _check_device(path: str) -> None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except PermissionError as error:
        raise CameraError(
            f"{path}: permission denied; add this user to the group video: sudo usermod -aG video $USER, then log in again"
        ) from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise CameraError(f"{path}: another program uses it; close that first") from error
        raise CameraError(f"{path}: no such camera ({error.strerror}); {_cameras()}") from error
    try:
        if not stat.S_ISCHR(os.fstat(handle).st_mode):
            raise CameraError(f"{path}: not a camera; {_cameras()} (to show a recording write replay:FILE)")
    finally:
        os.close(handle)


def _cameras() -> str:
    """What there is instead, with the names that the drivers give."""
    there = []
    for device in sorted(Path("/dev").glob("video*"), key=lambda p: (len(p.name), p.name)):
        label = Path("/sys/class/video4linux", device.name, "name")
        there.append(f"{device} ({label.read_text().strip()})" if label.is_file() else str(device))
    return f"there are {', '.join(there)}" if there else "there is no /dev/video*: connect one and look again"


def _check_pipeline(pipeline: str, timeout: float) -> None:
    """Refuse what would hang or fail without a word: OpenCV waits for ever for a pipeline whose plugins are missing."""
    if re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is None:
        raise CameraError(
            "this OpenCV cannot run GStreamer pipelines (the one from PyPI never can); install Debian's: "
            "sudo apt install python3-opencv gstreamer1.0-plugins-good, with a venv made with --system-site-packages"
        )
    if re.search(r"\bappsink\b", pipeline) is None:
        raise CameraError(f"{_short(pipeline)}: does not end in appsink; append: ! videoconvert ! video/x-raw,format=BGR ! appsink")
    if shutil.which("gst-inspect-1.0") is None:
        return  # the time limit must do
    until = time.monotonic() + timeout
    for element in elements(pipeline):
        try:
            found = subprocess.run(
                ["gst-inspect-1.0", "--exists", element],
                check=False,
                capture_output=True,
                timeout=max(0.1, until - time.monotonic()),
            )
        except (OSError, subprocess.TimeoutExpired):
            return
        if found.returncode != 0:
            raise CameraError(
                f"GStreamer has no element {element!r}; correct its name, or install its plugin (apt-cache search gstreamer1.0)"
            )


def elements(pipeline: str) -> list[str]:
    """The names of the elements in a GStreamer pipeline, in order, each once; caps and references to pads are left out."""
    unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", pipeline)
    heads = (part.split(maxsplit=1)[0] for part in unquoted.split("!") if part.strip())
    return list(dict.fromkeys(head for head in heads if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", head)))


def _short(pipeline: str) -> str:
    """A pipeline's first and last element, to name it in one line."""
    first, *_, last = (part.strip() for part in pipeline.split("!"))
    return f"{first} ! … ! {last}"
