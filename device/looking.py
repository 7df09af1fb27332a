"""When frames are read: the lamp, the buttons, pauses and consent, around ``observe``.

While paused, and in ``opt-in`` by button while nobody consents, the camera is closed and the lamp is off. Pauses are told in the
reports; that nobody consents is not, since it is about a person: such time counts as watched, with nobody in view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from device.cameras import Camera
from device.clock import Clock
from device.consent import Consent
from device.errors import EndOfFrames
from device.gpio import Controls
from device.orders import Orders
from device.settings import Settings
from device.types import Observation

RECORDINGS: Final = ("replay", "composite")  # closing one would begin it anew, so they stay open
INBOX_EVERY: Final = 0.5  # seconds between two looks into the inbox
NAP: Final = 0.1  # seconds between two looks at the buttons while no frames are read


class Eye:
    """The camera with its lamp: on from before the first picture can be taken until none can be taken any more.

    Args:
        open_camera: Opens the camera; again after each pause.
        controls: Has the lamp.
        keep: Do not close the camera in between: for recordings.
    """

    def __init__(self, open_camera: Callable[[], Camera], controls: Controls, *, keep: bool) -> None:
        self._open = open_camera
        self._controls = controls
        self._keep = keep
        self._camera: Camera | None = None

    def open(self) -> Camera:
        """The camera, open, with the lamp on. Raises CameraError as opening does; the lamp is then off."""
        self._controls.lamp(True)
        if self._camera is None:
            try:
                self._camera = self._open()
            except BaseException:
                self._controls.lamp(False)
                raise
        return self._camera

    def rest(self) -> None:
        """Stop reading frames."""
        if self._camera is not None and not self._keep:
            self._camera.close()
            self._camera = None
        self._controls.lamp(False)

    def close(self) -> None:
        """Close the camera for good."""
        self._keep = False
        self.rest()


class Listener(Protocol):
    """What becomes of what was seen: ``watch.Watcher``."""

    def see(self, seen: Observation) -> None: ...
    def rest(self, now: float) -> None: ...
    def idle(self, now: float) -> None: ...


def look(
    eye: Eye,
    controls: Controls,
    *,
    settings: Settings,
    consent: Consent,
    orders: Orders,
    observe: Callable[[Camera], Observation],
    listener: Listener,
    clock: Clock,
    log: FilteringBoundLogger,
    stopping: Callable[[], bool],
) -> None:
    """Read frames until told to stop or until a recording ends.

    Raises:
        CameraError, ModelError: As ``observe`` does.
    """
    wanted = settings.consent
    by_button = wanted.mode == "opt-in" and wanted.input == "button"
    next_look, was_paused = float("-inf"), False
    while not stopping():
        now = clock.now()
        if controls.pause_pressed():
            orders.pressed(consent, wanted.pause_seconds)
        if now >= next_look:
            next_look = now + INBOX_EVERY
            orders.look(consent)
        if by_button and controls.consenting():
            consent.give(now)
        paused = orders.paused(consent)
        if paused != was_paused:
            log.info("paused" if paused else "resumed")
            was_paused = paused
        if paused:
            eye.rest()
            listener.rest(now)
            controls.wait(NAP)
        elif by_button and not consent.given(now):
            eye.rest()
            listener.idle(now)
            controls.wait(1 / settings.camera.fps)
        else:
            try:
                listener.see(observe(eye.open()))
            except EndOfFrames:
                return
