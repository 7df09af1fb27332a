"""Reports as JSON lines on standard output: to look at them, or to pipe them somewhere else."""

from __future__ import annotations

import itertools
import os
import queue
import sys

from device.errors import BrokerError
from device.publishers import Connected, Delivered, Event, Message
from device.settings import BrokerSettings


class StdoutPublisher:
    """Prints every message that is not a status."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self._tokens = itertools.count(1)
        self.events.put(Connected())

    def publish(self, message: Message) -> int:
        token = next(self._tokens)
        if not message.retain:
            try:
                sys.stdout.write(message.payload.decode() + "\n")
                sys.stdout.flush()
            except OSError as error:  # such as a pipe whose reader has ended
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more on its way out
                raise BrokerError(f"standard output: cannot write the report ({error.strerror}); it stays in the spool") from error
        self.events.put(Delivered(token))
        return token

    def close(self, farewell: Message | None, timeout: float) -> None:
        del farewell, timeout


def open_publisher(settings: BrokerSettings, client_id: str, topics: tuple[str, ...], last_will: Message) -> StdoutPublisher:
    """Print to standard output; needs nothing from the settings."""
    del settings, client_id, topics, last_will
    return StdoutPublisher()
