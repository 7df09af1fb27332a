"""A capture of OpenCV with a thread that keeps it drained.

Drivers hang, and they queue up old pictures. So one thread owns the capture: it fetches every picture as it comes and
throws it away undecoded, unless somebody waits for one. What ``take`` returns was fetched after it was called.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition, Thread
from typing import Final

import cv2

from device.cameras import CameraOptions
from device.cameras._limit import Pace, within
from device.cameras._opencv import frame_from_bgr, unfolded
from device.errors import CameraError, CameraStoppedError
from device.types import Frame

_CLOSING: Final = 1.0  # seconds that a driver gets to let go


class Grabber:
    """A camera, given an open capture.

    Args:
        capture: Already proven to deliver. The thread releases it.
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
                while self._frame is None:
                    if self._error is not None:
                        raise self._error
                    left = max(self._grabbed_at, asked_at) + self._timeout - time.monotonic()
                    if left <= 0:
                        raise CameraError(
                            f"{self._name}: no picture for {self._timeout:g} s; check the cable, and other programs that use it"
                        )
                    self._changed.wait(left)
                frame, self._frame = self._frame, None
                return frame
            finally:
                self._wanted = False

    def close(self) -> None:
        """See ``Camera.close``. A driver that hangs is left behind with its thread."""
        with self._changed:
            self._stopping = True
        self._fail(CameraError(f"{self._name}: has been closed; open it again"))
        self._thread.join(_CLOSING)
        with self._changed:
            self._drop()

    def _run(self) -> None:
        try:
            while not self._stopping and self._capture.grab():
                self._step(time.monotonic())
            self._fail(CameraStoppedError(f"{self._name}: stopped delivering pictures; check its cable and power"))
        except cv2.error as error:
            self._fail(CameraStoppedError(f"{self._name}: OpenCV failed ({error.err}); check its cable and power"))
        except ValueError as error:  # no picture: of another shape or type than any
            self._fail(CameraStoppedError(f"{self._name}: delivers what is no picture ({error}); set another size, or restart it"))
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
            return  # damaged on its way: the next one will do
        picture = unfolded(picture, self._capture)
        if picture.shape[2:] != (3,) or picture.dtype != "uint8":
            raise CameraError(f"{self._name}: delivers no colour; end it with ! videoconvert ! video/x-raw,format=BGR ! appsink")
        self._hand_over(frame_from_bgr(picture, now))

    def _hand_over(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            if not self._wanted or self._stopping:  # given up in the meantime
                self._drop()
            self._changed.notify_all()

    def _fail(self, error: CameraError) -> None:
        """Keep the first thing that went wrong: ``take`` raises it from now on."""
        with self._changed:
            if self._error is None:
                self._error = error
            self._changed.notify_all()

    def _drop(self) -> None:
        if self._frame is not None:
            with self._frame:
                self._frame = None


def start(open_capture: Callable[[], cv2.VideoCapture], name: str, options: CameraOptions) -> Grabber:
    """Open a capture and wait for its first picture, both within ``options.timeout``.

    Raises:
        CameraError: It does not open, or shows nothing in time.
    """

    def begin() -> cv2.VideoCapture:
        capture = open_capture()
        for step, complaint in ((capture.isOpened, "cannot be opened as a camera"), (capture.grab, "opened, but shows no picture")):
            if not step():
                capture.release()
                raise CameraError(f"{name}: {complaint}; close other programs that use it, or choose another")
        return capture

    late = f"{name}: no picture within {options.timeout:g} s of opening; check the cable, and other programs that use it"
    return Grabber(within(options.timeout, begin, lambda capture: capture.release(), late), name, options)
