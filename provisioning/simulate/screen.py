"""A rehearsal on a terminal while it runs: a progress bar and a table; without a terminal, a line now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from provisioning.simulate.run import Picture, Show

LINE_EVERY: Final = 15.0  # seconds, where there is no terminal


@contextmanager
def watching() -> Iterator[Show]:
    """Show pictures on standard error."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda picture: live.update(drawn(picture), refresh=True)
        return
    said = ("", -LINE_EVERY)

    def line(picture: Picture) -> None:
        nonlocal said
        if picture.phase == said[0] and picture.seconds - said[1] < LINE_EVERY:
            return
        said = (picture.phase, picture.seconds)
        tally = picture.tally
        console.print(
            f"{picture.seconds:5.0f} s  {picture.phase}: {len(tally.enrolled)} of {tally.devices} enrolled, "
            f"{tally.connected} connected, {picture.seen} reports, {picture.per_second:.0f} messages/s, "
            f"service {picture.service_mib:.0f} MiB",
            highlight=False,
            soft_wrap=True,
        )

    yield line


def drawn(picture: Picture) -> Group:
    """The table as it stands."""
    tally = picture.tally
    table = Table.grid(padding=(0, 2))
    rows = {
        "enrolled": f"{len(tally.enrolled)} of {tally.devices}",
        "connected": str(tally.connected),
        "reports": f"{tally.counts['made']} made, {picture.seen} arrived",
        "messages": f"{picture.per_second:.0f} a second",
        "power cuts": str(tally.counts["failed"]),
    }
    if picture.service_mib:
        rows["memory"] = f"service {picture.service_mib:.0f} MiB, broker {picture.broker_mib:.0f} MiB"
    for name, value in rows.items():
        table.add_row(f"[dim]{name}", value)
    bar = ProgressBar(total=tally.devices, completed=len(tally.enrolled), width=60)
    if picture.phase == "coming back":
        bar = ProgressBar(total=tally.devices, completed=tally.connected, width=60)
    return Group(f"[bold]{picture.phase}[/]  {picture.seconds:.0f} s", bar, table)


def summary(figures: dict[str, Any]) -> Table:
    """The figures, for a person."""
    enrolment, restart, reports = figures["enrolment"], figures["restart"], figures["reports"]
    table = Table(title=f"{figures['devices']} simulated devices", title_justify="left", show_header=False)
    table.add_row("enrolled", f"{enrolment['enrolled']}, all after {_seconds(enrolment['seconds_to_enrol_all'])}")
    table.add_row("one device", f"median {_seconds(enrolment['median_seconds'])}, 99 % within {_seconds(enrolment['p99_seconds'])}")
    if restart is not None:
        table.add_row(
            "broker restarted",
            f"{restart['back']} of {restart['cut_off']} back, all after {_seconds(restart['seconds_until_all_back'])}",
        )
        share = restart["largest_share_in_one_second"]
        table.add_row("", "" if share is None else f"{share:.1%} of them in the busiest second")
    table.add_row("reports", f"{reports['made']} made, {reports['arrived']} arrived, {reports['lost']} lost")
    table.add_row("messages", f"{figures['messages']['per_second']} a second")
    if figures["service"]["peak_mib"]:
        table.add_row("service", ", ".join(f"{size:.0f} MiB" for size in figures["service"]["peak_mib"]))
    return table


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def print_summary(figures: dict[str, Any]) -> None:
    """The figures, on standard output."""
    Console().print(summary(figures))
