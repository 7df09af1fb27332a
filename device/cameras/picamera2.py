"""The Raspberry Pi's own cameras, and whatever else libcamera drives, through picamera2.

``picamera2`` takes the first camera, ``picamera2:1`` the second, ``picamera2:NAME`` the one whose model or id is that. The
picture is the ``lores`` stream, made by the image processor at the size that was asked for; ``main`` is as small, because
picamera2 always wants one. Every buffer that we are given is blanked before the driver gets it back.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Iterable
from concurrent.futures import TimeoutError as LateError  # the built-in one from Python 3.11 on
from contextlib import ExitStack, suppress
from typing import Any, Final

from device.cameras import Camera, CameraOptions
from device.cameras._limit import Pace, within
from device.cameras._yuv import LAYOUTS, to_rgb
from device.errors import CameraError, CameraStoppedError
from device.types import Frame

_STREAMS: Final = ("main", "lores", "raw")
_BUFFERS: Final = 4
_SENSOR_FPS: Final = 15  # the sensor runs at least this fast: a longer frame lets it expose longer, and people move
_CLOSING: Final = 5.0  # seconds that a driver gets to let go
_FAILURES: Final = (RuntimeError, OSError, ValueError, LookupError)  # what picamera2 raises when the hardware fails


class PiCamera:
    """A running camera.

    Args:
        camera: A ``Picamera2`` that has been started.
        mapped: picamera2's ``MappedArray``.
        name: How errors call it.
        options: ``fps`` and ``timeout`` count.
    """

    def __init__(self, camera: Any, mapped: Any, name: str, options: CameraOptions) -> None:
        self._camera = camera
        self._mapped = mapped
        self._name = name
        self._timeout = options.timeout
        self._pace = Pace(options.fps)
        self._last = -math.inf
        given = camera.camera_configuration()
        self._layout: str = given["lores"]["format"]
        self._size: tuple[int, int] = given["lores"]["size"]
        self._stride: int = given["lores"]["stride"]
        self._streams = [stream for stream in _STREAMS if given.get(stream)]
        self._closed = False

    def take(self) -> Frame:
        """See ``Camera.take``."""
        if self._closed:
            raise CameraError(f"{self._name}: has been closed; open it again")
        try:
            while (frame := self._next()) is None:
                pass
        except LateError:
            self._camera.cancel_all_and_flush()  # without it libcamera may crash when it is closed
            raise CameraError(f"{self._name}: no picture for {self._timeout:g} s; check the ribbon cable") from None
        except _FAILURES as error:
            raise CameraStoppedError(f"{self._name}: stopped delivering pictures ({error}); check the ribbon cable") from error
        return frame

    def close(self) -> None:
        """See ``Camera.close``."""
        if not self._closed:
            self._closed = True
            with suppress(CameraError, *_FAILURES):
                within(_CLOSING, lambda: _let_go(self._camera), lambda _: None, "too slow")

    def _next(self) -> Frame | None:
        """The next picture, or None where it is not due yet."""
        request = self._camera.capture_request(wait=self._timeout)
        with ExitStack() as stack:
            stack.callback(request.release)
            stack.callback(self._blank, request)
            taken_at = _taken_at(request.get_metadata().get("SensorTimestamp"), time.monotonic(), self._timeout)
            if not self._pace.due(taken_at):
                return None
            self._last = max(self._last, taken_at)
            with self._mapped(request, "lores", reshape=False, write=True) as lores:
                return Frame(to_rgb(lores.array, self._layout, *self._size, self._stride), self._last)

    def _blank(self, request: Any) -> None:
        for stream in self._streams:
            with self._mapped(request, stream, reshape=False, write=True) as buffer:
                buffer.array.fill(0)


def open_camera(address: str, options: CameraOptions) -> Camera:
    """Open a camera and start it.

    Args:
        address: Number, model or id; the first camera when empty.
        options: ``width``, ``height``, ``fps`` and ``timeout`` count.

    Raises:
        CameraError: picamera2 is not installed, there is no such camera, or it cannot be started within the timeout.
    """
    try:
        from picamera2 import MappedArray, Picamera2
    except (ImportError, ValueError, OSError) as error:  # ValueError: built for another numpy
        raise CameraError(
            f"picamera2 cannot be used ({error}); install it with sudo apt install python3-picamera2, and make the virtual "
            "environment with --system-site-packages and the system's numpy"
        ) from error
    logging.getLogger("picamera2").setLevel(logging.CRITICAL)  # what goes wrong is said by our errors
    number, name = _choose(Picamera2.global_camera_info(), address)

    def begin() -> Any:
        camera = Picamera2(number)
        try:
            camera.configure(_configuration(camera, options))
            layout = camera.camera_configuration()["lores"]["format"]
            if layout not in LAYOUTS:
                raise CameraError(f"{name}: delivers {layout}, which cannot be read; expected one of {', '.join(LAYOUTS)}")
            camera.start()
        except BaseException:
            _let_go(camera)
            raise
        return camera

    late = f"{name}: does not start within {options.timeout:g} s; check the ribbon cable, and other programs that use it"
    try:
        camera = within(options.timeout, begin, _let_go, late)
    except _FAILURES as error:
        cause = error.__cause__ or error
        raise CameraError(f"{name}: cannot be started ({cause}); close other programs that use it, and check the cable") from error
    return PiCamera(camera, MappedArray, name, options)


def _choose(there: Iterable[dict[str, Any]], address: str) -> tuple[int, str]:
    """Number and name of the camera that is meant."""
    names = [f"{camera['Model']} ({camera['Id']})" for camera in there]
    if not names:
        raise CameraError("picamera2: no camera found; check the ribbon cable, then look with rpicam-hello --list-cameras")
    known = [{str(n), str(camera["Model"]), str(camera["Id"])} for n, camera in enumerate(there)]
    wanted = address or "0"
    for number, words in enumerate(known):
        if wanted in words:
            return number, names[number]
    raise CameraError(f"picamera2: no camera {wanted!r}; there are {', '.join(f'{n}: {name}' for n, name in enumerate(names))}")


def _configuration(camera: Any, options: CameraOptions) -> dict[str, Any]:
    stream = {"size": (options.width, options.height), "format": "YUV420"}
    controls = {}
    if "FrameDurationLimits" in camera.camera_controls:
        fastest = max(1, math.ceil(_SENSOR_FPS / options.fps)) * options.fps
        controls["FrameDurationLimits"] = (round(1e6 / fastest),) * 2  # microseconds
    made: dict[str, Any] = camera.create_video_configuration(
        main=dict(stream), lores=dict(stream), controls=controls, buffer_count=_BUFFERS, display=None, encode=None
    )
    return made


def _taken_at(sensor: int | None, now: float, oldest: float) -> float:
    """The sensor's own time, in seconds, where it is on the monotonic clock and believable; the time of arrival otherwise."""
    if sensor is None or not now - oldest <= sensor / 1e9 <= now:
        return now
    return sensor / 1e9


def _let_go(camera: Any) -> None:
    with ExitStack() as stack:  # each step, even where one before it fails, from the last to the first
        stack.callback(gc.collect)  # picamera2 leaves two open descriptors in reference cycles, each time
        stack.callback(camera.close)
        stack.callback(camera.stop)
        stack.callback(camera.cancel_all_and_flush)
