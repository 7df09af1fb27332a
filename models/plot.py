"""Figures of a card as SVG, without a plotting library: legible on light and on dark pages, and small enough to review as text."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from models.measures import Reliability, wilson

SIDE: Final = 240  # of the square in which confidence meets accuracy
BARS: Final = 70  # height of the bars below it
LEFT, TOP, GAP, BETWEEN, BOTTOM = 62, 44, 26, 40, 46  # margins; between square and bars; between panels
TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)

# Own background, so that the text is legible whatever the page's colour; readers who prefer dark get a dark one.
STYLE: Final = """
  .back { fill: #ffffff; } .frame { fill: none; stroke: #8c959f; } .grid { stroke: #d8dee4; } text { fill: #24292f; }
  .ideal { stroke: #8c959f; stroke-dasharray: 5 4; } .line { fill: none; stroke: #0969da; stroke-width: 2; } .dot { fill: #0969da; }
  .whisker { stroke: #0969da; stroke-width: 1.2; } .bar { fill: #80b3e8; } .soft { fill: #57606a; }
  text { font: 12px system-ui, sans-serif; } .title { font-size: 14px; font-weight: 600; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; } .grid { stroke: #21262d; } text { fill: #e6edf3; } .soft { fill: #9aa4af; }
    .line, .whisker { stroke: #58a6ff; } .dot { fill: #58a6ff; } .bar { fill: #2f5f94; }
  }
"""


def reliability_plot(panels: dict[str, Reliability]) -> str:
    """Confidence against accuracy with 95 % intervals, and below it how many rows lie in each bin; one panel for each title.

    Args:
        panels: Title of each panel and what it shows.

    Returns:
        A whole SVG document.
    """
    width = LEFT + len(panels) * SIDE + (len(panels) - 1) * BETWEEN + 20
    height = TOP + SIDE + GAP + BARS + BOTTOM
    drawn = [_panel(title, found, LEFT + n * (SIDE + BETWEEN), first=n == 0) for n, (title, found) in enumerate(panels.items())]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>{escape('Reliability: ' + '; '.join(panels))}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(title: str, found: Reliability, left: float, *, first: bool) -> str:
    parts = [_text(left + SIDE / 2, TOP - 16, title, "title middle"), _axes(left, first=first), _bars(found, left, first=first)]
    points = []
    for rows, confidence, accuracy in zip(found.rows.tolist(), found.confidence.tolist(), found.accuracy.tolist(), strict=True):
        if rows:
            x, y = left + confidence * SIDE, TOP + (1 - accuracy) * SIDE
            low, high = (TOP + (1 - end) * SIDE for end in wilson(round(accuracy * rows), rows))
            parts.append(_line(x, low, x, high, "whisker"))
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
            points.append(f"{x:.1f},{y:.1f}")
    parts.append(f'<polyline class="line" points="{" ".join(points)}"/>')
    return "\n".join(parts)


def _axes(left: float, *, first: bool) -> str:
    below = TOP + SIDE + GAP + BARS
    parts = []
    for tick in TICKS:
        x, y = left + tick * SIDE, TOP + (1 - tick) * SIDE
        parts += [_line(x, TOP, x, TOP + SIDE, "grid"), _line(left, y, left + SIDE, y, "grid")]
        parts.append(_text(x, below + 16, f"{tick:.0%}", "soft middle"))
        if first:
            parts.append(_text(left - 6, y + 4, f"{tick:.0%}", "soft end"))
    parts.append(_line(left, TOP + SIDE, left + SIDE, TOP, "ideal"))
    parts.append(f'<rect class="frame" x="{left}" y="{TOP}" width="{SIDE}" height="{SIDE}"/>')
    parts.append(_text(left + SIDE / 2, below + 34, "how sure it is", "middle"))
    if first:
        middle = TOP + SIDE / 2
        parts.append(f'<text class="middle" transform="translate(16 {middle}) rotate(-90)">how often it is right</text>')
    return "\n".join(parts)


def _bars(found: Reliability, left: float, *, first: bool) -> str:
    base, wide, most = TOP + SIDE + GAP + BARS, SIDE / len(found.rows), max(1, *found.rows.tolist())
    parts = [
        f'<rect class="bar" x="{left + k * wide + 1:.1f}" y="{base - high:.1f}" width="{wide - 2:.1f}" height="{high:.1f}">'
        f"<title>{rows} rows</title></rect>"
        for k, rows in enumerate(found.rows.tolist())
        for high in [rows / most * BARS]
    ]
    parts.append(_line(left, base, left + SIDE, base, "frame"))
    highest = int(np.argmax(found.rows))
    parts.append(_text(left + (highest + 0.5) * wide, base - BARS - 5, f"{most:,}", "soft middle"))
    if first:
        middle = base - BARS / 2
        parts.append(f'<text class="middle" transform="translate(16 {middle}) rotate(-90)">rows</text>')
    return "\n".join(parts)


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
