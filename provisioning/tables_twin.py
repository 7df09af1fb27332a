"""The registry's tables about twins. Times are whole seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from provisioning.tables import Table


class EpochRow(Table):
    """When an epoch of this registry began; the greatest one holds. A backup that is restored begins a new one."""

    __tablename__ = "epochs"
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    began_at: Mapped[int] = mapped_column(BigInteger)


class TwinRow(Table):
    """What is wanted of a device, and what it reported last.

    ``version`` 0: nothing was ever wanted. ``desired`` and ``reported`` are JSON. ``due_at``: when what is wanted is to be sent, or
    sent again; null once the device has answered. ``tries``: how often it was sent without an answer.
    """

    __tablename__ = "twins"
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    desired: Mapped[str] = mapped_column(Text)
    set_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger, index=True)
    tries: Mapped[int]
    reported: Mapped[str | None] = mapped_column(Text)
    reported_at: Mapped[int | None] = mapped_column(BigInteger)


class GroupRow(Table):
    """What is wanted of a group, also of devices that join it later; of two that want the same key the newer one counts.

    ``patterns``: JSON, sorted, such as ``["store=berlin*"]``; an empty list is everybody. ``desired``: JSON.
    """

    __tablename__ = "groups"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    patterns: Mapped[str] = mapped_column(Text)
    desired: Mapped[str] = mapped_column(Text)
    set_at: Mapped[int] = mapped_column(BigInteger)
