"""The sending process: reports from the spool to the broker. It has no camera.

A report leaves the spool only when it is known to be stored elsewhere: by the broker (PUBACK), or by a collector
(``down/ack``). Until then it is published again, with the same bytes and the same id.
"""

from __future__ import annotations

import queue
import re
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from device import health, inbox, notice, plug
from device.clock import Clock
from device.contract import MAX_MESSAGE_BYTES, Ack, CommandResult, PauseCommand, SpoolState, Status, dump, topic
from device.errors import BrokerError, SpoolError
from device.publishers import Connected, Delivered, Disconnected, Event, Message, NotListening, Publisher, Received, Refused
from device.settings import DAY, Settings
from device.spool import Spool, seq_of
from device.version import VERSION

POLL: Final = 0.25  # seconds between two looks into the spool
UNCONFIRMED: Final = 10  # reports on their way at once
STATUS_EVERY: Final = 60.0  # seconds between two statuses, whatever happens
RESEND_AFTER: Final = 60.0  # seconds without progress of the collector's acknowledgements
REFUSED_WAIT: Final = 30.0  # seconds before a refused report is tried again
COMMAND: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # its id
ANSWER_EXPIRY: Final = 3600  # seconds for which the answer to a command is worth something
GOODBYE: Final = 3.0  # seconds to say offline
GIVE_UP: Final = 5.0  # seconds for the first connection when asked to send once; an attempt that has begun may take longer


class Sender:
    """What to publish and what to keep: events in, messages out."""

    def __init__(
        self, settings: Settings, spool: Spool, publisher: Publisher, clock: Clock, *, session: str, log: FilteringBoundLogger
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._publisher = publisher
        self._clock = clock
        self._session = session
        self._log = log
        self._on_the_way: dict[int, Path | None] = {}  # token → file; None for a status
        self._backlog: deque[Path] = deque()  # what waited when the spool was last looked at; again when all of it is on its way
        self._unreadable: set[Path] = set()
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
        self._dropped = 0
        self.delivered = 0

    @property
    def idle(self) -> bool:
        """Nothing that can be read waits, and nothing is on its way."""
        return not self._on_the_way and not self._backlog and self._unreadable.issuperset(self._spool.waiting())

    @property
    def reason(self) -> str:
        """Why there is no connection; empty when there is one or when none was tried yet."""
        return self._reason

    @property
    def refusal(self) -> str:
        """Why the broker refused the last report that it answered to, and what to do; empty when it took it."""
        return self._refusal

    def handle(self, event: Event) -> None:
        """React to what happened."""
        match event:
            case Connected():
                self._log.info("connected", broker=self._settings.broker.url)
                self._connected, self._reason = True, ""
                self._unreadable.clear()
                self._hold_until = self._status_due = 0.0
                self._notice_due = True
                self._resend_due = self._clock.now() + RESEND_AFTER
            case Disconnected(reason, retry_in):
                tell = self._log.warning if reason != self._reason else self._log.debug
                tell(f"not connected: {reason}", retry_in=round(retry_in, 1))
                self._connected, self._reason = False, reason
                self._on_the_way.clear()
                self._backlog.clear()
            case Delivered(token) if token in self._on_the_way:
                self._took(self._on_the_way.pop(token))
            case Refused(token, reason) if token in self._on_the_way:
                self._refused(self._on_the_way.pop(token), reason)
            case NotListening(name, reason):
                self._log.error(f"{name}: the broker does not let this device listen ({reason}); check its access list")
            case Received(name, payload):
                if name == topic(self._settings.device, "down/ack"):
                    self._acknowledge(payload)
                elif name.startswith(commands := topic(self._settings.device, "down/command/")):
                    self._command(name.removeprefix(commands), payload)

    def pump(self) -> None:
        """Publish what is due."""
        now = self._clock.now()
        if not self._connected:
            return
        if now >= self._status_due:
            self._on_the_way[self._publisher.publish(self.status("online"))] = None
            self._status_due = now + STATUS_EVERY
        if self._notice_due:
            self._notice_due = False
            if made := notice.message(self._settings):
                said = Message(topic(self._settings.device, "up/notice"), dump(made), retain=True)
                self._on_the_way[self._publisher.publish(said)] = None
        if now < self._hold_until:
            return
        if not self._backlog:
            self._backlog.extend(self._spool.waiting())
        room = UNCONFIRMED - len(self._on_the_way)
        if self._settings.broker.acknowledge == "collector" and now >= self._resend_due and room > 0:
            again = [path for path in self._spool.unacknowledged() if seq_of(path) > self._acknowledged][:room]
            self._resent_to = seq_of(again[-1]) if again else 0
            self._resend_due = now + RESEND_AFTER
            self._backlog.extendleft(reversed(again))
        not_now = self._unreadable.union(path for path in self._on_the_way.values() if path)
        while self._backlog and len(self._on_the_way) < UNCONFIRMED:
            path = self._backlog.popleft()
            if path not in not_now:
                self._publish(path)

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
                "spool": SpoolState(waiting=len(names), dropped=self._dropped, set_aside=self._spool.set_aside()),
            }
        )
        return Message(topic(self._settings.device, "up/status"), dump(status), retain=True)

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
        if seq > self._newest_taken:
            in_turn = seq == self._newest_taken + 1
            if not in_turn and (missing := self._spool.missing(self._newest_taken, seq)):
                self._dropped += missing
                self._status_due = 0.0
                self._log.warning("reports are missing from the spool: dropped because it was full, or removed", dropped=missing)
            self._newest_taken = seq
        if path.parent.name == "new":
            self._spool.sent(path)
        if self._settings.broker.acknowledge == "broker":
            self._spool.acknowledge(seq)
        elif seq <= self._acknowledged:
            self._spool.acknowledge(self._acknowledged)

    def _refused(self, path: Path | None, reason: str) -> None:
        if path is None:
            if reason != self._status_refusal:
                self._log.error(f"the broker refuses the status or the notice: {reason}")
            self._status_refusal = reason
            return
        if reason != self._refusal:
            self._refusal = reason
            self._log.error(f"{self.refusal}. The reports stay in the spool", seq=seq_of(path), again_in=REFUSED_WAIT)
        self._hold_until = self._clock.now() + REFUSED_WAIT
        self._backlog.clear()  # so that this one comes first again

    def _acknowledge(self, payload: bytes) -> None:
        try:
            seq = Ack.model_validate_json(payload[:MAX_MESSAGE_BYTES]).seq
        except ValidationError:
            self._log.warning('down/ack is not an acknowledgement and was ignored; expected {"seq": N}')
            return
        newest = max([self._newest_taken, *map(seq_of, self._spool.waiting())])  # a waiting one may have been sent before a crash
        if seq > newest:
            self._log.warning("down/ack names a report that was never sent and was ignored", seq=seq, newest=newest)
            return
        if seq > self._acknowledged:
            self._acknowledged = seq
            all_of_them = 0 < self._resent_to <= seq  # so there may be more that want to be sent again
            self._resend_due = self._clock.now() + (0.0 if all_of_them else RESEND_AFTER)
            self._spool.acknowledge(seq)

    def _command(self, name: str, payload: bytes) -> None:
        """Hand a command to the watching process, and say whether that could be done."""
        if not COMMAND.fullmatch(name):
            self._log.warning(
                "a command without a proper id was ignored; expected down/command/{id}, 64 letters and digits at most"
            )
            return
        try:
            inbox.put(self._settings.inbox_folder, PauseCommand.model_validate_json(payload[:MAX_MESSAGE_BYTES]))
            result = CommandResult(schema=1, state="accepted")
        except ValidationError:
            result = CommandResult(schema=1, state="rejected", reason="invalid")
        except SpoolError as error:
            self._log.error(str(error))
            result = CommandResult(schema=1, state="rejected", reason="unavailable")
        self._log.info("command", id=name, state=result.state)
        answer = Message(topic(self._settings.device, f"up/command/{name}"), dump(result), expiry=ANSWER_EXPIRY)
        self._on_the_way[self._publisher.publish(answer)] = None


