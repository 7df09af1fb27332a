"""The registry's table about devices of which two may run. Times are whole seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from provisioning.tables import Table


class DoubleRow(Table):
    """The runs of a device that were heard of, and whether two of them ran at one time.

    ``seen``: JSON, see ``provisioning/doubles.py``. ``said``: both, in words; ``said_at``: when that was last to be seen; null
    where it never was.
    """

    __tablename__ = "doubles"
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True)
    seen: Mapped[str] = mapped_column(Text)
    said: Mapped[str | None] = mapped_column(Text)
    said_at: Mapped[int | None] = mapped_column(BigInteger)
