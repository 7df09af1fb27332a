"""What ``mien-fleet serve`` does, one subject a line: each module has a function ``subject(context)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from provisioning import command_store, groups, housekeeping, intake, renewal, rollouts, statuses, twins
from provisioning.routes import Context, Subject

SUBJECTS: Final[tuple[Callable[[Context], Subject], ...]] = (
    intake.subject,
    renewal.subject,
    command_store.subject,
    twins.subject,
    groups.subject,
    rollouts.subject,
    statuses.subject,
    housekeeping.subject,
)
