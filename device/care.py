"""The watching process takes care of the machine: measures it, sets its own pace, and knows when it has grown too large.

``device/governor.py`` and ``device/vitals.py`` decide; this module measures for them, every ten seconds whatever is in view.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from device import machine
from device.clock import Clock
from device.contract import Machine
from device.governor import EVERY, Governor, Sensed
from device.settings import Settings
from device.vitals import Measured, Vitals


class Care:
    """What one process knows of its machine, from one run to the next.

    Args:
        settings: Of the first run.
        clock: Of this boot.
        root: Where /sys and /proc are.
        cpu: Seconds of processor time that this process has taken.

    Attributes:
        machine: What may be told; ``None`` before the first measure.
        memory: MB held when it was last measured.
        worn: Whether it has ended a run because that was too much.
    """

    def __init__(
        self, settings: Settings, clock: Clock, *, root: Path = machine.ROOT, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._root, self._cpu = clock, root, cpu
        self._vitals = Vitals(settings, clock.now())
        self._due = float("-inf")
        self._frames, self._spent = 0, cpu()
        self._opening = False
        self.machine: Machine | None = None
        self.memory = 0.0
        self.worn = False
        self.begin(settings, recording=False)

    def begin(self, settings: Settings, *, recording: bool) -> None:
        """A run begins; a recording has a pace of its own."""
        camera, care = settings.camera, settings.care
        floor = camera.fps if recording else camera.fps_floor
        self._settings = settings
        self._governor = Governor(camera.fps, floor, care.warm_celsius, care.hot_celsius)

    @property
    def rate(self) -> float:
        """Frames per second to read now."""
        return self._governor.rate

    @property
    def lowered(self) -> bool:
        """Whether heat or load keep the rate down."""
        return self._governor.lowered

    @property
    def too_large(self) -> bool:
        """Whether this process holds more memory than it may."""
        return self.memory > self._settings.care.memory_megabytes

    def wait(self, taken_at: float, now: float) -> float:
        """Seconds until the frame after one that was taken then is wanted; 0 while the camera's own pace will do."""
        return max(0.0, taken_at + 1 / self.rate - now) if self.rate < self._settings.camera.fps else 0.0

    def frame(self) -> None:
        """A frame was read."""
        self._frames += 1

    def opening(self) -> None:
        """The camera is about to be opened: what that costs is no frame's, and where somebody consents it tells that they do."""
        self._opening = True

    def look(self, now: float) -> None:
        """Measure, where it is time to."""
        if now < self._due:
            return
        self._due = now + EVERY
        firmware = machine.firmware(self._root)
        celsius = machine.celsius(self._root)
        spent, cost = self._cpu(), None
        if self._frames and not self._opening:
            cost = (spent - self._spent) / self._frames
        self._frames, self._spent, self._opening = 0, spent, False
        self._governor.step(Sensed(celsius, firmware is not None and firmware.throttled, cost))
        self.memory = machine.megabytes(self._root)
        measured = Measured(
            celsius,
            self.lowered,
            None if firmware is None else firmware.under_voltage,
            self.memory,
            self._free(),
            self._clock.synced(),
        )
        self.machine = self._vitals.tell(now, measured)

    def _free(self) -> float | None:
        try:
            return shutil.disk_usage(self._settings.spool.folder).free / 2**20
        except OSError:
            return None
