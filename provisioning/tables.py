"""The registry's tables. Times are whole seconds since 1970, UTC; ``provisioning/migrations`` makes and changes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, MetaData, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class Batch(Table):
    """Identical boxes that came together, and what their certificates say about where they work."""

    __tablename__ = "batches"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    setting: Mapped[str] = mapped_column(String(32))
    jurisdiction: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[int] = mapped_column(BigInteger)


class ClaimRow(Table):
    """A claim certificate. Several may have one name, all that a broker tells of it. ``serial``: of the one box that it is for."""

    __tablename__ = "claims"
    number: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), index=True)
    batch: Mapped[str] = mapped_column(ForeignKey("batches.name"))
    single: Mapped[bool]
    used_by: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    serial: Mapped[str | None] = mapped_column(String(64))


class SerialRow(Table):
    """The allow-list."""

    __tablename__ = "serials"
    serial: Mapped[str] = mapped_column(String(64), primary_key=True)
    batch: Mapped[str] = mapped_column(ForeignKey("batches.name"), index=True)
    key: Mapped[str | None] = mapped_column(String(64))


class DeviceRow(Table):
    """A serial that was given a certificate. Its name is for ever."""

    __tablename__ = "devices"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    serial: Mapped[str] = mapped_column(ForeignKey("serials.serial"), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class CertificateRow(Table):
    """Every certificate of a device that was ever issued; ``on_list_at``: when it was put on the revocation list.

    ``renews``: the number of the certificate that it follows, where it was asked for with that one.
    """

    __tablename__ = "certificates"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    number: Mapped[str] = mapped_column(String(40), unique=True)
    serial: Mapped[str] = mapped_column(ForeignKey("serials.serial"), index=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), index=True)
    key: Mapped[str] = mapped_column(String(64), index=True)
    state: Mapped[str] = mapped_column(String(16))
    claim: Mapped[str] = mapped_column(String(40))
    nonce: Mapped[str] = mapped_column(String(32))
    token: Mapped[str] = mapped_column(String(64), unique=True)
    token_expires_at: Mapped[int] = mapped_column(BigInteger)
    box: Mapped[str | None] = mapped_column(String(16))
    pem: Mapped[str] = mapped_column(Text)
    issued_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    on_list_at: Mapped[int | None] = mapped_column(BigInteger)
    renews: Mapped[str | None] = mapped_column(String(40))

    # The database itself sees to it that there is one live certificate per serial, whatever the programs do.
    __table_args__ = (
        Index("one_live", "serial", unique=True, sqlite_where=text("state = 'live'"), postgresql_where=text("state = 'live'")),
        Index("key_nonce", "key", "nonce", unique=True),
    )


class RequestRow(Table):
    """A key that asks for a serial and needs a person, and what the person said."""

    __tablename__ = "requests"
    serial: Mapped[str] = mapped_column(ForeignKey("serials.serial"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    claim: Mapped[str] = mapped_column(String(40))
    box: Mapped[str | None] = mapped_column(String(16))
    verdict: Mapped[str | None] = mapped_column(String(16))
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)


class LabelRow(Table):
    """What people call a device."""

    __tablename__ = "labels"
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))


class AuditRow(Table):
    """Every step and how it ended; the same again and again is one row, counted."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)
    times: Mapped[int]
    step: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64))
    key: Mapped[str | None] = mapped_column(String(64), index=True)
    serial: Mapped[str | None] = mapped_column(String(64), index=True)
    device: Mapped[str | None] = mapped_column(String(64), index=True)
    code: Mapped[str] = mapped_column(String(24))
    message: Mapped[str] = mapped_column(Text)
    retry_after_s: Mapped[int]
