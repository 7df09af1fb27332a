"""A bad network between a device and its broker: slow, narrow, stalling, cutting, silent, or holding some packets back.

Everything can be changed while it runs. What TCP does about a lost segment is that everything behind it comes late; so does this.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final

CHUNK: Final = 4096
CONNACK, PUBACK, SUBACK = 2, 4, 9  # MQTT 5.0, 2.1.2


class Proxy:
    """Carries bytes between whoever connects and a port of this machine; ``with Proxy(port) as proxy`` runs it in a thread.

    Attributes:
        delay: Seconds that each byte takes, one way.
        rate: Bytes a second, each way; ``None`` is as fast as it goes.
        stall: How probable it is that a piece comes late by 0.2 to 1 second, like after a lost segment.
        cut_after: A connection is cut after so many bytes of an answer, drawn between these two; ``None``: never.
        silent: Takes everything, passes nothing on, and says nothing.
        refusing: Ends each new connection at once.
        hold: Types of MQTT packets from the broker that are kept back, with all that follows.
        lose: Types of MQTT packets from the broker that are lost, alone.
        held: How many packets were kept back or lost.
        cuts: How many connections were cut.
        connections: How many were made.
    """

    def __init__(self, port: int, seed: int = 1) -> None:
        self.delay = self.stall = 0.0
        self.rate: float | None = None
        self.cut_after: tuple[int, int] | None = None
        self.silent = self.refusing = False
        self.hold: frozenset[int] = frozenset()
        self.lose: frozenset[int] = frozenset()
        self.held = self.cuts = self.connections = 0
        self._to = port
        self._dice = random.Random(seed)
        self._ways: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection now."""
        self._run(self._cut())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    # In the thread

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._ways |= {writer, back}
        self.connections += 1
        both = (self._carry(reader, back, answers=False), self._carry(there, writer, answers=True))
        tasks = [self._loop.create_task(one) for one in both]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for way in (writer, back):
            way.transport.abort()
            self._ways.discard(way)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        """One way, until it ends."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)
        writing = self._loop.create_task(self._write(late, writer))
        last, budget, packets = 0.0, self._draw() if answers else None, Packets()
        try:
            while data := await reader.read(CHUNK):
                if self.silent:
                    continue
                if answers:
                    data, kept = packets.without(data, self.hold, self.lose)
                    self.held += kept
                now = self._loop.time()
                took = len(data) / self.rate if self.rate else 0.0
                stalled = self._dice.uniform(0.2, 1.0) if self._dice.random() < self.stall else 0.0
                last = max(now, last) + took + stalled  # nothing overtakes
                await late.put((last + self.delay, data))
                if budget is not None and (budget := budget - len(data)) < 0:
                    self.cuts += 1
                    return
        except OSError:
            pass
        finally:
            writing.cancel()
            while self.silent:  # noqa: ASYNC110 (set by another thread); not even an end is passed on
                await asyncio.sleep(0.05)
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                due, data = await late.get()
                if (wait := due - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass

    def _draw(self) -> int | None:
        return None if self.cut_after is None else self._dice.randint(*self.cut_after)

    async def _cut(self) -> None:
        for way in self._ways:
            way.transport.abort()

    async def _end(self) -> None:
        self.silent = False
        self._server.close()
        await self._cut()
        await asyncio.gather(*self._connections, return_exceptions=True)


class Packets:
    """MQTT packets in a stream (MQTT 5.0, 2.1.1): what kind, and where each ends."""

    def __init__(self) -> None:
        self._left = b""
        self._holding = False

    def without(self, data: bytes, held: frozenset[int], lost: frozenset[int]) -> tuple[bytes, int]:
        """The bytes up to the first packet to be held, without those to be lost; and how many of both came."""
        self._left += data
        passed, kept = b"", 0
        while (length := self._whole()) is not None:
            packet, self._left = self._left[:length], self._left[length:]
            kind = packet[0] >> 4
            self._holding |= kind in held
            kept += kind in held | lost
            passed += b"" if self._holding or kind in lost else packet
        return passed, kept

    def _whole(self) -> int | None:
        """Bytes of the first packet, when all of it is here."""
        size = 0
        for place, byte in enumerate(self._left[1:5]):
            size |= (byte & 0x7F) << 7 * place
            if not byte & 0x80:
                total = 2 + place + size
                return total if len(self._left) >= total else None
        return None
