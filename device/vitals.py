"""Measures of this machine → the coarse steps that leave it. Pure: measuring is somebody else's.

Heat, load and memory follow, a little, how many faces are in view. So what they influence is told once an hour, as the worst of the
hour that has ended; the first measure is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from device.contract import Machine
from device.settings import DAY, Settings
from device.settings_care import CareSettings

HOUR: Final = 3600.0
FULL: Final = 1.0  # MB free, below which a report may not fit
HIGH: Final = 0.8  # of memory_megabytes


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at the machine.

    Attributes:
        celsius: Of the processor; ``None`` without a sensor.
        lowered: Whether the governor keeps the frame rate down.
        under_voltage: Whether the supply is too weak; ``None`` where nobody says.
        memory: MB that this process holds.
        free: MB that are free under the spool; ``None`` where it cannot be seen.
        synced: Whether the clock is set.
    """

    celsius: float | None
    lowered: bool
    under_voltage: bool | None
    memory: float
    free: float | None
    synced: bool

    def worse(self, other: Measured) -> Measured:
        """The worse of two, in all that load influences; the rest is this one's."""
        degrees = [one for one in (self.celsius, other.celsius) if one is not None]
        low = [one for one in (self.under_voltage, other.under_voltage) if one is not None]
        return replace(
            self,
            celsius=max(degrees, default=None),
            lowered=self.lowered or other.lowered,
            under_voltage=any(low) if low else None,
            memory=max(self.memory, other.memory),
        )


class Vitals:
    """What is told, and until when.

    Args:
        settings: Where the steps are.
        began: When this process began, on the clock of ``tell``.
    """

    def __init__(self, settings: Settings, began: float) -> None:
        self._settings = settings
        self._began = began
        self._ends = began + HOUR
        self._hour: Measured | None = None  # the worst of this hour
        self._told: Measured | None = None  # what is told during it

    def tell(self, now: float, measured: Measured) -> Machine:
        """Take in a measure; returns what may be told now."""
        if now >= self._ends:
            self._told, self._hour = self._hour, None
            self._ends += HOUR * ((now - self._ends) // HOUR + 1)
        self._hour = measured.worse(self._hour) if self._hour else measured
        self._told = self._told or measured
        told, care = self._told, self._settings.care
        return Machine(
            temperature=_temperature(told.celsius, care),
            throttled=told.lowered,
            power=None if told.under_voltage is None else "low" if told.under_voltage else "ok",
            memory="ok" if told.memory <= HIGH * care.memory_megabytes else "high",
            disk=_disk(measured.free, self._settings.spool.megabytes),
            uptime=_uptime(now - self._began),
            clock="synced" if measured.synced else "unsynced",
        )


def _temperature(celsius: float | None, care: CareSettings) -> Literal["ok", "warm", "hot"] | None:
    if celsius is None:
        return None
    return "ok" if celsius < care.warm_celsius else "warm" if celsius < care.hot_celsius else "hot"


def _disk(free: float | None, needed: float) -> Literal["ok", "low", "full"]:
    return "full" if free is None or free < FULL else "low" if free < needed else "ok"


def _uptime(seconds: float) -> Literal["minutes", "hours", "days", "weeks"]:
    return "minutes" if seconds < HOUR else "hours" if seconds < DAY else "days" if seconds < 7 * DAY else "weeks"
