"""Commands in the registry, and their part in ``mien-fleet serve``. Each function is one transaction.

A command is stored first and sent by whichever process looks next; until the device has answered it is sent again. So nothing is
lost when a process dies anywhere, and what is sent twice is done once (``device/commands_down.py``).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from device.contract import ROOT
from device.contract_command import FINAL, LONGEST, CommandResult, Name
from device.contract_read import read
from provisioning.commanding import Asked, Held, Send, due, heard
from provisioning.errors import WordsError
from provisioning.manage import MANAGER
from provisioning.registry import Entry, Registry
from provisioning.routes import Answer, Context, Properties, Route, Subject, Tick
from provisioning.tables_command import CommandRow

EVERY: Final = 0.5  # seconds between two looks for what is to be sent
AT_ONCE: Final = 200  # commands sent in one go


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a command on one device; times are seconds since 1970."""

    request: str
    id: str
    device: str
    command: str
    seconds: int | None
    state: str
    reason: str | None
    findings: dict[str, str]
    created_at: int
    answered_at: int | None

    @property
    def over(self) -> bool:
        return self.state in (*FINAL, "expired")


def ask(registry: Registry, devices: Iterable[str], command: Name, seconds: int | None, expires: int) -> str:
    """Ask something of these devices, which exist; returns the name of the request.

    Args:
        registry: The database.
        devices: Their names.
        command: What.
        seconds: Of a pause.
        expires: Seconds in which a device must have got it.

    Raises:
        WordsError: It could take longer than a command may.
    """
    if not 1 <= expires <= LONGEST:
        raise WordsError(f"{expires} seconds: expected 1 to {LONGEST} until a command expires")
    names = list(devices)
    request = secrets.token_hex(4)

    def work(session: Session) -> str:
        now = registry.now()
        for name in names:
            row = CommandRow(id=secrets.token_hex(12), request=request, device=name, command=command, seconds=seconds)
            row.state, row.created_at, row.expires_at, row.due_at, row.tries = "waiting", now, now + expires, now, 0
            session.add(row)
            about = f"{command}{'' if seconds is None else f' {seconds} s'}, request {request}, command {row.id}"
            registry.audit(session, Entry("command", MANAGER, "asked", about, device=name))
        return request

    return registry.transact(work)


def told(registry: Registry, request: str | None = None, newest: int = 50) -> list[Told]:
    """What became of a request, by device; without one, of the newest commands."""
    rows = select(CommandRow)
    if request is not None:
        rows = rows.where(CommandRow.request == request).order_by(CommandRow.device)
    else:
        rows = rows.order_by(CommandRow.created_at.desc(), CommandRow.device).limit(newest)
    return registry.transact(lambda session: [_told(row) for row in session.scalars(rows)])


def send_due(registry: Registry) -> list[Answer]:
    """Commands to be sent now. Each is this process's alone, until its time comes again."""

    def work(session: Session) -> list[Answer]:
        now, found = registry.now(), []
        rows = select(CommandRow).where(CommandRow.due_at <= now).order_by(CommandRow.due_at).limit(AT_ONCE)
        for row in session.scalars(rows.with_for_update(skip_locked=True)):
            next_ = due(_asked(row), now)
            if isinstance(next_, Send):
                row.due_at, row.tries = next_.due_at, row.tries + 1
                log = {"event": "command", "command": row.command, "device": row.device, "id": row.id, "tries": row.tries}
                found.append(Answer(next_.topic, next_.payload, expiry=next_.expiry, log=log))
                continue
            if next_.state != row.state:
                row.state, row.reason = next_.state, next_.reason
                _write_down(registry, session, row)
            row.due_at = None
        return found

    return registry.transact(work)


def hear(registry: Registry, device: str, name: str, payload: bytes) -> str | None:
    """Store what a device says about a command; returns the new state, or ``None`` where it says nothing new.

    An answer that cannot be read, or is about a command of another device or of nobody, is nothing.
    """
    result = read(CommandResult, payload)
    if isinstance(result, str):
        return None

    def work(session: Session) -> str | None:
        row = session.get(CommandRow, name)
        if row is None or row.device != device or not heard(cast("Held", row.state), row.reason, result):
            return None
        now = registry.now()
        row.state, row.reason, row.answered_at = result.state, result.reason, now
        row.findings = None if result.findings is None else json.dumps(result.findings)
        row.due_at, row.tries = (None if result.state in FINAL else now + 2), 0
        if result.state in FINAL:
            _write_down(registry, session, row)
        return row.state

    return registry.transact(work)


def subject(context: Context) -> Subject:
    """Commands, as the service knows them."""
    registry = context.registry

    def handle(topic: str, payload: bytes, _: Properties) -> list[Answer]:
        device, _up, _command, name = topic.removeprefix(f"{ROOT}/").split("/")
        hear(registry, device, name, payload)
        return []

    return Subject(
        routes=(Route(f"{ROOT}/+/up/command/+", handle),),
        ticks=(Tick(lambda _: send_due(registry), EVERY),),
    )


def _write_down(registry: Registry, session: Session, row: CommandRow) -> None:
    about = f"{row.command}, request {row.request}, command {row.id}{f': {row.reason}' if row.reason else ''}"
    registry.audit(session, Entry("command", row.device, row.state, about, device=row.device))


def _asked(row: CommandRow) -> Asked:
    return Asked(row.id, row.device, cast("Name", row.command), row.seconds, cast("Held", row.state), row.expires_at, row.tries)


def _told(row: CommandRow) -> Told:
    findings = {} if row.findings is None else json.loads(row.findings)
    said = (row.state, row.reason, findings, row.created_at, row.answered_at)
    return Told(row.request, row.id, row.device, row.command, row.seconds, *said)
