"""What the registry knows about a request, as ``enrolment`` wants it."""

from __future__ import annotations

import hashlib
from typing import cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from device.contract_enroll import CsrRequest, Proof, RenewRequest
from provisioning.decisions import DAY, OPEN, Certificate, Claim, Facts, Listed, State, Verdict
from provisioning.tables import CertificateRow, ClaimRow, DeviceRow, RequestRow, SerialRow


def of_csr(session: Session, claim: str, key: str, request: CsrRequest) -> Facts:
    """About a CSR that came with this claim for this key."""
    own = newest(session, key)
    asked = session.get(RequestRow, (request.serial, key))
    same_nonce = session.scalars(select(CertificateRow).where(CertificateRow.key == key, CertificateRow.nonce == request.nonce))
    others = select(RequestRow.key).where(RequestRow.serial == request.serial, RequestRow.key != key, RequestRow.verdict.is_(None))
    before = same_nonce.first()
    return Facts(
        claim=_claim(session, claim),
        listed=_listed(session, request.serial),
        own=_certificate(own) if own else None,
        rivals=_rivals(session, request.serial, key),
        waiting=tuple(session.scalars(others)),
        verdict=cast("Verdict | None", asked.verdict) if asked else None,
        nonce_of=cast("State", before.state) if before else None,
    )


def of_proof(session: Session, name: str, key: str, request: Proof, *, proven: bool) -> Facts:
    """About a registration or a confirmation."""
    own = newest(session, key)
    given = session.scalars(select(CertificateRow).where(CertificateRow.token == request.token)).first()
    return Facts(
        claim=_claim(session, name),
        listed=_listed(session, own.serial) if own else None,
        own=_certificate(own) if own else None,
        rivals=_rivals(session, own.serial, key) if own else (),
        token_of=given.key if given else None,
        proven=proven,
    )


def of_renewal(session: Session, device: str, key: str | None, request: RenewRequest, now: int) -> Facts:
    """About a device that asks for its next certificate, for this key (None: the CSR has none that counts)."""
    known = session.get(DeviceRow, device)
    if known is None or key is None:
        return Facts(listed=_listed(session, known.serial) if known else None)
    own = newest(session, key)
    same_nonce = select(CertificateRow.state).where(CertificateRow.key == key, CertificateRow.nonce == request.nonce)
    recent = select(func.count()).where(CertificateRow.device == device, CertificateRow.issued_at > now - DAY)
    return Facts(
        listed=_listed(session, known.serial),
        own=_certificate(own) if own else None,
        rivals=_rivals(session, known.serial, key),
        nonce_of=cast("State | None", session.scalars(same_nonce).first()),
        recent=session.scalars(recent).one(),
    )


def newest(session: Session, key: str) -> CertificateRow | None:
    """The certificate that was issued last for a key."""
    return session.scalars(
        select(CertificateRow).where(CertificateRow.key == key).order_by(CertificateRow.id.desc()).limit(1)
    ).first()


def _claim(session: Session, name: str) -> Claim | None:
    """The best claim of this name: a broker tells the name alone."""
    rows = session.scalars(select(ClaimRow).where(ClaimRow.name == name)).all()
    if not rows:
        return None
    good = [row for row in rows if row.revoked_at is None] or rows
    best = max(good, key=lambda row: row.expires_at)
    return Claim(best.batch, best.expires_at, best.revoked_at is not None, best.single, best.used_by, best.serial)


def _listed(session: Session, serial: str) -> Listed | None:
    row = session.get(SerialRow, serial)
    return Listed(row.serial, row.batch, device_name(row.serial), row.key) if row else None


def _rivals(session: Session, serial: str, key: str) -> tuple[Certificate, ...]:
    rows = select(CertificateRow).where(CertificateRow.serial == serial, CertificateRow.key != key, CertificateRow.state.in_(OPEN))
    return tuple(_certificate(row) for row in session.scalars(rows))


def _certificate(row: CertificateRow) -> Certificate:
    state = cast("State", row.state)
    return Certificate(
        row.number,
        row.serial,
        row.device,
        row.key,
        state,
        row.token,
        row.token_expires_at,
        row.expires_at,
        row.nonce,
        row.box,
        row.renews,
    )


def device_name(serial: str) -> str:
    """The name that a serial's device has for ever; it does not tell the serial to those who see topics."""
    return f"m{hashlib.sha256(f'mien device {serial}'.encode()).hexdigest()[:15]}"
