"""Being told to stop: SIGTERM from systemd, SIGINT from Ctrl-C, SIGHUP from a terminal that is closed."""

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
        """Listen to SIGTERM, SIGINT, and SIGHUP unless ``nohup`` has it ignored; only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)
        return self

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._event.set()
        signal.signal(number, signal.SIG_DFL)
