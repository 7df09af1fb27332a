"""A progress line on stderr, for people only: nothing is written when stderr is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")
WIDTH: Final = 30  # of the bar, characters
PAUSE: Final = 0.1  # seconds between two drawings


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield the items one by one, and draw how far it is; the line is gone at the end."""
    shown = sys.stderr.isatty()
    drawn = 0.0
    for done, item in enumerate(items):
        if shown and time.monotonic() - drawn > PAUSE:
            drawn = time.monotonic()
            bar = "#" * (WIDTH * done // len(items))
            print(f"\r{what} [{bar:<{WIDTH}}] {done}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
