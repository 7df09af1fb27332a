"""Exact noise, and the arithmetic of its budget. Pure: randomness is an argument, and no number here is a float.

Noise made with floating point gives back what it should hide: which doubles can come out depends on the true count (Mironov 2012,
"On significance of the least significant bits for differential privacy"). Here every step is an integer compared with a uniform
integer, after Canonne, Kamath and Steinke 2020, "The discrete Gaussian for differential privacy", algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

Below = Callable[[int], int]  # below(n): uniform among 0 .. n - 1, each time anew; secrets.randbelow on a device

MICRO: Final = 1_000_000  # ε is counted in millionths
DAY_SECONDS: Final = 86_400
RESERVE: Final = 2  # windows whose ε may be saved: the one that ends, and one that a restart cuts short


def discrete_laplace(epsilon: Fraction, below: Below) -> int:
    """Draw an integer x with probability proportional to ``exp(-epsilon * |x|)`` (algorithm 2, scale t/s = 1/epsilon).

    Args:
        epsilon: More than 0.
        below: The source of randomness.

    Raises:
        ValueError: Epsilon is 0 or less.
    """
    if epsilon <= 0:
        raise ValueError(f"epsilon is {epsilon}; noise needs more than 0")
    s, t = epsilon.numerator, epsilon.denominator
    while True:
        u = below(t)
        if not happens_exp(Fraction(u, t), below):
            continue
        v = 0
        while happens_exp(Fraction(1), below):
            v += 1
        size = (u + t * v) // s
        negative = below(2) == 1
        if negative and size == 0:
            continue  # or 0 would come twice as often
        return -size if negative else size


def happens_exp(gamma: Fraction, below: Below) -> bool:
    """True with probability ``exp(-gamma)``, gamma from 0 to 1 (algorithm 1)."""
    n, d, k = gamma.numerator, gamma.denominator, 1
    while below(d * k) < n:
        k += 1
    return k % 2 == 1


@dataclass(frozen=True, slots=True)
class Budget:
    """How much ε a device may spend, in millionths of ε: in any 24 hours of running time at most ``day``.

    Running time earns ε evenly, and a window spends it. What was earned and not spent is kept up to ``RESERVE`` windows; so a
    stretch of 24 hours begins with ``RESERVE`` windows at most, earns ``day`` without those, and cannot spend more than ``day``.

    Attributes:
        window_seconds: Length of a window.
        window: What one window costs.
        day: What any 24 hours may cost.
    """

    window_seconds: int
    window: int
    day: int

    @property
    def windows_a_day(self) -> int:
        """How many windows begin in 24 hours."""
        return -(-DAY_SECONDS // self.window_seconds)

    @property
    def needed(self) -> int:
        """The least ``day`` with which no window is withheld in ordinary running."""
        return (self.windows_a_day + RESERVE) * self.window

    @property
    def most(self) -> int:
        """What may be saved."""
        return RESERVE * self.window

    def earned(self, milliseconds: int) -> int:
        """What this much running time earns, rounded down."""
        return max(0, self.day - self.most) * max(0, milliseconds) // (DAY_SECONDS * 1000)


def micro(epsilon: Decimal) -> int:
    """An ε of at most six decimals in millionths, exactly.

    Raises:
        ValueError: It has more decimals.
    """
    millionths = Fraction(epsilon) * MICRO
    if millionths.denominator != 1:
        raise ValueError(f"{epsilon} has more than six decimals")
    return millionths.numerator
