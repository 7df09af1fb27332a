"""Statuses in the registry: whether two machines run with one identity. Each function is one transaction.

Any of the processes that serve hears a status; what they know together is in the registry. Where one run of a device goes on
speaking nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from device.contract import ROOT, Status
from device.contract_enroll import box_in_status
from device.contract_read import read
from provisioning.doubles import Seen, heard, said
from provisioning.registry import Entry, Registry
from provisioning.routes import Answer, Context, Properties, Route, Subject
from provisioning.tables import CertificateRow, DeviceRow
from provisioning.tables_double import DoubleRow

STEP = "status"  # in the audit log


def hear(registry: Registry, device: str, payload: bytes) -> str | None:
    """Take in what a device says of itself; what is no status is nothing.

    Returns:
        Both machines, in words, where it has just become clear that there are two; the audit log has it, too, once until they were
        quiet for an hour.
    """
    status = read(Status, payload)
    if isinstance(status, str):
        return None

    def work(session: Session) -> str | None:
        known, row = session.get(DeviceRow, device), session.get(DoubleRow, device)
        if known is None:
            return None  # of another registry
        before, now = _seen(row), registry.now()
        after = heard(before, status, now)
        if after == before:
            return None
        if row is None:
            row = DoubleRow(device=device, seen="")
            session.add(row)
        row.seen = after.model_dump_json()
        if after.since is None or (after.since, after.sign_at) == (before.since, before.sign_at):
            return None
        row.said, row.said_at = said(after, _enrolled(session, device)), now
        if after.since == before.since:
            return None
        registry.audit(session, Entry(STEP, device, "two_machines", row.said, serial=known.serial, device=device))
        return row.said

    return registry.transact(work)


def standing(session: Session, live: Mapping[str, CertificateRow]) -> dict[str, str]:
    """Devices of which two run, or ran, with the certificate that they have now: name → both, in words."""
    rows = session.scalars(select(DoubleRow).where(DoubleRow.said_at.is_not(None)))
    return {
        row.device: f"{row.said}; last seen {datetime.fromtimestamp(row.said_at or 0, timezone.utc):%Y-%m-%d %H:%M} UTC"
        for row in rows
        if row.device in live and (row.said_at or 0) >= live[row.device].issued_at
    }


def subject(context: Context) -> Subject:
    """The part in the service."""
    import structlog  # commands that only look at the registry start without it

    log = structlog.get_logger(process="serve")

    def handle(name: str, payload: bytes, _: Properties) -> list[Answer]:
        device = name.split("/")[-3]
        if found := hear(context.registry, device, payload):
            log.warning("two machines", device=device, what=found)
        return []

    return Subject((Route(f"{ROOT}/+/up/status", handle),))


def _seen(row: DoubleRow | None) -> Seen:
    try:
        return Seen() if row is None else Seen.model_validate_json(row.seen)
    except ValidationError:
        return Seen()  # of another version of this program


def _enrolled(session: Session, device: str) -> str | None:
    """What a status of the machine that the live certificate was given to has as ``box``."""
    rows = select(CertificateRow.box).where(CertificateRow.device == device, CertificateRow.state == "live")
    box = session.scalars(rows).first()
    return box_in_status(device, box) if box else None
