"""What comes down to the sending process, subject by subject.

A subject (commands, settings, models) is one ``Handler``; ``device/handlers.py`` lists them. A handler runs in the loop of
``device/send.py``, never blocks, and does no more than to check what came and to leave it in the inbox: what becomes of it is
decided by the watching process, which trusts nothing that it finds there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from device.clock import Clock
from device.publishers import Message, Received
from device.settings import Settings


class Handler:
    """One subject; what is not overridden does nothing.

    Attributes:
        listens: Topics below ``mien/v1/{device}/``, such as ``down/twin`` or ``down/command/+``.
    """

    listens: tuple[str, ...] = ()

    def receive(self, name: str, message: Received) -> None:
        """A message came on one of these topics; ``name`` is what follows ``mien/v1/{device}/``."""

    def due(self, now: float) -> list[Message]:
        """What is to be published now; asked several times a second while connected. ``now`` is monotonic, seconds."""
        del now
        return []

    def connected(self) -> None:
        """A new connection: say again what is retained, and what was never confirmed."""

    def tick(self, now: float) -> bool:
        """Time has passed; asked several times a second, also without a connection. Returns whether to connect anew."""
        del now
        return False

    @property
    def busy(self) -> bool:
        """Whether ``send --once`` is to wait for this, for some seconds."""
        return False

    def close(self) -> None:
        """The process ends, or connects anew."""

    def delivered(self, message: Message) -> None:
        """The broker has taken this message of ``due``. Without this, it may or may not have."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may use.

    Attributes:
        flush: Sends now what waits, whatever it waits for.
        flushed: Whether that is done (``True``), not yet (``False``), or why it cannot be done now (words).
    """

    settings: Settings
    clock: Clock
    log: FilteringBoundLogger
    flush: Callable[[], None]
    flushed: Callable[[], bool | str]


def matches(listens: str, name: str) -> bool:
    """Whether a topic is one of those that a handler listens to; ``+`` stands for one level, a last ``#`` for any number."""
    wanted, levels = listens.split("/"), name.split("/")
    if wanted[-1] == "#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(wanted) == len(levels) and all(w in ("+", have) for w, have in zip(wanted, levels, strict=True))
