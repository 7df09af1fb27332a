"""From observations to reports: tracks, windows, the gate. What ``device/watch.py`` drives with a camera."""

from __future__ import annotations

import secrets
from dataclasses import replace
from fractions import Fraction
from functools import partial

from structlog.typing import FilteringBoundLogger

from device import health
from device.care import Care
from device.clock import Clock
from device.contract import Envelope, Health, ModelHashes, Report, Trouble, utc
from device.errors import SpoolError
from device.ledger import Ledger
from device.noise import discrete_laplace
from device.outbox import Outbox
from device.privacy import Circumstances, Gate, PrivacyError, Terms
from device.reload import Run
from device.settings import Settings
from device.tracks import UNKNOWN_BELOW, Tracks
from device.types import Observation
from device.window import Window, Windows


class Watcher:
    """From observations to reports: what a watching process remembers between two frames."""

    def __init__(
        self,
        settings: Settings,
        models: ModelHashes,
        clock: Clock,
        outbox: Outbox,
        log: FilteringBoundLogger,
        *,
        ledger: Ledger | None = None,
        unknown_below: float = UNKNOWN_BELOW,
        run: Run | None = None,
        standing: Trouble | None = None,
        care: Care | None = None,
    ) -> None:
        self._settings = settings
        self._models = models
        self._clock = clock
        self._outbox = outbox
        self._log = log
        self._tracks = Tracks(unknown_below)
        self._emotion = "emotion" in settings.policy.decided.may
        self._windows = Windows(settings.window_seconds, 1 / settings.camera.fps)
        self._ledger = ledger
        self._gate = gate(settings, ledger)
        self._run = run or Run()
        self._told = float("-inf")
        self._standing = standing  # what was wrong from the beginning: for as long as this run lasts
        self._trouble: Trouble | None = "budget" if ledger and ledger.damage else None
        self._blind: Trouble | None = None  # why nothing can be seen
        self._care = care
        self._lowered = False  # in this window, or before it and still

    def see(self, seen: Observation, *, idle: bool = False) -> None:
        """Take in one frame's numbers; publish the windows that it ends. One that ends the run is not counted any more."""
        if self._blind != "dark":  # a light that goes on is told when the window is over: somebody may have come
            self._blind = None
        self._end(seen.taken_at, saw=True)
        if self._run.over:
            return
        if self._care is not None:
            self._windows.pace(1 / self._care.rate)
            self._lowered |= self._care.lowered
        self._windows.frame(seen.taken_at, idle=idle)
        self._tracks.see(seen)
        self.tell()

    def idle(self, now: float) -> None:
        """Nobody consents: time passes as if nobody were in view, so that no figure but the noised ones tells of it."""
        self.see(Observation(now, 1.0, ()), idle=True)

    def rest(self, now: float) -> None:
        """Watching is paused; publish the windows that end meanwhile."""
        self._end(now, saw=False)
        if not self._run.over:
            self._windows.rest(now)
        self.tell()

    def blind(self, now: float, why: Trouble) -> None:
        """Nothing can be seen, so nothing is counted; publish the windows that end meanwhile."""
        dark = why == "dark"
        self._end(now, saw=dark)
        if not self._run.over and dark:
            self._windows.frame(now, dark=True)
        elif not self._run.over:
            self._windows.blind(now)
        if not dark or not self._windows.seen:  # neither is it told within a window that it has become dark
            self._blind = why
        self.tell()

    def finish(self) -> None:
        """Publish the window that has begun; its coverage says that it was cut short."""
        if over := self._windows.finish():
            self._publish(over, last=True)
        else:
            self._put(self._gate.end(self._outbox.next_seq))

    def tell(self, trouble: Trouble | None = None) -> None:
        """Write the health file: on its schedule, and at once when watching ends with a trouble."""
        now = self._clock.now()
        if trouble is None and now - self._told < health.EVERY:
            return
        trouble = trouble or ("disk" if self._outbox.stuck else self._blind or self._trouble or self._standing)
        state: Health = "degraded" if trouble else "ok"
        machine = self._care.machine if self._care else None
        found = health.WatchHealth(at=now, health=state, trouble=trouble, models=self._models, machine=machine)
        try:
            health.write(self._settings.run_folder, found)
        except SpoolError as error:
            self._log.warning(str(error))
        self._told = now

    def _end(self, now: float, *, saw: bool) -> None:
        """Publish the windows that are over; at the end of one, the run is over if anybody wants another, or it is too large."""
        self._run.tick(self._clock.now(), saw=saw)
        while not self._run.over and (over := self._windows.due(now)):
            too_large = self._care is not None and self._care.too_large
            self._publish(over, last=self._run.wanted or too_large)
            self._run.over = (self._run.wanted or too_large) and not self._outbox.stuck  # what waits for the disk must not be lost
            if self._run.over and too_large and self._care is not None:
                self._care.worn = True

    def _publish(self, window: Window, *, last: bool = False) -> None:
        counts = self._tracks.close_window()
        window.counts = counts.cells if self._emotion else {"unknown": sum(counts.cells.values())}
        window.opted_out = counts.opted_out
        circumstances = Circumstances(
            seq=self._outbox.next_seq,
            start=self._clock.utc(window.start),
            boot=self._clock.boot,
            synced=self._clock.synced(),
            models=self._models,
            throttled=self._lowered,
            last=last,
        )
        self._lowered = False
        if self._blind == "dark":
            self._blind = None
        try:
            reports = self._gate.release(window, circumstances)
        except PrivacyError as error:
            self._trouble = "privacy"
            self._log.error(str(error))
            return
        self._trouble = None
        if self._ledger and self._ledger.refusal:
            self._trouble = "budget"
            self._log.warning(self._ledger.refusal)
        self._put(reports)

    def _put(self, reports: tuple[Report, ...]) -> None:
        for report in reports:
            self._outbox.put(Envelope(time=utc(self._clock.utc(self._clock.now())), report=report))


def gate(settings: Settings, ledger: Ledger | None) -> Gate:
    """The way out that these settings ask for; with noise, nothing passes it that the ledger has not been charged for."""
    policy = settings.policy.decided
    terms = Terms(settings.k, settings.noise, policy=policy.id, emotion="emotion" in policy.may)
    if settings.noise == "off" or ledger is None:
        return Gate(terms)
    terms = replace(terms, epsilon=Fraction(settings.epsilon_window), max_hold=settings.max_hold)
    return Gate(terms, charge=ledger.charge, noise=partial(discrete_laplace, below=secrets.randbelow))
