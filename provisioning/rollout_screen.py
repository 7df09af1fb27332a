"""A rollout on a terminal: a line per stage, what the devices say, and those that have failed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from provisioning.rollout import ORDER, Member, Rollout
from provisioning.rollouts import View

COLOURS = {"running": "green", "paused": "yellow", "aborted": "red", "done": "bold green"}
MOST_FAILED = 12  # lines


def drawn(view: View, now: int) -> RenderableType:
    """The rollout at this time, seconds since 1970."""
    one = view.rollout
    since = dt.datetime.fromtimestamp(view.created_at, dt.timezone.utc)
    head = Text.assemble(
        (f"{view.wanted.target}", "bold"),
        "  ",
        (one.state, COLOURS[one.state]),
        f"  rollout {one.id}, since {since:%Y-%m-%d %H:%M} UTC",
    )
    parts: list[RenderableType] = [head, _stages(one, now)]
    if one.reason:
        parts.append(Text(one.reason, "red"))
    times = [member.milliseconds for member in one.members if member.milliseconds is not None]
    if times:
        parts.append(Text(f"one pass takes {median(times):.1f} ms (median of {len(times)} devices), {max(times):.1f} ms at most"))
    failed = [member for member in one.members if member.failed]
    if failed:
        parts.append(_failures(failed))
    return Group(*parts)


def _stages(one: Rollout, now: int) -> Table:
    table = Table()
    shown = [state for state in ORDER if any(member.state == state for member in one.members)]
    for name in ("stage", "devices", *shown, "unwell", "not there"):
        table.add_column(name, justify="right")
    for number, percent in enumerate(one.plan.stages):
        own = [member for member in one.members if member.stage == number]
        counts = Counter(member.state for member in own)
        unwell = sum(member.unwell_at is not None for member in own)
        silent = sum(one.silent(member, now) for member in own)
        figures = [str(counts[state] or "") for state in shown]
        style = "bold" if number == one.stage and one.state in ("running", "paused") else ""
        table.add_row(f"{percent:g}%", str(len(own)), *figures, str(unwell or ""), str(silent or ""), style=style)
    return table


def _failures(failed: list[Member]) -> Table:
    table = Table("device", "state", "reason", title="failed", title_justify="left")
    for member in failed[:MOST_FAILED]:
        table.add_row(member.device, member.state, member.reason or "unwell")
    if len(failed) > MOST_FAILED:
        table.add_row(f"and {len(failed) - MOST_FAILED} more", "", "")
    return table