def send(settings: Settings, clock: Clock, log: FilteringBoundLogger, stopping: Callable[[], bool], *, once: bool = False) -> None:
    """Send until told to stop; with ``once``, until the spool is empty.

    Raises:
        SpoolError: The spool cannot be used.
        BrokerError: A file that the settings name cannot be used; with ``once``, also when there is no connection, or a report
            is refused.
        SettingsError: There is no publisher of that name.
    """
    with closing(Spool(settings.spool.folder, "send")) as spool:
        session = uuid4().hex[:8]
        will = Status.model_validate({"schema": 1, "state": "lost", "session": session})
        listen = [topic(settings.device, "down/command/+")] if settings.broker.commands else []
        if settings.broker.acknowledge == "collector":
            listen.append(topic(settings.device, "down/ack"))
        publisher: Publisher = plug.find("device.publishers", settings.broker.publisher).open_publisher(
            settings.broker, settings.device, tuple(listen), Message(topic(settings.device, "up/status"), dump(will), retain=True)
        )
        sender = Sender(settings, spool, publisher, clock, session=session, log=log)
        began = clock.now()
        try:
            log.info("sending", broker=settings.broker.url, device=settings.device, waiting=len(spool.waiting()))
            while not stopping():
                _step(sender, publisher)
                if once and sender.idle:
                    break
                reason = sender.refusal or (sender.reason if clock.now() - began > GIVE_UP else "")
                if once and reason:
                    raise BrokerError(f"{reason}. Nothing was lost: the reports are in {spool.folder}")
        finally:
            publisher.close(sender.status("offline"), GOODBYE)
            while not publisher.events.empty():
                sender.handle(publisher.events.get_nowait())
        log.info("stopped sending", delivered=sender.delivered, waiting=len(spool.waiting()))


def _step(sender: Sender, publisher: Publisher) -> None:
    """Publish what is due, then handle what has happened; waits ``POLL`` seconds at most."""
    sender.pump()
    try:
        sender.handle(publisher.events.get(timeout=POLL))
        while True:
            sender.handle(publisher.events.get_nowait())
    except queue.Empty:
        pass
