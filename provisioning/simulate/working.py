"""What a simulated device does once it has an identity: it says that it is there, reports, and obeys. Pure.

What the broker has not confirmed is sent again on the next connection, as the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf
from random import Random
from typing import Final

from device.contract import topic
from provisioning.simulate import messages
from provisioning.simulate.acts import Act, Open, Publish, Tell
from provisioning.simulate.habits import Habits
from provisioning.simulate.obey import Request, Servant

UNCONFIRMED: Final = 10  # reports on their way at once, as in ``mien send``


class Working:
    """One device at work.

    Args:
        name: Of the device.
        habits: Of all devices.
        rng: Of this device.
        utc: The time that reports name.
        now: When it begins.

    Attributes:
        made: Reports made so far.
        waiting: Reports that the broker has not confirmed: seq → payload.
    """

    def __init__(self, name: str, habits: Habits, rng: Random, utc: Callable[[], datetime], now: float) -> None:
        self._name, self._habits, self._rng, self._utc = name, habits, rng, utc
        self._servant = Servant(rng, breaks=rng.random() < habits.bad_models)
        self._session = ""
        self._on_the_way: set[int] = set()
        self._status_at = inf
        self._report_at = now + rng.uniform(0, habits.report_every)
        self._connected = self._cut = False
        self.made = 0
        self.waiting: dict[int, bytes] = {}

    @property
    def wake(self) -> float:
        """When ``due`` wants to be called."""
        return min(self._report_at, self._status_at, self._servant.wake) if self._connected else self._report_at

    def open(self) -> Open:
        """The connection of ``mien send``, with its last will."""
        self._session = f"{self._rng.getrandbits(32):08x}"
        return Open("device", tuple(topic(self._name, one) for one in self._servant.listens), self._status("lost"))

    def connected(self, now: float) -> list[Act]:
        how, self._cut = "back" if self._cut else "connected", False
        self._connected, self._status_at = True, now
        self._on_the_way.clear()
        self._servant.connected(now)
        return [Tell(how, now), *self.due(now)]

    def disconnected(self, *, powerless: bool = False) -> list[Act]:
        """There is no connection; ``powerless``: since the device itself is off."""
        was, self._connected = self._connected, False
        if not was:
            return []
        self._cut = self._cut or not powerless
        return [Tell("failed" if powerless else "cut")]

    def off(self, seconds: float) -> None:
        """Nobody watches for so long."""
        self._report_at += seconds

    def received(self, now: float, name: str, payload: bytes, request: Request) -> list[Act]:
        """A message came down."""
        own = topic(self._name, "")
        told = self._servant.receive(now, name.removeprefix(own), payload, request) if name.startswith(own) else ()
        return [*told, *self.due(now)]

    def delivered(self, token: int) -> list[Act]:
        """The broker has the report with this number."""
        if token not in self._on_the_way:
            return []
        self._on_the_way.discard(token)
        self.waiting.pop(token, None)
        return [Tell("delivered"), *self._reports()]

    def due(self, now: float) -> list[Act]:
        """Make and send whatever is due."""
        acts: list[Act] = []
        if now >= self._report_at:
            acts.append(self._make_report(now))
        if not self._connected:
            return acts
        if now >= self._status_at:
            self._status_at = now + self._habits.status_every
            acts.append(self._status("online"))
        for said in self._servant.due(now):
            to = topic(self._name, f"up/{said.name}")
            acts += [Publish(to, said.payload, 0, said.retain, said.expiry, said.correlation), Tell("answer")]
        return [*acts, *self._reports()]

    def stop(self) -> None:
        """Make no more reports."""
        self._report_at = inf

    def farewell(self) -> list[Act]:
        """The last message of a clean end."""
        return [self._status("offline")] if self._connected else []

    def _make_report(self, now: float) -> Tell:
        self._report_at = max(now, self._report_at + self._habits.report_every)
        self.made += 1
        seconds = max(1, round(self._habits.report_every))
        start, paused = self._utc() - timedelta(seconds=seconds), now < self._servant.paused_until
        self.waiting[self.made] = messages.report(self.made, start, seconds, self._rng, paused=paused)
        return Tell("made")

    def _reports(self) -> list[Act]:
        wanted = [seq for seq in self.waiting if seq not in self._on_the_way][: UNCONFIRMED - len(self._on_the_way)]
        self._on_the_way.update(wanted)
        return [Publish(topic(self._name, "up/report"), self.waiting[seq], seq) for seq in wanted]

    def _status(self, state: messages.State) -> Publish:
        return Publish(topic(self._name, "up/status"), messages.status(state, self._session, len(self.waiting)), retain=True)
