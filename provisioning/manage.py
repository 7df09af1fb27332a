"""What a person does with the registry: batches, claims, approval, and looking. Each function is one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from provisioning import statuses
from provisioning.decisions import OPEN, short
from provisioning.errors import WordsError
from provisioning.facts import device_name
from provisioning.registry import Entry, Registry
from provisioning.tables import AuditRow, Batch, CertificateRow, ClaimRow, DeviceRow, LabelRow, RequestRow, SerialRow

MANAGER: Final = "manager"
SERIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY: Final = re.compile(r"[0-9a-f]{64}")
BATCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}")  # a claim for one device adds a dot and six digits
TERM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Device:
    """A serial of the allow-list, and how far it has come; times are seconds since 1970.

    Attributes:
        state: ``listed``, ``waiting`` for approval, or the state of its newest certificate.
        two_machines: Both that run with its certificate, in words, where two do or did.
    """

    serial: str
    name: str
    batch: str
    state: str
    key: str | None
    expires_at: int | None
    labels: dict[str, str]
    last_code: str | None
    last_message: str | None
    two_machines: str | None = None


def add_batch(registry: Registry, name: str, setting: str, jurisdiction: str, serials: Mapping[str, str | None]) -> int:
    """Put serials on the allow-list of a batch, which is made when there is none of that name.

    Args:
        registry: The database.
        name: Of the batch.
        setting: What certificates say about where the devices work, such as retail.
        jurisdiction: And which law applies, such as DE.
        serials: Serial → SHA-256 of its public key, where it is known beforehand; repeated ones are updated.

    Returns:
        How many serials are new.

    Raises:
        WordsError: A word is none; the batch says something else already; a serial is in another batch. Nothing has changed.
    """
    for what, word, form in (("batch", name, BATCH), ("setting", setting, TERM), ("jurisdiction", jurisdiction, TERM)):
        if not form.fullmatch(word):
            raise WordsError(f"{word!r} cannot be a {what}; expected letters, digits, - (and _ in a batch), 31 at most")
    for serial, key in serials.items():
        if not SERIAL.fullmatch(serial) or (key is not None and not KEY.fullmatch(key)):
            raise WordsError(
                f"{serial!r} {key or ''}: expected a serial of letters, digits, . _ - (64 at most), and perhaps 64 hex digits"
            )

    def work(session: Session) -> int:
        batch = session.get(Batch, name)
        if batch is None:
            session.add(Batch(name=name, setting=setting, jurisdiction=jurisdiction, created_at=registry.now()))
            session.flush()
        elif (batch.setting, batch.jurisdiction) != (setting, jurisdiction):
            raise WordsError(
                f"batch {name} is {batch.setting} in {batch.jurisdiction} already; choose another name for another kind"
            )
        new = 0
        for serial, key in serials.items():
            row = session.get(SerialRow, serial)
            if row is None:
                session.add(SerialRow(serial=serial, batch=name, key=key))
                new += 1
            elif row.batch != name:
                raise WordsError(f"serial {serial} is in batch {row.batch} already; a serial belongs to one batch")
            else:
                row.key = key or row.key
        registry.audit(session, Entry("batch", MANAGER, "accepted", f"batch {name}: {len(serials)} serials, {new} new"))
        return new

    return registry.transact(work)


def add_claim(
    registry: Registry, batch: str, name: str, number: str, expires_at: int, *, single: bool, serial: str | None = None
) -> None:
    """Note a claim certificate that was issued for a batch, or for one serial of it.

    Raises:
        WordsError: There is no such batch.
    """

    def work(session: Session) -> None:
        if session.get(Batch, batch) is None:
            raise WordsError(f"there is no batch {batch!r}; make it with mien-fleet batch add")
        row = ClaimRow(number=number, name=name, batch=batch, single=single, created_at=registry.now(), expires_at=expires_at)
        row.serial = serial
        session.add(row)
        registry.audit(session, Entry("claim", MANAGER, "accepted", f"claim {name} for batch {batch}, certificate {number}"))

    registry.transact(work)


def check_listed(registry: Registry, batch: str, serial: str | None = None) -> None:
    """Raises WordsError when there is no such batch, or the serial is not on its list."""

    def work(session: Session) -> None:
        if session.get(Batch, batch) is None:
            raise WordsError(f"there is no batch {batch!r}; make it with mien-fleet batch add")
        row = session.get(SerialRow, serial) if serial is not None else None
        if serial is not None and (row is None or row.batch != batch):
            raise WordsError(f"serial {serial!r} is not on the list of batch {batch}; put it there with mien-fleet batch add")

    registry.transact(work)


def decide(registry: Registry, serial: str, *, key: str | None = None, replace: bool = False, refuse: bool = False) -> str:
    """Say yes or no to a key that waits for a serial.

    Args:
        registry: The database.
        serial: Which one.
        key: The beginning of the key, needed where several boxes ask.
        replace: Let it in instead of the one that has the serial now, whose certificate ends once the new one works.
        refuse: Say no.

    Returns:
        The key.

    Raises:
        WordsError: Nothing waits, several do, or another key has the serial and ``replace`` was not said.
    """

    def work(session: Session) -> str:
        asked = session.scalars(select(RequestRow).where(RequestRow.serial == serial)).all()
        found = [one for one in asked if one.key.startswith(key or "")]
        if not found:
            raise WordsError(f"nothing waits for serial {serial}{' with this key' if key else ''}; see mien-fleet devices")
        if len(found) > 1:
            said = ", ".join(f"{short(one.key)} (hardware {one.box or 'unknown'})" for one in found)
            raise WordsError(f"{len(found)} boxes ask for serial {serial}: {said}; look at the box, then name its key with --key")
        (one,) = found
        rival = session.scalars(
            select(CertificateRow).where(
                CertificateRow.serial == serial, CertificateRow.key != one.key, CertificateRow.state.in_(OPEN)
            )
        ).first()
        if rival is not None and not replace and not refuse:
            raise WordsError(
                f"key {short(rival.key)} has serial {serial} (certificate {rival.state}), and {short(one.key)} asks for it; "
                "if it is the box that replaces it, say --replace"
            )
        one.verdict = "refused" if refuse else "replace" if replace else "approved"
        registry.audit(session, Entry("approve", MANAGER, one.verdict, key=one.key, serial=serial))
        return one.key

    return registry.transact(work)


def to_revoke(registry: Registry, device: str) -> dict[str, int]:
    """Mark every certificate of a device as revoked; returns their numbers and ends, for the revocation list.

    Raises:
        WordsError: There is no such device.
    """

    def work(session: Session) -> dict[str, int]:
        if session.get(DeviceRow, device) is None:
            raise WordsError(f"there is no device {device!r}; see mien-fleet devices")
        rows = session.scalars(select(CertificateRow).where(CertificateRow.device == device)).all()
        for row in rows:
            row.state = "revoked"
            session.execute(delete(RequestRow).where(RequestRow.serial == row.serial, RequestRow.key == row.key))
        registry.audit(session, Entry("revoke", MANAGER, "revoked", device=device))
        return {row.number: row.expires_at for row in rows}

    return registry.transact(work)


def revoked_device(registry: Registry, serial: str) -> str | None:
    """The device of a serial, where a person has revoked it."""
    rows = select(CertificateRow.device).where(CertificateRow.serial == serial, CertificateRow.state == "revoked").limit(1)
    return registry.transact(lambda session: session.scalars(rows).first())


def ended(registry: Registry, *, thorough: bool = False) -> dict[str, int]:
    """Certificates that nobody may use any more and that are not on the revocation list yet: number → end.

    One that waited too long to be registered is dropped on the way. With ``thorough``, also those that are on a list already, as
    long as they have not ended by themselves.
    """

    def work(session: Session) -> dict[str, int]:
        now = registry.now()
        late = select(CertificateRow).where(CertificateRow.state == "pending", CertificateRow.token_expires_at <= now)
        for row in session.scalars(late):
            row.state = "dropped"
        session.flush()
        new = CertificateRow.expires_at > now if thorough else CertificateRow.on_list_at.is_(None)
        rows = select(CertificateRow).where(CertificateRow.state.not_in(OPEN), new)
        return {row.number: row.expires_at for row in session.scalars(rows)}

    return registry.transact(work)


def on_the_list(registry: Registry, numbers: Iterable[str]) -> None:
    """Note that these certificates are on the revocation list."""
    wanted = list(numbers)

    def work(session: Session) -> None:
        for row in session.scalars(select(CertificateRow).where(CertificateRow.number.in_(wanted))):
            row.on_list_at = registry.now()

    registry.transact(work)


def devices(registry: Registry) -> list[Device]:
    """Every serial of the allow-list, by batch and serial."""

    def work(session: Session) -> list[Device]:
        newest = select(func.max(CertificateRow.id)).group_by(CertificateRow.serial)
        certificates = {row.serial: row for row in session.scalars(select(CertificateRow).where(CertificateRow.id.in_(newest)))}
        live = select(CertificateRow).where(CertificateRow.state == "live")
        certificates |= {row.serial: row for row in session.scalars(live)}
        doubles = statuses.standing(session, {row.device: row for row in certificates.values() if row.state == "live"})
        waiting = {row.serial: row for row in session.scalars(select(RequestRow).where(RequestRow.verdict.is_(None)))}
        told = (AuditRow.serial.is_not(None), AuditRow.step != statuses.STEP)
        said = select(func.max(AuditRow.id)).where(*told).group_by(AuditRow.serial)
        last = {row.serial: row for row in session.scalars(select(AuditRow).where(AuditRow.id.in_(said)))}
        labels: dict[str, dict[str, str]] = {}
        for label in session.scalars(select(LabelRow).order_by(LabelRow.name)):
            labels.setdefault(label.device, {})[label.name] = label.value
        found = []
        for row in session.scalars(select(SerialRow).order_by(SerialRow.batch, SerialRow.serial)):
            own, name = certificates.get(row.serial), device_name(row.serial)
            asks = waiting.get(row.serial)
            state = own.state if own else "waiting" if asks else "listed"
            key = own.key if own else asks.key if asks else row.key
            audit = last.get(row.serial)
            said_last = (audit.code, audit.message) if audit else (None, None)
            ends = own.expires_at if own else None
            about = (labels.get(name, {}), *said_last, doubles.get(name))
            found.append(Device(row.serial, name, row.batch, state, key, ends, *about))
        return found

    return registry.transact(work)


def audit_log(registry: Registry, serial: str | None = None, newest: int = 100) -> list[Entry]:
    """The newest steps, the oldest of them first; of one serial, or of all."""
    rows = select(AuditRow).order_by(AuditRow.id.desc()).limit(newest)
    if serial is not None:
        rows = rows.where(AuditRow.serial == serial)

    def work(session: Session) -> list[Entry]:
        found = list(session.scalars(rows))[::-1]
        return [_entry(one) for one in found]

    return registry.transact(work)


def _entry(row: AuditRow) -> Entry:
    about = {"key": row.key, "serial": row.serial, "device": row.device}
    return Entry(row.step, row.name, row.code, row.message, retry_after_s=row.retry_after_s, **about)
