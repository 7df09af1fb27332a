"""Being told to stop: SIGTERM from systemd, SIGINT from Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Stop:
    """Set by the first signal; the second one acts as if this did not exist."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until told to stop, at most ``seconds``; returns whether it was."""
        return self._event.wait(seconds)

    def on_signals(self) -> Stop:
        """Listen to SIGTERM and SIGINT; only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        return self

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._event.set()
        signal.signal(number, signal.SIG_DFL)
