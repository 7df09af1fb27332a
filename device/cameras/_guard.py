"""Whether what a camera delivers is a picture of what is in front of it now: not black, not the same one again, not a scrap.

Of a picture nothing is kept but a checksum of 32 bits and when it was first seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from device.errors import CameraError, CameraStoppedError

if TYPE_CHECKING:
    from device.cameras import Camera
    from device.types import Frame

SMALLEST: Final = 64  # pixels, width and height: as the settings have it
FROZEN: Final = 30.0  # seconds of the very same picture; a sensor's noise alone makes each one different
BLACK: Final = 4.0  # mean of all values, of 255, below which nothing can be seen
DARK: Final = 3600.0  # seconds of black pictures before that is told: a light that goes on tells that somebody came
UNSEEN: Final = 60.0  # seconds without a picture, as in a pause, beyond which they count neither as light nor as dark
SAMPLE: Final = 8  # one in so many rows and columns is enough to know the mean


class Darkness(Exception):  # noqa: N818 (not an error: the camera works, and nothing can be seen)
    """It has been dark for so long that nothing that was counted would mean anything."""


class Guard:
    """What is remembered from one picture to the next, also when the camera is opened anew.

    Until the first picture that is not black it is dark: a camera behind its lid has never seen anything.
    """

    def __init__(self) -> None:
        self._checksum: int | None = None
        self._same_since = 0.0
        self._light = float("-inf")
        self._last = float("inf")

    def check(self, frame: Frame) -> None:
        """Look at a picture.

        Raises:
            CameraError: It is too small to be one, or has been the same for ``FROZEN`` seconds.
            Darkness: It is black, and so were all others for ``DARK`` seconds.
        """
        width, height = frame.size
        if min(width, height) < SMALLEST:
            raise CameraError(
                f"the camera delivers {width}x{height} pixels; expected {SMALLEST}x{SMALLEST} at least: set another size"
            )
        if (unseen := frame.taken_at - self._last) > UNSEEN:
            self._light += unseen
        self._last = frame.taken_at
        if frame.pixels[::SAMPLE, ::SAMPLE].mean() >= BLACK:
            self._light = frame.taken_at
        elif frame.taken_at - self._light >= DARK:
            raise Darkness
        else:
            return  # black pictures may well be the same
        checksum = zlib.crc32(frame.pixels.data)
        if checksum != self._checksum:
            self._checksum, self._same_since = checksum, frame.taken_at
        elif frame.taken_at - self._same_since >= FROZEN:
            raise CameraStoppedError(
                f"the camera has delivered the very same picture for {FROZEN:g} s; check its cable and power, or restart the device"
            )


class Guarded:
    """A camera whose pictures are looked at before anybody else gets them.

    Args:
        camera: The camera.
        guard: What to remember; longer than the camera is open.
    """

    def __init__(self, camera: Camera, guard: Guard) -> None:
        self._camera, self._guard = camera, guard

    @contextmanager
    def take(self) -> Iterator[Frame]:
        """See ``Camera.take``; also raises as ``Guard.check`` does."""
        with self._camera.take() as frame:
            self._guard.check(frame)
            yield frame

    def close(self) -> None:
        """See ``Camera.close``."""
        self._camera.close()
