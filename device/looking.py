"""When frames are read: the lamp, the buttons, pauses and consent, around ``observe``.

While paused, and in ``opt-in`` by button while nobody consents, the camera is closed and the lamp is off. Pauses are told in the
reports; that nobody consents is not, since it is about a person: such time counts as watched, with nobody in view.

A camera that fails is opened again, at longer and longer intervals (``device/reopen.py``): meanwhile nothing is watched, and that
is what the reports and the status say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from device.cameras import Camera
from device.cameras._guard import Darkness, Guard, Guarded
from device.care import Care
from device.clock import Clock
from device.consent import Consent
from device.contract import Trouble
from device.errors import CameraError, EndOfFrames
from device.gpio import Controls
from device.notify import NOBODY, Notify
from device.orders import Orders
from device.reopen import Reopening
from device.settings import Settings
from device.types import Observation

RECORDINGS: Final = ("replay", "composite")  # closing one would begin it anew, so they stay open
INBOX_EVERY: Final = 0.5  # seconds between two looks into the inbox
NAP: Final = 0.1  # seconds between two looks at the buttons while no frames are read
NOT_WATCHING: Final = "not watching: the camera does not work"


class Eye:
    """The camera with its lamp: on from before the first picture can be taken until none can be taken any more.

    Args:
        open_camera: Opens the camera; again after each pause, and after each failure.
        controls: Has the lamp.
        keep: Do not close the camera in between, and take what it shows as it is: for recordings, which would begin anew.
    """

    def __init__(self, open_camera: Callable[[], Camera], controls: Controls, *, keep: bool) -> None:
        self._open = open_camera
        self._controls = controls
        self.keep = keep
        self._camera: Camera | None = None
        self._guard = Guard()
        self._reopening = Reopening()

    def open(self) -> Camera:
        """The camera, open, with the lamp on. Raises CameraError as opening does; the lamp is then off."""
        self._controls.lamp(True)
        if self._camera is None:
            try:
                opened = self._open()
            except BaseException:
                self._controls.lamp(False)
                raise
            self._camera = opened if self.keep else Guarded(opened, self._guard)
        return self._camera

    @property
    def closed(self) -> bool:
        """Whether it has to be opened first."""
        return self._camera is None

    def due(self, now: float) -> bool:
        """Whether a picture may be asked for: not while a camera that has failed is left alone."""
        return self._reopening.due(now)

    @property
    def failing(self) -> bool:
        """Whether the camera has failed, and has not delivered since."""
        return self._reopening.failing

    def works(self, now: float) -> None:
        """It has delivered."""
        self._reopening.works(now)

    def failed(self, now: float) -> bool:
        """It has not: it is closed; returns whether it is worth another try."""
        self.rest()
        return not self._reopening.failed(now)

    def rest(self) -> None:
        """Stop reading frames."""
        if self._camera is not None and not self.keep:
            self._camera.close()
            self._camera = None
        self._controls.lamp(False)

    def close(self) -> None:
        """Close the camera for good."""
        self.keep = False
        self.rest()


class Listener(Protocol):
    """What becomes of what was seen: ``watch.Watcher``."""

    def see(self, seen: Observation) -> None: ...
    def rest(self, now: float) -> None: ...
    def idle(self, now: float) -> None: ...
    def blind(self, now: float, why: Trouble) -> None: ...


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
    care: Care,
    trying: Callable[[], bool] = lambda: False,
    systemd: Notify = NOBODY,
) -> None:
    """Read frames until told to stop or until a recording ends.

    Args:
        eye: The camera.
        controls: Buttons and lamp.
        settings, consent, orders: What is wanted of it.
        observe: One frame → what was in it.
        listener: Hears of everything.
        clock, log: Of this process.
        stopping: Whether to stop.
        care: Says how fast to go.
        trying: Whether something else than the camera may be to blame if it fails now: then it is not waited for.
        systemd: Hears each time round that this goes on. A camera or a model that hangs keeps it from going round.

    Raises:
        CameraError: The camera does not come back, or was a recording.
        ModelError: As ``observe`` does.
    """
    wanted = settings.consent
    by_button = wanted.mode == "opt-in" and wanted.input == "button"
    next_look, next_frame, was_paused, told = float("-inf"), float("-inf"), False, False
    while not stopping():
        now = clock.now()
        care.look(now)
        if controls.pause_pressed():
            orders.pressed(consent, wanted.pause_seconds)
        if now >= next_look:
            next_look = now + INBOX_EVERY
            orders.camera_works = not eye.failing
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
            if eye.failing:  # for as long as it fails, consent or not: else the status would follow who consents
                listener.blind(now, "camera")
            else:
                listener.idle(now)
            controls.wait(1 / settings.camera.fps)
        elif not eye.due(now):
            listener.blind(now, "camera")
            controls.wait(NAP)
        elif now < next_frame:
            controls.wait(min(NAP, next_frame - now))
        else:
            was_failing = eye.failing
            try:
                if eye.closed:
                    care.opening()
                camera = eye.open()
                if told:
                    systemd.alive()  # opening, and the first picture, may each take as long as a camera may
                seen = observe(camera)
            except EndOfFrames:
                return
            except Darkness:
                eye.works(clock.now())
                if by_button:  # that it is dark would tell that somebody consents
                    listener.see(Observation(clock.now(), 1.0, ()))
                else:
                    listener.blind(clock.now(), "dark")
            except CameraError as error:
                if trying() or eye.keep:
                    raise
                again = eye.failed(clock.now())
                listener.blind(clock.now(), "camera")  # also before it is given up: the window that it was missing in is told
                if not again:
                    raise
                (log.info if was_failing else log.warning)(
                    f"{error}. Nothing is watched until the camera works; it is tried again and again"
                )
                systemd.status(NOT_WATCHING)
            else:
                eye.works(clock.now())
                care.frame()
                next_frame = clock.now() + care.wait(seen.taken_at, clock.now())
                listener.see(seen)
            if was_failing and not eye.failing:
                log.info("the camera works again")
                systemd.status("watching")
        if not told:
            systemd.ready("watching" if not eye.failing else NOT_WATCHING)
            told = True
        systemd.alive()
