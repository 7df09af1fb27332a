"""Webcams and other V4L2 devices, and anything that a GStreamer pipeline can bring, through OpenCV.

``v4l2:/dev/video0``, or ``v4l2:`` and a pipeline that ends in ``appsink`` (whatever contains a ``!`` is one). On a Jetson::

    v4l2:nvarguscamerasrc ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1
         ! nvvidconv ! video/x-raw,width=640,height=480,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink

Drivers hang, and they queue up old pictures. So one thread owns the capture: it fetches every picture as it comes and
throws it away undecoded, unless somebody waits for one. What ``take`` returns was fetched after it was called. The last
few pictures remain in the driver's own buffers, which OpenCV does not let us blank; the next ones overwrite them.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Thread
from typing import Final

import cv2

from device.cameras import Camera, CameraOptions
from device.cameras._limit import Pace, within
from device.cameras._opencv import frame_from_bgr, quiet
from device.errors import CameraError, CameraStoppedError
from device.types import Frame

_BUFFERS: Final = 2  # one being filled, one being read
_CLOSING: Final = 1.0  # seconds that a driver gets to let go


class Grabber:
    """A capture with a thread that keeps it drained.

    Args:
        capture: Open, and already proven to deliver. The thread releases it.
        name: How errors call it.
        options: ``fps`` and ``timeout`` count.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str, options: CameraOptions) -> None:
        self._capture = capture
        self._name = name
        self._timeout = options.timeout
        self._pace = Pace(options.fps)
        self._changed = Condition()  # guards what follows
        self._wanted = False
        self._stopping = False
        self._frame: Frame | None = None
        self._error: CameraError | None = None
        self._grabbed_at = time.monotonic()
        self._thread = Thread(target=self._run, daemon=True, name="camera")
        self._thread.start()

    def take(self) -> Frame:
        """See ``Camera.take``."""
        with self._changed:
            asked_at = time.monotonic()
            self._wanted = True
            try:
                while self._frame is None and self._error is None:
                    left = max(self._grabbed_at, asked_at) + self._timeout - time.monotonic()
                    if left <= 0:
                        raise CameraError(
                            f"{self._name}: no picture for {self._timeout:g} s; check the cable, and whether another program uses it"
                        )
                    self._changed.wait(left)
                if self._frame is not None:
                    frame, self._frame = self._frame, None
                    return frame
            finally:
                self._wanted = False
            raise self._error or CameraError(f"{self._name}: closed")

    def close(self) -> None:
        """See ``Camera.close``. A driver that hangs is left behind with its thread."""
        with self._changed:
            self._stopping = True
        self._thread.join(_CLOSING)
        with self._changed:
            self._error = self._error or CameraError(f"{self._name}: has been closed")
            self._drop()

    def _run(self) -> None:
        try:
            while not self._stopping and self._capture.grab():
                self._step(time.monotonic())
            self._fail(CameraStoppedError(f"{self._name}: stopped delivering pictures; check its cable and power"))
        except cv2.error as error:
            self._fail(CameraStoppedError(f"{self._name}: OpenCV failed: {error.err}"))
        except CameraError as error:
            self._fail(error)
        finally:
            self._capture.release()

    def _step(self, now: float) -> None:
        """Decode and hand over the picture just fetched, if somebody waits for one and it is due."""
        with self._changed:
            self._grabbed_at = now
            if not self._wanted or self._frame is not None or not self._pace.due(now):
                return
        good, picture = self._capture.retrieve()
        if not good:
            return  # a picture that was damaged on its way: the next one will do
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise CameraError(
                f"{self._name}: delivers no colour; end the pipeline with videoconvert ! video/x-raw,format=BGR ! appsink"
            )
        frame = frame_from_bgr(picture, now)
        with self._changed:
            self._drop()
            self._frame = frame
            if not self._wanted or self._stopping:
                self._drop()
            self._changed.notify_all()

    def _fail(self, error: CameraError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _drop(self) -> None:
        if self._frame is not None:
            with self._frame:
                self._frame = None


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


def start(open_capture: Callable[[], cv2.VideoCapture], name: str, options: CameraOptions) -> Grabber:
    """Open a capture and wait for its first picture, both within ``options.timeout``.

    Raises:
        CameraError: It does not open, or shows nothing in time.
    """

    def begin() -> cv2.VideoCapture:
        capture = open_capture()
        if not capture.isOpened():
            raise CameraError(f"{name}: cannot be opened as a camera; close other programs that use it, or choose another")
        if not capture.grab():
            capture.release()
            raise CameraError(f"{name}: opened, but delivers no picture; close other programs that use it, or choose another")
        return capture

    complaint = (
        f"{name}: no picture within {options.timeout:g} s of opening; check the cable, the address, and other programs that use it"
    )
    return Grabber(within(options.timeout, begin, cv2.VideoCapture.release, complaint), name, options)


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
            raise CameraError(f"{path}: not a camera but a file; to show a recording write replay:{path}")
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
                f"GStreamer has no element {element!r}: correct its name, or install the plugin that has it (apt-cache search gstreamer1.0)"
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
