"""One simulated device, and the fate of its connection: events in, acts out. Pure: time, randomness and keys are arguments.

It enrols (``boarding``), then works (``working``), and between two attempts to connect it waits as a device waits
(``device.backoff``). From time to time its power goes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from math import inf
from random import Random

from device.backoff import Backoff
from provisioning.simulate.acts import Act, Close, Open
from provisioning.simulate.boarding import Boarding, Key
from provisioning.simulate.habits import Habits
from provisioning.simulate.obey import Request
from provisioning.simulate.working import Working


def _utc() -> datetime:
    return datetime.now(timezone.utc)


class SimulatedDevice:
    """One device.

    Args:
        serial: As on the fleet's list.
        boarding: How it enrols; see ``device``.
        habits: Of all devices.
        rng: Of this device.
        utc: The time that reports name.

    Attributes:
        work: What it does once it is enrolled; ``None`` until then.
    """

    def __init__(self, serial: str, boarding: Boarding, habits: Habits, rng: Random, *, utc: Callable[[], datetime] = _utc) -> None:
        self.serial, self._boarding, self._habits, self._rng, self._utc = serial, boarding, habits, rng, utc
        self.work: Working | None = None
        self._open = self._connected = False
        self._retry_at = self._fail_at = inf
        self._waits = self._new_waits()

    @property
    def name(self) -> str | None:
        return self._boarding.name

    @property
    def certificate(self) -> str:
        return self._boarding.certificate

    @property
    def wake(self) -> float:
        """When ``due`` wants to be called, in seconds on the clock of all ``now``; ``inf`` for never."""
        stage = self.work.wake if self.work else self._boarding.wake if self._open else inf
        return min(stage, self._retry_at, self._fail_at if self._connected else inf)

    def begin(self, now: float) -> list[Act]:
        """Switched on, for the first time."""
        return self._follow(self._boarding.begin(now), now)

    def connected(self, now: float) -> list[Act]:
        """The connection stands, and the topics are asked for."""
        self._connected = True
        return self.work.connected(now) if self.work else self._follow(self._boarding.connected(now), now)

    def disconnected(self, now: float, stood: float | None, reason: str) -> list[Act]:
        """The connection that was asked for could not be made (``stood`` is None), or has ended after so many seconds."""
        self._open = self._connected = False
        self._retry_at = now + self._waits.after(stood)
        return self.work.disconnected() if self.work else self._follow(self._boarding.disconnected(now, reason), now)

    def received(self, now: float, topic: str, payload: bytes, request: Request) -> list[Act]:
        """A message came down."""
        if self.work:
            return self.work.received(now, topic, payload, request)
        return self._follow(self._boarding.received(now, topic, payload), now)

    def delivered(self, token: int) -> list[Act]:
        """The broker has the message with this token."""
        return self.work.delivered(token) if self.work else []

    def due(self, now: float) -> list[Act]:
        """It is ``wake``."""
        acts: list[Act] = []
        if not self._open and now >= self._retry_at:
            acts = self._follow([self.work.open() if self.work else self._boarding.open()], now, again=True)
        elif self._connected and now >= self._fail_at:
            return self._fail(now)
        if self.work:
            return [*acts, *self.work.due(now)]
        if self._open and now >= self._boarding.wake:
            return [*acts, *self._follow(self._boarding.due(now), now)]
        return acts

    def stop(self) -> None:
        """Make no more reports, and have no more power cuts."""
        self._fail_at = inf
        if self.work:
            self.work.stop()

    def farewell(self) -> list[Act]:
        """The clean end."""
        return [*(self.work.farewell() if self.work else ()), Close()]

    def _fail(self, now: float) -> list[Act]:
        """The power goes, and comes back."""
        away = self._rng.uniform(0, self._habits.away)
        self._open = self._connected = False
        self._waits, self._retry_at, self._fail_at = self._new_waits(), now + away, self._habits.next_failure(now, self._rng)
        assert self.work is not None
        self.work.off(away)
        return [*self.work.disconnected(powerless=True), Close(abrupt=True)]

    def _follow(self, acts: list[Act], now: float, *, again: bool = False) -> list[Act]:
        """Notice what the enrolment wants: another connection, or that it is done."""
        if self.work is None and self._boarding.done:
            self.work = Working(self.name or "", self._habits, self._rng, self._utc, now)
            self._fail_at = self._habits.next_failure(now, self._rng)
            acts = [*acts, self.work.open()]
        if any(isinstance(act, Open) for act in acts):
            self._open, self._connected, self._retry_at = True, False, inf
            self._waits = self._waits if again else self._new_waits()
        return acts

    def _new_waits(self) -> Backoff:
        return Backoff(self._habits.longest_wait, self._rng.uniform)


def device(serial: str, key: Key, *, claim: str, authority: bytes, habits: Habits, seed: str) -> SimulatedDevice:
    """A device as it leaves the factory.

    Args:
        serial: As on the fleet's list.
        key: Its own.
        claim: The name of the claim that it has.
        authority: The root certificate, PEM.
        habits: Of all devices.
        seed: Makes the same device again.
    """
    rng = Random(seed)  # noqa: S311 (no secret)
    return SimulatedDevice(serial, Boarding(serial, key, claim, authority, rng), habits, rng)
