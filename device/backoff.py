"""How long to wait before the next attempt to connect. Pure: randomness is an argument.

Every wait is drawn from zero up to a limit (full jitter). Attempts that fail double the limit. A connection that stood and ended
is another matter: perhaps the broker has restarted, and a whole fleet has lost its connection in the same instant. Its devices
then come back spread over the longest wait, from the first attempt on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST: Final = 1.0  # seconds; doubles with each failure
LASTED: Final = 10.0  # seconds after which a connection that ends was no failure


class Backoff:
    """The waits of one device.

    Args:
        longest: Seconds that a wait may be at most. A fleet that was cut off together comes back evenly over so long.
        draw: A random number between two others.
        first: Seconds that doubles with the first failure.
    """

    def __init__(self, longest: float, draw: Callable[[float, float], float], first: float = FIRST) -> None:
        self._longest, self._draw, self._limit = longest, draw, first

    def after(self, stood: float | None) -> float:
        """Seconds to wait, now that there is no connection.

        Args:
            stood: For how many seconds there was one; ``None`` when the attempt failed.
        """
        lasted = stood is not None and stood >= LASTED
        self._limit = self._longest if lasted else min(self._longest, 2 * self._limit)
        return self._draw(0.0, self._limit)
