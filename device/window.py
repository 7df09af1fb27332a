"""People and time → windows of fixed length. Pure: the clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from device.contract import CELLS, Cell

GAP: Final = 1.0  # seconds without a frame that count as watched all the same: reading many faces may take so long


@dataclass(slots=True)
class Window:
    """What was true in one stretch of time, before any privacy rule: never leaves the process.

    Attributes:
        start: Seconds on the camera's clock.
        seconds: Its fixed length; less in one that watching stopped in before anything was seen.
        counts: People per cell, each person once.
        frames: How many frames were read in it.
        dark: How many of them were black, and so was every other one for long before.
        watched: Seconds of it in which frames came.
        pauses: How often watching was paused in it; a pause that goes on from before counts.
        carried: Whether it began in such a pause.
        opted_out: How many people said no with a card.
    """

    start: float
    seconds: int
    counts: dict[Cell, int] = field(default_factory=lambda: dict.fromkeys(CELLS, 0))
    frames: int = 0
    watched: float = 0.0
    pauses: int = 0
    carried: bool = False
    opted_out: int = 0
    dark: int = 0

    @property
    def end(self) -> float:
        return self.start + self.seconds

    @property
    def coverage(self) -> float:
        """Share of the time with frames, 0 to 1; 0 where nothing could be seen in any."""
        return min(1.0, self.watched / self.seconds) if self.seen else 0.0

    @property
    def seen(self) -> bool:
        """Whether anything could be seen in some of it.

        Where it could, dark time counts as watched: else the coverage would tell when a light went on.
        """
        return self.frames > self.dark

    @property
    def paused(self) -> bool:
        """Whether nothing was looked at in all of it, because it was paused."""
        return not self.seen and self.pauses > 0

    @property
    def unwatched(self) -> bool:
        """Whether nothing could be seen in all of it: no camera worked, or it was dark."""
        return not self.seen and self.pauses == 0

    @property
    def fps(self) -> float:
        """Frames per second while frames came."""
        return self.frames / self.watched if self.seen and self.watched > 0 else 0.0

    def erase(self) -> None:
        """Forget the counts; called as soon as the rules have seen them."""
        for cell in self.counts:
            self.counts[cell] = 0
        self.opted_out = 0

    def joined(self, later: Window) -> Window:
        """The stretch of time of two windows, one after the other, without any count; a pause across both is one."""
        return Window(
            self.start,
            self.seconds + later.seconds,
            frames=self.frames + later.frames,
            watched=self.watched + later.watched,
            pauses=self.pauses + later.pauses - later.carried,
            carried=self.carried,
            dark=self.dark + later.dark,
        )


class Windows:
    """Cuts time into windows, one after the other, from the first frame on, or the first that might have been.

    Args:
        seconds: Length of a window.
        frame_seconds: How long one frame stands for; time in a gap of more than two of them, and more than ``GAP``, was not
            watched.
    """

    def __init__(self, seconds: int, frame_seconds: float) -> None:
        self._seconds = seconds
        self._frame_seconds = frame_seconds
        self._gap = max(2 * frame_seconds, GAP)
        self._last = 0.0  # when the last frame was taken; means nothing before the first
        self._heard = 0.0  # when anything was last heard: a frame, that there is none, a pause
        self._current: Window | None = None
        self._resting = self._idle = False

    def due(self, now: float) -> Window | None:
        """The next window that is over at ``now``, or ``None``; to be called until it is ``None``."""
        over = self._current
        if over is None or now < over.end:
            return None
        over.watched += self._watched(now, over.start, over.end)
        self._current = Window(over.end, self._seconds, pauses=int(self._resting), carried=self._resting)
        return over

    def frame(self, now: float, *, idle: bool = False, dark: bool = False) -> None:
        """Count a frame taken at ``now``, in the window that ``due`` has left open.

        Args:
            idle: It stands for one that was not taken, because nobody consents. Until the next one all time counts as watched: how
                long a camera takes to open would tell how often somebody consented.
            dark: It is black, and so was every other one for long before.
        """
        if self._current is None:
            self._current, self._last = Window(now, self._seconds), now
        self._current.watched += self._watched(now, self._current.start, now)
        self._current.frames += 1
        self._current.dark += dark
        self._last, self._heard, self._resting, self._idle = now, now, False, idle

    def blind(self, now: float) -> None:
        """Nothing can be seen at ``now``, in the window that ``due`` has left open."""
        if self._current is None:
            self._current, self._last = Window(now, self._seconds), float("-inf")
        self._heard, self._resting, self._idle = now, False, False

    @property
    def seen(self) -> bool:
        """Whether anything could be seen in the window that has begun."""
        return self._current is not None and self._current.seen

    def pace(self, frame_seconds: float) -> None:
        """From now on one frame stands for so long."""
        self._frame_seconds, self._gap = frame_seconds, max(2 * frame_seconds, GAP)

    def rest(self, now: float) -> None:
        """Watching is paused at ``now``, in the window that ``due`` has left open."""
        if self._current is None:
            self._current, self._last = Window(now, self._seconds), float("-inf")
        self._current.pauses += not self._resting
        self._heard, self._resting, self._idle = now, True, False

    def finish(self) -> Window | None:
        """The window that has begun, if there is anything to say of it: watching stops before its end.

        Where something was seen, its coverage says that it was cut short. Where nothing was, that is 0 anyway, so the window is as
        long as it lasted, to the second; ``None`` when that was less than one.
        """
        over, self._current = self._current, None
        if over is None:
            return None
        if not over.seen:
            over.seconds = min(over.seconds, int(self._heard - over.start))  # less than 0 where nothing was heard in it
            return over if over.seconds > 0 else None
        over.watched = min(over.watched + self._frame_seconds, float(self._seconds))
        return over

    def _watched(self, now: float, start: float, end: float) -> float:
        """Seconds between ``start`` and ``end`` that belong to an unbroken run of frames up to ``now``."""
        return max(0.0, end - max(self._last, start)) if self._idle or now - self._last <= self._gap else 0.0
