"""Who may change a watching process while it runs, one line each. ``device/reload.py`` asks them; the last has the last word."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from device.clock import this_boot
from device.model_store import Models, may_change
from device.reload import Change
from device.settings import Settings
from device.twin_keeper import TwinKeeper


def changes(settings: Settings, log: FilteringBoundLogger) -> tuple[Change, ...]:
    """Those that the settings allow."""
    made: list[Change] = []
    if settings.broker.twin:
        made.append(TwinKeeper(settings, log))
    if may_change(settings):
        made.append(Models(settings, this_boot(), log))
    return tuple(made)


def goodbye(made: Sequence[Change]) -> None:
    """The process ends as it should: whoever counts how often it did not is told so."""
    for change in made:
        if isinstance(change, Models):
            change.close()
