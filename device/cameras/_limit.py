"""How often a camera hands out a frame, and how long anybody waits for a driver."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

from device.errors import CameraError

T = TypeVar("T")


class Pace:
    """Chooses, from frames that arrive as they like, those that keep a steady rate.

    Args:
        fps: Frames per second to let through, on average and at most.
        slack: How much too early a frame may be, in seconds; without it, a quarter of the time between two frames,
            so that a camera that runs at just this rate, with its jitter, loses none.
    """

    def __init__(self, fps: float, slack: float | None = None) -> None:
        self._step = 1 / fps
        self._slack = self._step / 4 if slack is None else min(slack, self._step / 4)
        self._next: float | None = None

    def due(self, time: float) -> bool:
        """Whether the frame taken at this time, in seconds, is to be handed out; if so, the next one is due a step later."""
        if self._next is None:
            self._next = time
        if time < self._next - self._slack - 1e-6:
            return False
        self._next = max(self._next, time - self._step / 2) + self._step  # after a gap, no burst to catch up
        return True


class _Call(Generic[T]):
    """One call in a thread of its own, whose result is either fetched in time or undone."""

    def __init__(self, action: Callable[[], T], undo: Callable[[T], object]) -> None:
        self._action = action
        self._undo = undo
        self._lock = Lock()
        self._given_up = False
        self._outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        Thread(target=self._run, daemon=True, name="camera call").start()

    def _run(self) -> None:
        try:
            result = self._action()
        except BaseException as error:  # it is raised again by whoever waits
            self._outcome.put((None, error))
            return
        with self._lock:
            if not self._given_up:
                self._outcome.put((result, None))
                return
        self._undo(result)

    def wait(self, seconds: float) -> tuple[T | None, BaseException | None]:
        """Result or error. Raises Empty after the time limit; the result is then undone when it comes."""
        try:
            return self._outcome.get(timeout=seconds)
        except Empty:
            with self._lock:
                if self._outcome.empty():
                    self._given_up = True
                    raise
            return self._outcome.get()


def within(seconds: float, action: Callable[[], T], undo: Callable[[T], object], complaint: str) -> T:
    """Call a driver that may hang, for at most so many seconds.

    The call runs in a daemon thread. When time is up that thread is left behind; should it ever come back with a result,
    ``undo`` lets go of it.

    Raises:
        CameraError: Time is up; ``complaint`` is its message.
        BaseException: Whatever ``action`` raised.
    """
    try:
        result, error = _Call(action, undo).wait(seconds)
    except Empty:
        raise CameraError(complaint) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # no error: this is what action returned, be it None
