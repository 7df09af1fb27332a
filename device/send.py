"""The sending process: reports from the spool to the broker, and what comes down into the inbox. It has no camera."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from device import metrics, plug
from device.clock import Clock
from device.connection_name import connection_name
from device.contract import Status, dump, topic
from device.contract_enroll import box_in_status
from device.downward import Context
from device.errors import BrokerError, OutputError
from device.handlers import handlers
from device.identity import hardware
from device.notify import NOBODY, Notify
from device.publishers import Message, Publisher
from device.sender import Sender
from device.settings import Settings
from device.spool import Spool

AT_ONCE: Final = 100  # events handled before anything else gets its turn: a burst starves nobody
POLL: Final = 0.25  # seconds between two looks into the spool
METRICS_EVERY: Final = 10.0  # seconds
GOODBYE: Final = 3.0  # seconds to say offline
GIVE_UP: Final = 5.0  # seconds for the first connection when asked to send once; an attempt that has begun may take longer


def send(
    settings: Settings,
    clock: Clock,
    log: FilteringBoundLogger,
    stopping: Callable[[], bool],
    *,
    once: bool = False,
    systemd: Notify = NOBODY,
) -> None:
    """Send until told to stop; with ``once``, until the spool is empty. ``systemd`` hears that the loop goes round.

    Raises:
        SpoolError: The spool cannot be used.
        BrokerError: A file that the settings name cannot be used; with ``once``, also when there is no connection, or a report
            is refused.
        SettingsError: There is no publisher of that name.
        IdentityError: A renewal that was begun cannot be ended.
    """
    with closing(Spool(settings.spool.folder, "send")) as spool:
        while _connect_and_send(settings, spool, clock, log, stopping, once=once, systemd=systemd):
            log.info("connecting anew, with another identity")


def _connect_and_send(
    settings: Settings,
    spool: Spool,
    clock: Clock,
    log: FilteringBoundLogger,
    stopping: Callable[[], bool],
    *,
    once: bool,
    systemd: Notify,
) -> bool:
    """``send`` with one identity; returns whether to go on with another one."""
    session = uuid4().hex[:8]
    will = Status.model_validate({"schema": 1, "state": "lost", "session": session})
    with ExitStack() as stack:
        subjects = handlers(Context(settings, clock, log, lambda: sender.flush(), lambda: sender.flushed()))  # noqa: PLW0108 (it is made below)
        for one in subjects:
            stack.callback(one.close)
        acks = ("down/ack",) if settings.broker.acknowledge == "collector" else ()
        listen = [topic(settings.device, name) for name in (*acks, *(name for one in subjects for name in one.listens))]
        publisher: Publisher = plug.find("device.publishers", settings.broker.publisher).open_publisher(
            settings.broker,
            connection_name(settings.send_folder),
            tuple(listen),
            Message(topic(settings.device, "up/status"), dump(will), retain=True),
        )
        box = box_in_status(settings.device, found) if (found := hardware()) else None
        sender = Sender(settings, spool, publisher, clock, session=session, log=log, handlers=subjects, box=box)
        began, another, told = clock.now(), False, ""
        board = _board(settings, stack, log)
        retell = began
        try:
            log.info("sending", broker=settings.broker.url, device=settings.device, box=box, waiting=len(spool.waiting()))
            systemd.ready()
            while not stopping():
                systemd.alive()
                _step(sender, publisher)
                text = "connected" if sender.connected else sender.reason or "connecting"
                if text != told:
                    told = text
                    systemd.status(text)
                if settings.metrics_socket is not None and clock.now() >= retell:
                    retell = clock.now() + METRICS_EVERY
                    said = Status.model_validate_json(sender.status("online").payload)
                    board.said = metrics.text(said, connected=sender.connected, delivered=sender.delivered)
                wishes = [one.tick(clock.now()) for one in subjects]  # everybody is asked
                if another := any(wishes):
                    break
                late = clock.now() - began > GIVE_UP
                if once and sender.idle and not sender.refusal and (late or not any(one.busy for one in subjects)):
                    break
                reason = sender.refusal or (sender.reason if late else "")
                if once and reason:
                    raise BrokerError(f"{reason}. Nothing was lost: the reports are in {spool.folder}")
        finally:
            if not another:
                systemd.stopping()
            publisher.close(None if another else sender.status("offline"), GOODBYE)
            while not publisher.events.empty():
                sender.handle(publisher.events.get_nowait())
        log.info("stopped sending", delivered=sender.delivered, waiting=len(spool.waiting()))
        return another


def _board(settings: Settings, stack: ExitStack, log: FilteringBoundLogger) -> metrics.Board:
    """Where metrics are told; a socket that cannot be made is no reason not to send."""
    try:
        return stack.enter_context(metrics.served(settings.metrics_socket))
    except OutputError as error:
        log.error(str(error))  # noqa: TRY400 (a traceback would say nothing more)
        return metrics.Board()


def _step(sender: Sender, publisher: Publisher) -> None:
    """Publish what is due, then handle what has happened; waits ``POLL`` seconds at most."""
    sender.pump()
    try:
        sender.handle(publisher.events.get(timeout=POLL))
        for _ in range(AT_ONCE):
            sender.handle(publisher.events.get_nowait())
    except queue.Empty:
        pass
