"""How many frames a second a device can bear: temperature, throttling and load in, frame rate out. Pure.

Between ``warm`` and ``hot`` the rate falls in a straight line from ceiling to floor, so that there is one temperature at which heat
made and heat lost are equal, and the rate settles there. While the firmware throttles, the rate falls to the floor. Load is met
without any feedback: no more frames than fit into ``SHARE`` of one core. The rate goes down within two minutes and comes back
within ten, and a change of less than ``STILL`` is not followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EVERY: Final = 10.0  # seconds between two steps
DOWN, UP = 0.10, 0.02  # of what is between floor and ceiling, at most in one step
STILL: Final = 0.05  # of the ceiling
SHARE: Final = 0.85  # of one core
MEMORY: Final = 0.2  # weight of the newest cost in the mean one
LOWERED: Final = 0.9  # of the ceiling: a rate below is told in the reports


@dataclass(frozen=True, slots=True)
class Sensed:
    """What a device feels.

    Attributes:
        celsius: Temperature of the processor; ``None`` where there is no sensor.
        throttled: Whether firmware or kernel slow the processor down now.
        cost: Seconds of processor time that one frame took of late; ``None`` while there was none.
    """

    celsius: float | None = None
    throttled: bool = False
    cost: float | None = None


class Governor:
    """The frame rate, one step every ``EVERY`` seconds.

    Args:
        ceiling: Frames per second while all is well.
        floor: Frames per second below which it never goes; the ceiling, where that is lower.
        warm: °C from which on the rate falls.
        hot: °C at which it has reached the floor; more than ``warm``.

    Attributes:
        rate: Frames per second to read now.
    """

    def __init__(self, ceiling: float, floor: float, warm: float, hot: float) -> None:
        self._ceiling, self._floor = ceiling, min(floor, ceiling)
        self._warm, self._hot = warm, hot
        self._cost: float | None = None
        self.rate = ceiling

    @property
    def lowered(self) -> bool:
        """Whether heat or load keep the rate down by so much that reports say so."""
        return self.rate < LOWERED * self._ceiling

    def step(self, sensed: Sensed) -> float:
        """Take in what was felt; returns the rate from now on, from floor to ceiling."""
        if sensed.cost is not None:
            self._cost = sensed.cost if self._cost is None else self._cost + MEMORY * (sensed.cost - self._cost)
        wanted = self._wanted(sensed)
        at_an_end = wanted in (self._floor, self._ceiling)
        if at_an_end or abs(wanted - self.rate) >= STILL * self._ceiling:
            span = self._ceiling - self._floor
            self.rate += min(max(wanted - self.rate, -DOWN * span), UP * span)
            self.rate = min(max(self.rate, self._floor), self._ceiling)
        return self.rate

    def _wanted(self, sensed: Sensed) -> float:
        if sensed.throttled:
            return self._floor
        wanted = self._ceiling
        if sensed.celsius is not None:
            share = (self._hot - sensed.celsius) / (self._hot - self._warm)
            wanted = self._floor + min(max(share, 0.0), 1.0) * (self._ceiling - self._floor)
        if self._cost:
            wanted = min(wanted, SHARE / self._cost)
        return max(wanted, self._floor)
