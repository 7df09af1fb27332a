"""A picture of several rehearsals, as SVG without a plotting library: legible on light and on dark pages; and their table.

``python -m provisioning.simulate.plot FIGURES.jsonl PICTURE.svg`` draws the picture and prints the table in Markdown, from one line
of ``mien-fleet simulate --json`` per rehearsal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10
from pathlib import Path
from typing import Any, Final

SIDE, HEIGHT = 330, 220  # of a panel
LEFT, TOP, BETWEEN, RIGHT, BOTTOM = 58, 44, 74, 96, 48  # margins
COLOURS: Final = 5
COLUMNS: Final = (
    "devices",
    "all enrolled after",
    "one device: median, 99 %",
    "all back after",
    "of them in the busiest second",
    "service",
    "broker",
    "messages a second",
    "reports lost",
)
STYLE: Final = """
  .back { fill: #ffffff; } .frame { fill: none; stroke: #8c959f; } .grid { stroke: #d8dee4; } text { fill: #24292f; }
  text { font: 12px system-ui, sans-serif; } .title { font-size: 14px; font-weight: 600; } .soft { fill: #57606a; }
  .end { text-anchor: end; } .middle { text-anchor: middle; } .line { fill: none; stroke-width: 2; }
  .c0 { stroke: #0969da; } .c1 { stroke: #bc4c00; } .c2 { stroke: #1a7f37; } .c3 { stroke: #8250df; } .c4 { stroke: #cf222e; }
  .t0 { fill: #0969da; } .t1 { fill: #bc4c00; } .t2 { fill: #1a7f37; } .t3 { fill: #8250df; } .t4 { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; } .grid { stroke: #21262d; } text { fill: #e6edf3; } .soft { fill: #9aa4af; }
    .c0 { stroke: #58a6ff; } .c1 { stroke: #f0883e; } .c2 { stroke: #3fb950; } .c3 { stroke: #bc8cff; } .c4 { stroke: #ff7b72; }
    .t0 { fill: #58a6ff; } .t1 { fill: #f0883e; } .t2 { fill: #3fb950; } .t3 { fill: #bc8cff; } .t4 { fill: #ff7b72; }
  }
"""

Curve = Sequence[Sequence[float]]


def plot(rehearsals: Sequence[Mapping[str, Any]]) -> str:
    """How fleets of several sizes enrol, and how they come back after the broker's restart.

    Args:
        rehearsals: Figures as ``mien-fleet simulate --json`` prints them, in any order.

    Returns:
        A whole SVG document.
    """
    found = sorted(rehearsals, key=lambda one: int(one["devices"]))
    enrolled = {f"{one['devices']:,}": one["enrolment"]["curve"] for one in found}
    back = {f"{one['devices']:,}": one["restart"]["curve"] for one in found if one["restart"]}
    width, height = LEFT + 2 * SIDE + BETWEEN + RIGHT, TOP + HEIGHT + BOTTOM
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>{escape('Devices enrolled, and devices back after a restart of the broker: ' + '; '.join(enrolled))}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
            _panel("Enrolled", "seconds after the first was switched on", enrolled, LEFT),
            _panel("Back after the broker's restart", "seconds after it listens again", back, LEFT + SIDE + BETWEEN),
            "</svg>\n",
        ]
    )


def table(rehearsals: Sequence[Mapping[str, Any]]) -> str:
    """The figures of each rehearsal that ended as it should, in Markdown: a row each, in the order of ``COLUMNS``."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for one in sorted(rehearsals, key=lambda one: int(one["devices"])):
        enrolment, restart, reports = one["enrolment"], one["restart"], one["reports"]
        cells = (
            f"{one['devices']:,}",
            f"{enrolment['seconds_to_enrol_all']:.0f} s",
            f"{enrolment['median_seconds']:.1f} s, {enrolment['p99_seconds']:.1f} s",
            f"{restart['seconds_until_all_back']:.0f} s",
            f"{100 * restart['largest_share_in_one_second']:.1f} %",
            f"{max(one['service']['peak_mib']):.0f} MiB",
            f"{one['broker']['peak_mib']:.0f} MiB",
            f"{one['messages']['per_second']:.0f}",
            f"{reports['lost']} of {reports['made']:,}",
        )
        rows.append(cells)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _panel(title: str, below: str, curves: Mapping[str, Curve], left: float) -> str:
    longest = round_up(max((points[-1][0] for points in curves.values() if points), default=1.0))
    parts = [_text(left + SIDE / 2, TOP - 16, title, "title middle")]
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = TOP + (1 - part) * HEIGHT
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + SIDE}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y + 4, f"{part:.0%}", "end soft"))
        parts.append(_text(left + part * SIDE, TOP + HEIGHT + 18, f"{part * longest:g}", "middle soft"))
    parts.append(f'<rect class="frame" x="{left}" y="{TOP}" width="{SIDE}" height="{HEIGHT}"/>')
    parts.append(_text(left + SIDE / 2, TOP + HEIGHT + 36, below, "middle soft"))
    for number, (name, points) in enumerate(curves.items()):
        if not points:
            continue
        last = points[-1][1]
        at = " ".join(f"{left + x / longest * SIDE:.1f},{TOP + (1 - y / last) * HEIGHT:.1f}" for x, y in points)
        parts.append(f'<polyline class="line c{number % COLOURS}" points="{at}"/>')
        parts.append(_text(left + SIDE + 8, TOP + 12 + 16 * number, name, f"t{number % COLOURS}"))
    return "\n".join(parts)


def round_up(value: float) -> float:
    """The next 1, 2, 4 or 8 times a power of ten."""
    unit: float = 10 ** (ceil(log10(max(value, 1e-9))) - 1)
    return next((step * unit for step in (1, 2, 4, 8) if step * unit >= value), 10 * unit)


def _text(x: float, y: float, words: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if line.strip()]
    Path(sys.argv[2]).write_text(plot(found), encoding="utf-8")
    sys.stdout.write(table(found))
