"""Draws the demo's reports on a terminal."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from device.commands._files import write
from device.contract import CELLS, Report

COLOURS: Final = {
    "neutral": "grey70", "happiness": "yellow", "surprise": "magenta", "sadness": "blue", "anger": "red",
    "disgust": "green", "fear": "dark_orange3", "contempt": "cyan", "unknown": "grey50",
}  # fmt: skip
WHY: Final = {
    "k": "fewer than k people",
    "budget": "the privacy budget is spent",
    "policy": "the policy forbids it",
    "paused": "paused",
    "unwatched": "the camera showed nothing",
}
BAR: Final = 24  # characters


class Screen:
    """The latest report as bars, the earlier ones as lines, and the terms that they passed."""

    def __init__(self, camera: str, window: int, seconds: int, broker: str | None) -> None:
        self._console = Console(highlight=False)
        self._reports: list[Report] = []
        self._camera, self._window, self._seconds, self._broker = camera, window, seconds, broker
        self._began = time.monotonic()
        self._live = Live(self._draw(), console=self._console, refresh_per_second=4, transient=True)
        self._draws = self._console.is_terminal

    def __enter__(self) -> Screen:
        if self._draws:
            self._live.start()
        else:
            self._console.print(f"mien demo: camera {self._camera}, windows of {self._window} s, for {self._seconds} s")
        return self

    def __exit__(self, *_: object) -> None:
        if self._draws:
            self._live.stop()

    def show(self, report: Report) -> None:
        """A report has arrived."""
        self._reports.append(report)
        if not self._draws:
            self._console.print(_one_line(report))

    def tick(self) -> None:
        """Time has passed."""
        if self._draws:
            self._live.update(self._draw())

    def summary(self, reports: list[Report]) -> None:
        """The last picture, and what there was to see."""
        if self._draws or not reports:
            self._console.print(self._draw(ended=True))
        shown = [report for report in reports if report.withheld is None]
        many = "1 report" if len(reports) == 1 else f"{len(reports)} reports"
        self._console.print(f"{many}: {len(shown)} with figures, {len(reports) - len(shown)} withheld. No image was kept.")

    def save(self, file: Path) -> None:
        """Save the last screen as an SVG picture that loads nothing from elsewhere. Raises OutputError."""
        console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        console.print(self._draw(ended=True))
        svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="make demo"), flags=re.DOTALL)
        write(file, svg.replace("Fira Code", "DejaVu Sans Mono"))

    def _draw(self, *, ended: bool = False) -> RenderableType:
        parts: list[RenderableType] = [self._head()]
        elapsed = min(time.monotonic() - self._began, self._seconds)
        if not ended:
            parts += [ProgressBar(self._seconds, elapsed, width=BAR), Text(f"{elapsed:.0f} of {self._seconds} s\n", style="dim")]
        if self._reports:
            parts += [_bars(self._reports[-1]), self._history()]
        elif ended:
            parts.append(Text("no report arrived", style="yellow"))
        else:
            parts.append(Text(f"the first window of {self._window} s is being watched"))
        return Panel(Group(*parts), title="mien demo", width=78, padding=(1, 2))

    def _head(self) -> Text:
        text = Text()
        text.append(f"camera {self._camera} → watch → spool → send → {self._broker or 'embedded MQTT 5 broker'}\n")
        text.append("noise off, k = 2: true counts, for demonstration only\n", style="yellow")
        return text

    def _history(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("window", "people", "most seen", "coverage", "fps"):
            table.add_column(name, justify="right" if name != "most seen" else "left")
        for report in self._reports[-8:]:
            quality = report.quality
            figures = (str(report.people), _most(report)) if report.withheld is None else ("–", f"withheld: {WHY[report.withheld]}")
            table.add_row(f"{report.span.start:%H:%M:%S}", *figures, f"{quality.coverage:.0%}", f"{quality.fps:g}")
        return table


def _bars(report: Report) -> RenderableType:
    if report.groups is None or report.people is None:
        why = WHY[report.withheld] if report.withheld else ""
        return Panel(Text(f"withheld: {why} (k = {report.privacy.k})", style="bold yellow"), width=72)
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, title=f"{report.people} people", title_justify="left")
    for cell in CELLS:
        if report.groups.emotion is None:  # the policy permits no more than to count people
            break
        count = getattr(report.groups.emotion, cell)
        if count is None:
            table.add_row(cell, Text("·" * 3, style="dim"), Text("left out", style="dim"))
        else:
            shown = max(count, 0)  # noise may have made it negative
            length = min(BAR, round(BAR * shown / max(report.people, 1)))
            table.add_row(cell, Text("█" * length, style=COLOURS[cell]), str(shown))
    return Group(table, Text(f"k = {report.privacy.k}, noise {report.privacy.noise}\n", style="dim"))


def _most(report: Report) -> str:
    emotion = report.groups.emotion if report.groups else None
    counts = {cell: getattr(emotion, cell) for cell in CELLS} if emotion else {}
    known = {cell: count for cell, count in counts.items() if count and count > 0}
    return max(known, key=lambda cell: known[cell]) if known else "–"


def _one_line(report: Report) -> str:
    terms = f"k = {report.privacy.k}, noise {report.privacy.noise}"
    if report.groups is None:
        return f"{report.span.start:%H:%M:%S}  withheld: {WHY[report.withheld or 'k']}  ({terms})"
    emotion = report.groups.emotion
    cells = [(cell, getattr(emotion, cell)) for cell in CELLS] if emotion else []
    figures = ", ".join(f"{cell} {'left out' if count is None else count}" for cell, count in cells if count is None or count > 0)
    return f"{report.span.start:%H:%M:%S}  {report.people} people: {figures}  ({terms})"
