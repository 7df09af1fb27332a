"""Twins in the registry, and their part in ``mien-fleet serve``. Each function is one transaction.

A wish is stored first and sent by whichever process looks next; until the device has answered it is said again, at growing
intervals. So nothing is lost when a process dies anywhere, and what is said twice, or late, is ignored by its version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from device.contract import ROOT, topic
from device.contract_read import read
from device.contract_twin import ReportedTwin, order
from provisioning import twin
from provisioning.errors import WordsError
from provisioning.manage import MANAGER
from provisioning.registry import Entry, Registry
from provisioning.routes import Answer, Context, Properties, Route, Subject, Tick
from provisioning.tables import CertificateRow, DeviceRow, LabelRow
from provisioning.tables_twin import EpochRow, TwinRow
from provisioning.twin import Twin

EVERY: Final = 1.0  # seconds between two looks for what is to be sent
SOON: Final = 60  # seconds: a wish that waits for longer is sent at once when its device is heard of
AT_ONCE: Final = 100  # wishes sent in one go


def wish(registry: Registry, devices: Iterable[str], wanted: Mapping[str, Any]) -> dict[str, int]:
    """Want something of these devices: all of them, or none.

    Args:
        registry: The database.
        devices: Their names.
        wanted: Dotted keys → values; ``None`` takes a key back.

    Returns:
        The version of each device for which this was something new.

    Raises:
        WordsError: There is no such device, or no device could accept it.
    """
    names = list(devices)
    return registry.transact(lambda session: want(registry, session, names, wanted))


def want(registry: Registry, session: Session, names: Iterable[str], wanted: Mapping[str, Any]) -> dict[str, int]:
    """The same, within a transaction."""
    versions: dict[str, int] = {}
    epoch = _epoch(session, registry.now())
    for name in names:
        row = _row(session, name, registry.now())
        before = json.loads(row.desired)
        desired = twin.changed(before, wanted)
        if desired == before and row.version > 0:
            continue
        twin.check(desired)
        twin.payload(epoch, row.version + 1, desired)
        row.epoch, row.version, row.desired = epoch, row.version + 1, json.dumps(desired, ensure_ascii=False)
        row.set_at = row.due_at = registry.now()
        row.tries = 0
        versions[name] = row.version
        told = " ".join(f"{key}={'' if value is None else json.dumps(value)}" for key, value in wanted.items())
        registry.audit(session, Entry("set", MANAGER, "accepted", f"{name}: version {row.version}: {told}", device=name))
    return versions


def new_epoch(registry: Registry) -> tuple[int, int]:
    """Begin a new epoch: this registry was restored from a backup. All that it wants is said again.

    Epochs are times, so that two registries restored from one backup do not begin the same one.

    Returns:
        The epoch, and of how many devices anything is wanted.
    """

    def work(session: Session) -> tuple[int, int]:
        epoch = max(registry.now(), _epoch(session, registry.now()) + 1)
        session.add(EpochRow(epoch=epoch, began_at=registry.now()))
        again = update(TwinRow).where(TwinRow.version > 0).values(epoch=epoch, due_at=registry.now(), tries=0)
        session.execute(again)
        count = session.scalar(select(func.count()).select_from(TwinRow).where(TwinRow.version > 0)) or 0
        registry.audit(session, Entry("epoch", MANAGER, "accepted", f"epoch {epoch} begins: {count} devices are told again"))
        return epoch, count

    return registry.transact(work)


def select_devices(registry: Registry, names: Iterable[str], groups: Iterable[str], *, everybody: bool = False) -> list[str]:
    """The devices that are named, and those whose labels match every one of the patterns.

    Raises:
        WordsError: There is no such device, or no device at all.
    """
    named, patterns = list(names), list(groups)

    def work(session: Session) -> list[str]:
        known = list(session.scalars(select(DeviceRow.name).order_by(DeviceRow.name)))
        if missing := sorted(set(named) - set(known)):
            raise WordsError(f"there is no device {missing[0]!r}; see mien-fleet devices")
        if everybody:
            return known
        labels: dict[str, dict[str, str]] = {name: {} for name in known}
        for row in session.scalars(select(LabelRow)):
            labels[row.device][row.name] = row.value
        found = {name for name in known if patterns and twin.selects(patterns, labels[name])}
        return sorted(found | set(named))

    if not (chosen := registry.transact(work)):
        raise WordsError(f"no device has labels like {' and '.join(patterns) or 'this'}; see mien-fleet devices")
    return chosen


def twins(registry: Registry, device: str | None = None) -> list[Twin]:
    """The twin of a device, or of all that anything is known of, by name.

    Raises:
        WordsError: There is no such device.
    """

    def work(session: Session) -> list[Twin]:
        if device is not None and session.get(DeviceRow, device) is None:
            raise WordsError(f"there is no device {device!r}; see mien-fleet devices")
        rows = select(TwinRow).order_by(TwinRow.device)
        found = session.scalars(rows.where(TwinRow.device == device) if device is not None else rows)
        return [_twin(row) for row in found] or ([Twin(device, desired={})] if device is not None else [])

    return registry.transact(work)


def due(registry: Registry) -> list[tuple[str, bytes]]:
    """Wishes to be sent now: device and payload. Each is this process's alone, until its time comes again.

    Those of a device without a live certificate wait: what the broker keeps for it was removed.
    """

    def work(session: Session) -> list[tuple[str, bytes]]:
        now = registry.now()
        found = []
        live = exists().where(CertificateRow.device == TwinRow.device, CertificateRow.state == "live")
        rows = select(TwinRow).where(TwinRow.due_at <= now, live).order_by(TwinRow.due_at).limit(AT_ONCE)
        for row in session.scalars(rows):
            row.due_at = now + twin.wait(row.tries)
            row.tries += 1
            found.append((row.device, twin.payload(row.epoch, row.version, json.loads(row.desired))))
        return found

    return registry.transact(work)


def heard(registry: Registry, device: str, payload: bytes) -> None:
    """Store what a device has reported; what it has said before is nothing new."""
    reported = read(ReportedTwin, payload)

    def work(session: Session) -> None:
        if session.get(DeviceRow, device) is None:
            return  # whose certificate is of this fleet, and whose name is not: of another registry
        if isinstance(reported, str):
            registry.audit(session, Entry("twin", device, "malformed", reported, device=device))
            return
        row = _row(session, device, registry.now())
        content = reported.model_dump_json(by_alias=True)
        known, wanted = order(reported.epoch, reported.desired_version), order(row.epoch, row.version)
        if row.version > 0 and known < wanted and (row.due_at is None or row.due_at > registry.now() + SOON):
            row.due_at, row.tries = registry.now(), 0  # it is back after a long time, or has lost what it knew
        if known == wanted:
            row.due_at = None
        if content == row.reported:
            return
        row.reported, row.reported_at = content, registry.now()
        code = "ahead" if known > wanted else reported.state
        registry.audit(session, Entry("twin", device, code, twin.said(reported), device=device))

    registry.transact(work)


def subject(context: Context) -> Subject:
    """The part in the service: wishes out, reports in. Each process hears every report, also those that it was not there for."""

    def work(_: int) -> list[Answer]:
        return [
            Answer(topic(device, "down/twin"), content, retain=True, log={"event": "twin", "device": device})
            for device, content in due(context.registry)
        ]

    def handle(name: str, payload: bytes, _: Properties) -> list[Answer]:
        if payload:  # an empty one only clears what was retained
            heard(context.registry, name.split("/")[-3], payload)
        return []

    return Subject(routes=(Route(f"{ROOT}/+/up/twin", handle, shared=False),), ticks=(Tick(work, EVERY),))


def _epoch(session: Session, now: int) -> int:
    """The epoch that holds; the first one begins with the first wish."""
    newest = session.scalars(select(EpochRow).order_by(EpochRow.epoch.desc()).limit(1)).first()
    if newest is None:
        session.add(EpochRow(epoch=now, began_at=now))
        return now
    return newest.epoch


def _row(session: Session, device: str, now: int) -> TwinRow:
    row = session.get(TwinRow, device)
    if row is None:
        if session.get(DeviceRow, device) is None:
            raise WordsError(f"there is no device {device!r}; see mien-fleet devices")
        row = TwinRow(device=device, epoch=0, version=0, desired="{}", set_at=now, tries=0)
        session.add(row)
    return row


def _twin(row: TwinRow) -> Twin:
    said = read(ReportedTwin, row.reported.encode()) if row.reported else None
    reported = said if isinstance(said, ReportedTwin) else None  # not what an older version of this program has stored
    return Twin(row.device, row.epoch, row.version, json.loads(row.desired), reported, row.set_at, row.reported_at)
