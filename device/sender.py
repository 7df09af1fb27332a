"""What the sending process publishes, keeps and says: events in, messages out.

A report leaves the spool only when it is known to be stored elsewhere: by the broker (PUBACK), or by a collector
(``down/ack``). Until then it is published again, with the same bytes and the same id. What else comes down is for handlers, one
per subject (``device/downward.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from device import health, notice
from device.backlog import Backlog
from device.clock import Clock
from device.contract import Ack, SpoolState, Status, dump, topic
from device.contract_read import read
from device.downward import Handler, matches
from device.errors import SpoolError
from device.publishers import Connected, Delivered, Disconnected, Event, Message, NotListening, Publisher, Received, Refused
from device.settings import DAY, Settings
from device.spool import Spool, seq_of
from device.twin_keeper import in_force
from device.version import VERSION

UNCONFIRMED: Final = 20  # reports on their way at once; as many as Mosquitto takes at once
ANSWERS: Final = 100  # other messages on their way, beyond which no handler is asked for more
STATUS_EVERY: Final = 60.0  # seconds between two statuses, whatever happens
STATUS_LASTS: Final = 180  # seconds that a broker keeps an "online": of a device that died with its broker, none is left
RESEND_AFTER: Final = 60.0  # seconds without progress of the collector's acknowledgements
TOO_LARGE_WAIT: Final = 600.0  # seconds before a report that is too large is tried again: some brokers end the connection for it
COUNT_EVERY: Final = 1.0  # seconds between two looks at what a full spool has dropped
REFUSED_WAIT: Final = 30.0  # seconds before a refused report is tried again


class Sender:
    """What to publish and what to keep: events in, messages out."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        publisher: Publisher,
        clock: Clock,
        *,
        session: str,
        log: FilteringBoundLogger,
        handlers: Sequence[Handler] = (),
        box: str | None = None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        self._session, self._box = session, box
        self._log = log
        self._handlers = handlers
        self._on_the_way: dict[int, Path | None] = {}  # token → file; None for anything else
        self._handed_out: dict[int, tuple[Handler, Message]] = {}  # token → a handler's message, one of those above
        self._backlog = Backlog(spool)
        self._unreadable: set[Path] = set()
        self._too_large: dict[Path, str] = {}  # reports that the broker would not take however often it is asked, and why
        self._too_large_until = 0.0
        self._connections = self._taken_over = 0
        self._connected = False
        self._reason = ""
        self._refusal = ""
        self._status_refusal = ""
        self._hold_until = 0.0
        self._status_due = 0.0
        self._notice_due = False
        self._resend_due = 0.0
        self._acknowledged = 0
        self._resent_to = 0
        self._newest_taken = max((seq_of(path) for path in spool.unacknowledged()), default=0)
        self._dropped = spool.dropped()
        self._count_due = 0.0
        self.delivered = 0

    @property
    def idle(self) -> bool:
        """Nothing that can be sent waits, and nothing is on its way."""
        stays = self._unreadable.union(self._too_large)
        return not self._on_the_way and not self._backlog and stays.issuperset(self._spool.waiting())

    def flush(self) -> None:
        """Send all that waits now, whatever it waits for: a broker that refused, a collector that has not acknowledged."""
        self._hold_until = self._resend_due = self._status_due = 0.0
        self._refusal = ""
        self._unreadable.clear()
        self._too_large.clear()

    def flushed(self) -> bool | str:
        """Whether nothing waits any more, or why it cannot be sent."""
        return self.refusal or self.idle  # a flush begins with a status, so this is not idle before its first pump is over

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connected

    @property
    def reason(self) -> str:
        """Why there is no connection; empty when there is one or when none was tried yet."""
        return self._reason

    @property
    def refusal(self) -> str:
        """Why the broker refused the last report that it answered to, and what to do; empty when it took it.

        Once nothing else waits: why it does not take what is left.
        """
        return self._refusal or (next(iter(self._too_large.values())) if self._too_large and self.idle else "")

    def handle(self, event: Event) -> None:
        """React to what happened."""
        match event:
            case Connected():
                self._log.info("connected", broker=self._settings.broker.url)
                self._connected, self._reason = True, ""
                self._connections += 1
                self._unreadable.clear()
                self._hold_until = self._status_due = 0.0
                self._notice_due = True
                self._resend_due = self._clock.now() + RESEND_AFTER
                for handler in self._handlers:
                    handler.connected()
            case Disconnected(reason, retry_in, taken_over):
                tell = self._log.warning if reason != self._reason else self._log.debug
                tell(f"not connected: {reason}", retry_in=round(retry_in, 1))
                self._connected, self._reason = False, reason
                self._taken_over += taken_over
                self._on_the_way.clear()
                self._handed_out.clear()
                self._backlog.clear()
            case Delivered(token) if token in self._on_the_way:
                if (handed := self._handed_out.pop(token, None)) is not None:
                    handed[0].delivered(handed[1])
                self._took(self._on_the_way.pop(token))
            case Refused(token, reason, alone) if token in self._on_the_way:
                self._handed_out.pop(token, None)
                self._refused(self._on_the_way.pop(token), reason, alone=alone)
            case NotListening(name, reason):
                self._log.error(f"{name}: the broker does not let this device listen ({reason}); check its access list")
            case Received() if event.topic.startswith(own := topic(self._settings.device, "")):
                self._received(event.topic.removeprefix(own), event)

    def pump(self) -> None:
        """Publish what is due."""
        now = self._clock.now()
        if not self._connected:
            return
        self._count_dropped(now)
        if now >= self._status_due:
            self._on_the_way[self._publisher.publish(self.status("online"))] = None
            self._status_due = now + STATUS_EVERY
            self._unreadable.clear()  # the disk may be well again
        if self._notice_due:
            self._notice_due = False
            if made := notice.message(in_force(self._settings)):
                said = Message(topic(self._settings.device, "up/notice"), dump(made), retain=True)
                self._on_the_way[self._publisher.publish(said)] = None
        for handler in self._handlers if len(self._handed_out) < ANSWERS else ():
            for message in handler.due(now):
                token = self._publisher.publish(message)
                self._on_the_way[token], self._handed_out[token] = None, (handler, message)
        if self._too_large and now >= self._too_large_until:
            self._too_large.clear()
        if now < self._hold_until:
            return
        self._backlog.look(now)
        room = UNCONFIRMED - self._reports_on_the_way()
        if self._settings.broker.acknowledge == "collector" and now >= self._resend_due and room > 0:
            again = [path for path in self._spool.unacknowledged() if seq_of(path) > self._acknowledged][:room]
            self._resent_to = seq_of(again[-1]) if again else 0
            self._resend_due = now + RESEND_AFTER
            self._backlog.again(again)
        not_now = self._unreadable.union(self._too_large, (path for path in self._on_the_way.values() if path))
        while self._backlog and self._reports_on_the_way() < UNCONFIRMED:
            path = self._backlog.next()
            if path not in not_now:
                self._publish(path)

    def _count_dropped(self, now: float) -> None:
        """What a full spool has lost is told at once."""
        if now < self._count_due:
            return
        self._count_due, before, self._dropped = now + COUNT_EVERY, self._dropped, self._spool.dropped()
        if (more := self._dropped - before) > 0:
            self._status_due = 0.0
            self._log.warning("the spool is full: the oldest reports were dropped before they were sent", dropped=more)

    def _reports_on_the_way(self) -> int:
        return sum(path is not None for path in self._on_the_way.values())

    def status(self, state: str) -> Message:
        """The retained status of this device."""
        watching = health.read(self._settings.run_folder, self._clock.now())
        names = [path for path in self._spool.waiting() if seq_of(path)]
        status = Status.model_validate(
            {
                "schema": 1,
                "state": state,
                "session": self._session,
                "software": VERSION,
                "models": watching.models,
                "health": watching.health,
                "trouble": watching.trouble,
                "machine": watching.machine,
                "connections": self._connections,
                "taken_over": self._taken_over,
                "box": self._box,
                "spool": SpoolState(waiting=len(names), dropped=self._dropped, set_aside=self._spool.set_aside()),
            }
        )
        lasts = STATUS_LASTS if state == "online" else None
        return Message(topic(self._settings.device, "up/status"), dump(status), retain=True, expiry=lasts)

    def _publish(self, path: Path) -> None:
        try:
            envelope = self._spool.read(path)
        except SpoolError as error:
            self._unreadable.add(path)
            self._log.error(str(error))
            return
        if envelope is None:
            if self._spool.is_set_aside(path):
                self._log.error(f"{path.name} was not a report; what there was of it is in {self._spool.folder / 'bad'}")
            return
        device = self._settings.device
        token = self._publisher.publish(
            Message(
                topic(device, "up/report"),
                envelope.payload(),
                expiry=max(1, round(self._settings.spool.days * DAY)),
                attributes=envelope.cloud_event(device),
            )
        )
        self._on_the_way[token] = path

    def _took(self, path: Path | None) -> None:
        if path is None:
            self._status_refusal = ""
            return
        seq = seq_of(path)
        self.delivered += 1
        self._refusal = ""
        self._log.info("delivered", seq=seq)
        self._newest_taken = max(self._newest_taken, seq)
        if path.parent.name == "new":
            self._spool.sent(path)
        if self._settings.broker.acknowledge == "broker":
            self._spool.acknowledge(seq)
        elif seq <= self._acknowledged:
            self._spool.acknowledge(self._acknowledged)

    def _refused(self, path: Path | None, reason: str, *, alone: bool) -> None:
        if path is None:
            if reason != self._status_refusal:
                self._log.error(f"the broker refuses the status or the notice: {reason}")
            self._status_refusal = reason
            return
        if alone:
            if reason not in self._too_large.values():
                self._log.error(f"{reason}. This report stays in the spool, others go on", seq=seq_of(path))
            self._too_large[path] = reason
            self._too_large_until = self._clock.now() + TOO_LARGE_WAIT
            return
        if reason != self._refusal:
            self._refusal = reason
            self._log.error(f"{self.refusal}. The reports stay in the spool", seq=seq_of(path), again_in=REFUSED_WAIT)
        self._hold_until = self._clock.now() + REFUSED_WAIT
        self._backlog.clear()  # so that this one comes first again

    def _received(self, name: str, message: Received) -> None:
        if name == "down/ack":
            self._acknowledge(message.payload)
        for handler in self._handlers:
            if any(matches(listens, name) for listens in handler.listens):
                handler.receive(name, message)

    def _acknowledge(self, payload: bytes) -> None:
        ack = read(Ack, payload)
        if isinstance(ack, str):
            self._log.warning(f'down/ack is not an acknowledgement and was ignored; expected {{"seq": N}} ({ack})')
            return
        newest = max([self._newest_taken, *map(seq_of, self._spool.waiting())])  # a waiting one may have been sent before a crash
        if ack.seq > newest:
            self._log.warning("down/ack names a report that was never sent and was ignored", seq=ack.seq, newest=newest)
            return
        if ack.seq > self._acknowledged:
            self._acknowledged = ack.seq
            all_of_them = 0 < self._resent_to <= ack.seq  # so there may be more that want to be sent again
            self._resend_due = self._clock.now() + (0.0 if all_of_them else RESEND_AFTER)
            self._spool.acknowledge(ack.seq)
