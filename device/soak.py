"""What a soak run found: samples in, slopes, percentiles and losses out. Pure; time is an argument.

**Slopes.** Memory grows while a process gets going: libraries are loaded, buffers find their sizes. So the first quarter of the
run, half an hour at most, is left out. Samples that follow each other are alike, and one of them may be an outlier; both make a fit
look surer than it is. So what is left is cut into ``BLOCKS`` equal stretches, each counts with the median of its samples, and a
straight line is fitted to those by least squares. Its interval is Student's, 95 %.

A slope is *too large* when all of its interval is at or above the limit, *flat* when all of it is below, and else the run was too
short to tell. Only the first breaks a limit: a run that proves nothing has neither failed nor passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median
from typing import Final, Literal

DAY: Final = 86_400.0
BLOCKS: Final = 20
FEWEST: Final = 6  # blocks that a fit needs, of two samples at least
WARM_UP: Final = (0.25, 1800.0)  # share of the run, and seconds at most
LIMIT_MEMORY: Final = 1.0  # MiB a day
LIMIT_DESCRIPTORS: Final = 1.0  # a day
LIMIT_RATIO: Final = 2.0  # 99th percentile over median
Z: Final = 1.959964  # 97.5 % of the normal distribution

Verdict = Literal["flat", "too large", "too short to tell"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through what was measured.

    Attributes:
        per_day: By how much it rises in a day.
        low, high: The interval of that, 95 %.
        begins, ends: Where the line begins and ends: seconds, value.
    """

    per_day: float
    low: float
    high: float
    begins: Point
    ends: Point

    def verdict(self, limit: float) -> Verdict:
        """Whether it stays below so much a day."""
        if self.low >= limit:
            return "too large"
        return "flat" if self.high < limit else "too short to tell"


def warm_up(seconds: float) -> float:
    """Seconds at the beginning of so long a run that tell nothing about its slopes."""
    share, most = WARM_UP
    return min(share * seconds, most)


def slope(points: Sequence[Point]) -> Slope | None:
    """Fit a line.

    Args:
        points: Seconds and value, in order of time.

    Returns:
        The line; ``None`` of too few points.
    """
    parts = blocks(points)
    if len(parts) < FEWEST:
        return None
    at, of = fmean(x for x, _ in parts), fmean(y for _, y in parts)
    spread = sum((x - at) ** 2 for x, _ in parts)
    rise = sum((x - at) * (y - of) for x, y in parts) / spread
    left = sum((y - of - rise * (x - at)) ** 2 for x, y in parts)
    free = len(parts) - 2
    reach = student(free) * sqrt(left / free / spread)
    first, last = points[0][0], points[-1][0]
    ends = (first, of + rise * (first - at)), (last, of + rise * (last - at))
    return Slope(rise * DAY, (rise - reach) * DAY, (rise + reach) * DAY, *ends)


def blocks(points: Sequence[Point]) -> list[Point]:
    """Medians of as many equal stretches as there are two samples each for."""
    count = min(BLOCKS, len(points) // 2)
    if count < 1:
        return []
    bounds = [round(number * len(points) / count) for number in range(count + 1)]
    parts = [points[first:last] for first, last in pairwise(bounds)]
    return [(fmean(x for x, _ in part), median(y for _, y in part)) for part in parts]


def student(free: int) -> float:
    """The 97.5 % quantile of Student's distribution with so many degrees of freedom, 4 at least, to 1 %.

    By the expansion of Cornish and Fisher: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = Z
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term * float(free) ** -power for power, term in enumerate(terms))


def lost(made: int, arrived: Sequence[int]) -> list[int]:
    """The numbers of reports, 1 to ``made``, that have not arrived."""
    return sorted(set(range(1, made + 1)) - set(arrived))
