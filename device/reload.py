"""What may change a watching process while it runs: settings, models, a restart. One run ends at a window's end, the next begins.

Nothing is patched into a run that stands: ``watch`` closes all of it and opens it anew, in the same process, with what everybody
who is asked here wants. A run that fails before it has worked is what one of them must answer for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from device.errors import MienError
from device.settings import Settings

POLL_EVERY: Final = 1.0  # seconds between two questions


class Change(Protocol):
    """Somebody who may want the next run to be another one: the twin, a rollout, a command."""

    def before(self, settings: Settings) -> Settings:
        """A run is about to begin: what it is to run with, made from what the file says and those asked before have made of it."""
        ...

    def wants(self, now: float) -> bool:
        """Asked once a second: should this run end with its window?"""
        ...

    def trying(self) -> bool:
        """Whether this run tries something that may be to blame if it never works: then it does not wait for a camera."""
        ...

    def works(self) -> None:
        """Said once: this run has read a frame, or would if anybody consented."""
        ...

    def failed(self, error: MienError) -> bool:
        """The run has ended with this. Returns whether something was taken back, so that another run is worth a try."""
        ...


class Run:
    """One run, as seen by those who may change it.

    Args:
        changes: Whom to ask.

    Attributes:
        wanted: Whether it should end with its window.
        over: Whether its last window has ended.
    """

    def __init__(self, changes: Sequence[Change] = ()) -> None:
        self._changes = changes
        self._asked = float("-inf")
        self._works = False
        self.wanted = False
        self.over = False

    @property
    def trying(self) -> bool:
        """Whether it tries something, and has not worked yet."""
        return not self._works and any(change.trying() for change in self._changes)

    def tick(self, now: float, *, saw: bool) -> None:
        """Time has passed; ``saw``: a frame was read, or nobody consents to that, not only rest kept in a pause."""
        if saw and not self._works:
            self._works = True
            for change in self._changes:
                change.works()
        if now - self._asked >= POLL_EVERY:
            self._asked = now
            wishes = [change.wants(now) for change in self._changes]  # everybody is asked
            self.wanted = any(wishes)


def run_again(
    settings: Settings, changes: Sequence[Change], once: Callable[[Settings, Run], None], stopping: Callable[[], bool]
) -> None:
    """One run after the other, until one ends that nobody wanted to end, or until told to stop.

    Args:
        settings: What the file says.
        changes: Who may want something else, the most important one last.
        once: One run; returns once ``Run.over`` is set, when there is nothing left to watch, or when told to stop.
        stopping: Whether to stop.

    Raises:
        MienError: A run failed, and nobody has taken anything back.
    """
    while not stopping():
        wanted = settings
        for change in changes:
            wanted = change.before(wanted)
        run = Run(changes)
        try:
            once(wanted, run)
        except MienError as error:
            taken_back = [change.failed(error) for change in changes]  # everybody is told
            if not any(taken_back):
                raise
        else:
            if not run.over:
                return
