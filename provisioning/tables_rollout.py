"""The registry's tables about model rollouts. Times are whole seconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from provisioning.tables import Table


class RolloutRow(Table):
    """A model on its way to devices: ``provisioning/rollout.py`` says what the columns mean. ``stages``: percents, with commas.
    ``slot``: 1 until it is over, then null; unique, because a device has one topic for jobs.
    """

    __tablename__ = "rollouts"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    target: Mapped[str] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(String(320))
    timestamp: Mapped[int] = mapped_column(BigInteger)
    chosen: Mapped[str] = mapped_column(Text)
    stages: Mapped[str] = mapped_column(String(200))
    abort_above: Mapped[float] = mapped_column(Double)
    soak_seconds: Mapped[int]
    spread_seconds: Mapped[int]
    timeout_seconds: Mapped[int]
    trial_seconds: Mapped[int]
    slowest_ms: Mapped[int]
    slot: Mapped[int | None] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(String(16))
    stage: Mapped[int]
    back: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)


class RolloutDeviceRow(Table):
    """A device of a rollout, and how far it is. ``due_at``: when its job is to be sent (again); null when it is not."""

    __tablename__ = "rollout_devices"
    rollout: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("devices.name"), primary_key=True, index=True)
    stage: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(16))
    milliseconds: Mapped[float | None] = mapped_column(Double)
    sent_at: Mapped[int | None] = mapped_column(BigInteger)
    changed_at: Mapped[int] = mapped_column(BigInteger)
    unwell_at: Mapped[int | None] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)
    tries: Mapped[int]
