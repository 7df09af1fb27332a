"""Groups: devices that have certain labels, now or later. What is wanted of a group is wanted of whoever joins it, too.

A device joins a group with the label that it was still lacking, and the group of all devices when it is enrolled. It then gets what
its groups want, over what was wanted of it before. It leaves with what it has: nothing is taken back by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from provisioning import twin, twins
from provisioning.errors import WordsError
from provisioning.manage import SERIAL
from provisioning.registry import Registry
from provisioning.routes import Answer, Context, Subject, Tick
from provisioning.tables import CertificateRow, DeviceRow, LabelRow
from provisioning.tables_twin import GroupRow, TwinRow

EVERY: Final = 5.0  # seconds between two looks for devices that were enrolled


def wish(
    registry: Registry, devices: Iterable[str], wanted: Mapping[str, Any], patterns: Sequence[str] | None = None
) -> dict[str, int]:
    """Want something of these devices, and of those that come to have labels like ``patterns``.

    Args:
        registry: The database.
        devices: Their names.
        wanted: Dotted keys → values; ``None`` takes a key back.
        patterns: Such as ``store=berlin*``, all of them; none is everybody. ``None``: of these devices alone.

    Returns:
        The version of each device for which this was something new.

    Raises:
        WordsError: There is no such device, or no device could accept it. Nothing has changed.
    """
    names, group = list(devices), None if patterns is None else json.dumps(sorted(set(patterns)))

    def work(session: Session) -> dict[str, int]:
        versions = twins.want(registry, session, names, wanted)
        if group is not None:
            row = session.scalars(select(GroupRow).where(GroupRow.patterns == group)).first()
            desired = twin.changed(json.loads(row.desired) if row else {}, wanted)
            session.execute(delete(GroupRow).where(GroupRow.patterns == group))
            if desired:
                session.add(GroupRow(patterns=group, desired=json.dumps(desired, ensure_ascii=False), set_at=registry.now()))
        return versions

    return registry.transact(work)


def set_label(registry: Registry, device: str, name: str, value: str | None) -> int | None:
    """Name a device for people; ``None`` removes the label.

    Returns:
        The version of what is wanted of the device, where it has joined a group that wants something new of it.

    Raises:
        WordsError: There is no such device, or a word is too long.
    """
    if not SERIAL.fullmatch(name) or (value is not None and not 0 < len(value) <= 200):
        raise WordsError(f"{name}={value}: expected a name of letters, digits, . _ - (64 at most) and a value of 200 at most")

    def work(session: Session) -> int | None:
        if session.get(DeviceRow, device) is None:
            raise WordsError(f"there is no device {device!r}; see mien-fleet devices")
        before = _labels(session).get(device, {})
        session.execute(delete(LabelRow).where(LabelRow.device == device, LabelRow.name == name))
        if value is not None:
            session.add(LabelRow(device=device, name=name, value=value))
        after = {**before, name: value} if value is not None else {key: one for key, one in before.items() if key != name}
        row = session.get(TwinRow, device)
        wanted = _joined(groups_of(session), after, before if row is not None and row.version > 0 else None)
        return twins.want(registry, session, [device], wanted).get(device) if wanted else None

    return registry.transact(work)


def welcome(registry: Registry) -> int:
    """Want of devices that have just been enrolled what their groups want; returns of how many."""

    def work(session: Session) -> int:
        if not (groups := groups_of(session)):
            return 0
        live = exists().where(CertificateRow.device == DeviceRow.name, CertificateRow.state == "live")
        known = exists().where(TwinRow.device == DeviceRow.name, TwinRow.version > 0)
        labels, count = _labels(session), 0
        for name in session.scalars(select(DeviceRow.name).where(live, ~known)).all():
            if wanted := _joined(groups, labels.get(name, {}), None):
                with suppress(WordsError):  # too much together; whoever labels it is told
                    count += len(twins.want(registry, session, [name], wanted))
        return count

    return registry.transact(work)


def listed(registry: Registry) -> list[tuple[list[str], dict[str, Any]]]:
    """Patterns, and what is wanted, of each group; the oldest wish first."""
    return registry.transact(groups_of)


def groups_of(session: Session) -> list[tuple[list[str], dict[str, Any]]]:
    """The same, within a transaction."""
    rows = session.scalars(select(GroupRow).order_by(GroupRow.id))
    return [(json.loads(row.patterns), json.loads(row.desired)) for row in rows]


def subject(context: Context) -> Subject:
    """The part in the service."""

    def work(_: int) -> list[Answer]:
        welcome(context.registry)
        return []

    return Subject(ticks=(Tick(work, EVERY),))


def _joined(
    groups: Iterable[tuple[list[str], dict[str, Any]]], labels: Mapping[str, str], before: Mapping[str, str] | None
) -> dict[str, Any]:
    """What groups want that a device has joined with these labels; ``before`` is ``None`` for one that was in none."""
    wanted: dict[str, Any] = {}
    for patterns, desired in groups:
        if twin.selects(patterns, labels) and (before is None or not twin.selects(patterns, before)):
            wanted.update(desired)
    return wanted


def _labels(session: Session) -> dict[str, dict[str, str]]:
    """Device → its labels."""
    found: dict[str, dict[str, str]] = {}
    for row in session.scalars(select(LabelRow)):
        found.setdefault(row.device, {})[row.name] = row.value
    return found
