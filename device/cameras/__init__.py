"""Cameras, one per module, behind one port.

A camera is named in the settings as ``name`` or ``name:address``: ``composite``, ``replay:clip.mkv``,
``v4l2:/dev/video0``, ``picamera2``. The module of that name has one function, ``open_camera(address, options)``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from device import plug
from device.types import Frame

if TYPE_CHECKING:
    from device.settings_care import CameraSettings


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What the settings ask of a camera.

    Attributes:
        width, height: Wanted size in pixels; a camera delivers the nearest that it can.
        fps: Frames per second that ``take`` hands out.
        timeout: Seconds after which a camera that delivers nothing is given up.
        fast: Recordings only: do not wait for real time; the frames' clock still runs at the recording's pace.
        seed: Composite scene only: which script.
    """

    width: int = 640
    height: int = 480
    fps: float = 5.0
    timeout: float = 5.0
    fast: bool = False
    seed: int = 0


class Camera(Protocol):
    """A source of frames."""

    def take(self) -> AbstractContextManager[Frame]:
        """Wait until the next frame is due and return it.

        Returns:
            A frame that owns its pixels (copied out of any driver's buffer). Its ``taken_at`` never goes back.

        Raises:
            EndOfFrames: A recording is over.
            CameraError: No frame arrived within the timeout; nothing blocks for longer.
        """
        ...

    def close(self) -> None:
        """Let go of the device. Never raises; may be called twice."""
        ...


class OpenCamera(Protocol):
    """The one function of a camera's module.

    Raises:
        CameraError: There is no such camera, or it cannot be opened within the timeout.
    """

    def __call__(self, address: str, options: CameraOptions) -> Camera: ...


def open_camera(wanted: CameraSettings) -> Camera:
    """Open the camera that the settings name.

    Raises:
        SettingsError: There is no camera of that name.
        CameraError: It cannot be opened.
    """
    name, _, address = wanted.source.partition(":")
    options = CameraOptions(wanted.width, wanted.height, wanted.fps, wanted.timeout_seconds, wanted.fast, wanted.seed)
    camera: Camera = plug.find("device.cameras", name).open_camera(address, options)
    return camera
