"""The registry's table about commands. Times are whole seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from provisioning.tables import Table


class CommandRow(Table):
    """A command to one device, and what became of it.

    ``request``: what a person asked for once, of one device or of many. ``state``: ``waiting`` until the device answers, then what
    it said last; ``expired`` when it has not answered in time. ``due_at``: when it is to be sent (again), or given up; null once
    that is over. ``tries``: how often it was sent, since it was heard of last.
    """

    __tablename__ = "commands"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request: Mapped[str] = mapped_column(String(32), index=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), index=True)
    command: Mapped[str] = mapped_column(String(16))
    seconds: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(16))
    findings: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger, index=True)
    tries: Mapped[int]
    answered_at: Mapped[int | None] = mapped_column(BigInteger)
