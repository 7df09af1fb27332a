"""Telling systemd how this process is: ready, alive, stopping.

One datagram to the socket in ``NOTIFY_SOCKET``, as sd_notify(3) describes; without that variable, as on a terminal, none is sent.
The socket is AF_UNIX, so it works without a network. Nothing here raises: whoever cannot be reached cannot be told, and a
watchdog that hears nothing does what it is there for.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

SECONDS: Final = 1.0  # at most for one datagram: a loop must not wait for a systemd that does not read
SHARE: Final = 4  # of the watchdog's time, between two signs of life; systemd recommends 2 at least


class Notify:
    """A line to systemd, or to nobody.

    Args:
        address: The socket: a path, or ``@name`` for an abstract one; ``None`` for nobody.
        watchdog: Seconds after which systemd ends a process that it has not heard of; ``None`` where there is no watchdog.
        now: A monotonic clock, seconds.
    """

    def __init__(
        self, address: str | None = None, watchdog: float | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._every = None if watchdog is None else watchdog / SHARE
        self._now = now
        self._due = float("-inf")

    def ready(self, status: str = "") -> None:
        """The start is over: from now on the watchdog counts. To be said once; again does no harm."""
        self._send("READY=1", *_status(status))

    def alive(self) -> None:
        """A sign of life, from the loop that does the work; call it as often as you like, it costs a look at the clock."""
        if self._every is not None and self._now() >= self._due:
            self._due = self._now() + self._every
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; nothing about anybody in view belongs in it."""
        self._send(*_status(text))

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if self._address is None or not lines:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(SECONDS)
            line.sendto("\n".join(lines).encode(), self._address)


NOBODY: Final = Notify()


def from_environment(environment: Mapping[str, str] = os.environ) -> Notify:
    """The line that systemd has given to this process; to nobody where it has given none.

    ``WATCHDOG_PID`` says whom the watchdog is for: a child that inherits the variables is not meant.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return Notify()
    microseconds = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    watched = ours and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
    return Notify(address, int(microseconds) / 1e6 if watched else None)


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()
