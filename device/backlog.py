"""Which report goes next: the oldest that waits; but one that is made while old ones wait need not wait for all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from device.spool import Spool, seq_of

LOOK_EVERY: Final = 1.0  # seconds between two looks for new reports while old ones wait


class Backlog:
    """What waited when the spool was last looked at, and is not on its way."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: deque[Path] = deque()
        self._look_due = 0.0
        self._newest_seen = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def look(self, now: float) -> None:
        """See what waits: all of it when the last of what was seen is on its way, else what is new, which goes first.

        Args:
            now: Monotonic, seconds.

        Raises:
            SpoolError: The spool cannot be listed.
        """
        if self._waiting and now < self._look_due:
            return
        if self._waiting:
            found = self._spool.waiting(after=self._newest_seen)
            self.again(found)
        else:
            found = self._spool.waiting()
            self._waiting.extend(found)
        self._newest_seen = max([self._newest_seen, *map(seq_of, found)])  # 0: no report
        self._look_due = now + LOOK_EVERY

    def again(self, paths: Sequence[Path]) -> None:
        """These go before all others, in this order."""
        self._waiting.extendleft(reversed(paths))

    def next(self) -> Path:
        """The one that goes next."""
        return self._waiting.popleft()

    def clear(self) -> None:
        """Look again before anything else goes."""
        self._waiting.clear()
