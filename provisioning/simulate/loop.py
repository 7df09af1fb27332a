"""Many simulated devices in one thread: their connections, their clocks, and nothing else."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from math import inf
from random import Random
from secrets import token_hex
from typing import Final

from device.enroll import Who
from provisioning.simulate.acts import Act, Close, Open, Publish, Tell
from provisioning.simulate.device import SimulatedDevice
from provisioning.simulate.link import Address, Came, Happening, Link, Stands, Taken

LONGEST_SLEEP: Final = 0.5  # seconds
ROUNDS: Final = 5  # so many seconds between two looks of one connection at the clock


class Loop:
    """The selector and the timers of these devices.

    Args:
        devices: Each its own connection.
        address: Of the broker.
        context: Makes a TLS context for a device as somebody.
        tell: Is told what is counted.
    """

    def __init__(
        self,
        devices: Sequence[SimulatedDevice],
        address: Address,
        context: Callable[[SimulatedDevice, Who], ssl.SSLContext],
        tell: Callable[[Tell], None],
    ) -> None:
        self.devices, self._address, self._context, self._tell = devices, address, context, tell
        self._selector = selectors.DefaultSelector()
        self._links: dict[int, Link] = {}
        self._registered: dict[int, tuple[socket.socket, int]] = {}
        self._timers: list[tuple[float, int]] = []
        self._set_for = [inf] * len(devices)
        self._round = 0
        self._next_round = 0.0

    def switch_on(self, spread: float, rng: Random) -> None:
        """Begin, with each device at some moment in so many seconds."""
        now = time.monotonic()
        self._unborn = {number: now + rng.uniform(0, spread) for number in range(len(self.devices))}
        for number, at in self._unborn.items():
            self._set(number, at)

    def listen(self, file: int, heard: Callable[[], None]) -> None:
        """Also call ``heard`` when there is something to read in a file."""
        self._selector.register(file, selectors.EVENT_READ, heard)

    def step(self) -> None:
        """Do what is due; waits half a second at most."""
        wait = min(LONGEST_SLEEP, self._timers[0][0] - time.monotonic()) if self._timers else LONGEST_SLEEP
        for key, mask in self._selector.select(max(0.0, wait)):
            if isinstance(key.data, int):
                self._wire(key.data, mask)
            else:
                key.data()
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._timer(heappop(self._timers)[1])
        if time.monotonic() >= self._next_round:
            self._next_round = time.monotonic() + 1.0
            self._round = (self._round + 1) % ROUNDS
            for number in [one for one in self._links if one % ROUNDS == self._round]:
                self._links[number].look_at_the_clock()
                self._settle(number)

    def do(self, number: int, acts: Sequence[Act]) -> None:
        """What a device wants done."""
        for act in acts:
            match act:
                case Publish():
                    if number in self._links:
                        self._links[number].publish(act)
                case Open():
                    self._open(number, act)
                case Close(abrupt):
                    self._close(number, abrupt=abrupt)
                case Tell():
                    self._tell(act)
        self._settle(number)

    def _open(self, number: int, what: Open) -> None:
        self._close(number, abrupt=False)
        device = self.devices[number]
        link = Link(f"sim-{token_hex(8)}", self._context(device, what.who), what)
        if link.connect(self._address):
            self._links[number] = link
        else:
            self.do(number, device.disconnected(time.monotonic(), None, "no connection"))

    def _close(self, number: int, *, abrupt: bool) -> None:
        link = self._links.pop(number, None)
        self._forget(number)
        if link is not None:
            if abrupt:
                link.cut()
            else:
                link.close()

    def _wire(self, number: int, mask: int) -> None:
        link = self._links.get(number)
        if link is not None and (link.shaking or mask & selectors.EVENT_READ):
            for happening in link.read():
                if self._links.get(number) is link:  # else the device has ended it
                    self._happened(number, happening)
        link = self._links.get(number)
        if link is not None and mask & selectors.EVENT_WRITE:
            link.write()
        self._settle(number)

    def _happened(self, number: int, happening: Happening) -> None:
        device, now = self.devices[number], time.monotonic()
        match happening:
            case Stands():
                self.do(number, device.connected(now))
            case Came(topic, payload, request):
                self.do(number, device.received(now, topic, payload, request))
            case Taken(token):
                self.do(number, device.delivered(token))

    def _settle(self, number: int) -> None:
        """After anything that may have changed a connection: what is to be watched, and when to wake."""
        link = self._links.get(number)
        if link is not None:
            link.write()
            wire = link.wire
            if wire is None:
                del self._links[number]
                self._forget(number)
                stood = None if link.stood_since is None else time.monotonic() - link.stood_since
                self.do(number, self.devices[number].disconnected(time.monotonic(), stood, "the connection ended"))
                return
            self._watch(number, wire, selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_to_write else 0))
        self._set(number, self.devices[number].wake)

    def _watch(self, number: int, wire: socket.socket, mask: int) -> None:
        before = self._registered.get(number)
        if before == (wire, mask):
            return
        if before is not None and before[0] is wire:
            self._selector.modify(wire, mask, number)
        else:
            self._forget(number)
            self._selector.register(wire, mask, number)
        self._registered[number] = (wire, mask)

    def _forget(self, number: int) -> None:
        if (before := self._registered.pop(number, None)) is not None:
            with suppress(KeyError, ValueError):  # it is closed already
                self._selector.unregister(before[0])

    def _set(self, number: int, at: float) -> None:
        if at < self._set_for[number]:
            self._set_for[number] = at
            heappush(self._timers, (at, number))

    def _timer(self, number: int) -> None:
        device, now = self.devices[number], time.monotonic()
        self._set_for[number] = inf
        if (begins := self._unborn.get(number)) is not None:
            if begins <= now:
                del self._unborn[number]
                self.do(number, device.begin(now))
        elif device.wake <= now:
            self.do(number, device.due(now))
        else:
            self._set(number, device.wake)
