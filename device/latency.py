"""How long things took, as a histogram of fixed size: percentiles without keeping when anything was. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import ceil, floor, log
from typing import Final

STEP: Final = 1.02  # each class ends 2 % above where it begins, so a percentile is wrong by 1 % at most
SHORTEST: Final = 1e-5  # seconds; what is shorter counts as this


class Latencies:
    """Durations, counted in classes.

    Args:
        counts: What was counted before, as ``as_json`` gave it.
    """

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts: Counter[int] = Counter({int(number): count for number, count in (counts or {}).items()})

    def __len__(self) -> int:
        """How many there are."""
        return self._counts.total()

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[floor(log(max(seconds, SHORTEST) / SHORTEST) / log(STEP))] += 1

    def since(self, before: Latencies) -> Latencies:
        """Those that were added after ``before``, an earlier state of this one."""
        later = Latencies()
        later._counts = self._counts - before._counts
        return later

    def quantile(self, share: float) -> float | None:
        """Seconds that so large a share of them did not exceed; ``None`` of none."""
        wanted, seen = max(1, ceil(share * len(self))), 0
        for number in sorted(self._counts):
            seen += self._counts[number]
            if seen >= wanted:
                return float(SHORTEST * STEP ** (number + 0.5))
        return None

    def as_json(self) -> dict[str, int]:
        """Class → how many."""
        return {str(number): count for number, count in sorted(self._counts.items())}
