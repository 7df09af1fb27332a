"""How simulated devices live. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random


@dataclass(frozen=True, slots=True)
class Habits:
    """Of all devices of a rehearsal.

    Attributes:
        report_every: Seconds between two reports, at least 1.
        status_every: Seconds between two statuses.
        longest_wait: Seconds between two attempts to connect, at most.
        fails_every: Seconds between two power cuts of one device, on average; ``inf`` for none.
        away: Seconds that a power cut lasts, at most.
        bad_models: Share of the devices on which a new model fails.
        spread: Seconds over which the devices are switched on.
    """

    report_every: float = 30.0
    status_every: float = 60.0
    longest_wait: float = 60.0
    fails_every: float = inf
    away: float = 30.0
    bad_models: float = 0.0
    spread: float = 10.0

    def next_failure(self, now: float, rng: Random) -> float:
        """When the power goes next."""
        return inf if self.fails_every == inf else now + rng.expovariate(1 / self.fails_every)
