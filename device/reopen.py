"""When a camera that has failed is tried again, and when it is given up. Pure: time is an argument.

::

    works ──fails──► waits ──opens──► works on trial ──SETTLED──► works
                       ▲ └── fails: waits twice as long, LONGEST at most
                       └───────fails──────┘

A camera that has not settled ``GIVE_UP`` seconds after it failed first is given up: the process ends, so that whoever looks after
it (systemd) starts another one, without the threads that hang in a driver.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 1.0  # seconds before a camera that has failed is opened again
LONGEST: Final = 30.0  # seconds between two tries
SETTLED: Final = 60.0  # seconds of work after which what was before is forgotten
GIVE_UP: Final = 600.0  # seconds
UNTRIED: Final = 120.0  # seconds beyond which nobody has tried, as in a pause: they do not count


class Reopening:
    """What is remembered about a camera that fails.

    Attributes:
        failing: Whether it does not work now.
    """

    def __init__(self) -> None:
        self.failing = False
        self._since: float | None = None  # the first failure of a row
        self._works: float | None = None  # since when it works on trial
        self._next = float("-inf")
        self._wait = FIRST

    def due(self, now: float) -> bool:
        """Whether the camera may be opened."""
        return now >= self._next

    def failed(self, now: float) -> bool:
        """It could not be opened, or has stopped; returns whether it is to be given up."""
        self._forget(now)
        if self._since is None:
            self._since = now
        elif now - self._next > UNTRIED:
            self._since += now - self._next
        self.failing, self._works = True, None
        self._next, self._wait = now + self._wait, min(2 * self._wait, LONGEST)
        return now - self._since >= GIVE_UP

    def works(self, now: float) -> None:
        """It has delivered."""
        self.failing = False
        if self._since is not None and self._works is None:
            self._works = now
        self._forget(now)

    def _forget(self, now: float) -> None:
        if self._works is not None and now - self._works >= SETTLED:
            self._since, self._works, self._wait = None, None, FIRST
