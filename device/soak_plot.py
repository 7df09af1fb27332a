"""A picture of a soak run, as SVG without a plotting library: legible on light and on dark pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from typing import Any, Final

from device.latency import Latencies
from device.soak import slope
from device.soak_report import PROCESSES, points, settled

WIDE, HIGH = 640, 130  # of a panel
LEFT, TOP, BETWEEN, RIGHT, BOTTOM = 64, 40, 52, 84, 44  # margins
STYLE: Final = """
  .back { fill: #ffffff; } .frame { fill: none; stroke: #8c959f; } .grid { stroke: #d8dee4; } text { fill: #24292f; }
  text { font: 12px system-ui, sans-serif; } .title { font-size: 14px; font-weight: 600; } .soft { fill: #57606a; }
  .end { text-anchor: end; } .middle { text-anchor: middle; } .line { fill: none; stroke-width: 1.5; }
  .fit { fill: none; stroke-width: 1.5; stroke-dasharray: 6 4; }
  .c0 { stroke: #0969da; } .c1 { stroke: #bc4c00; } .t0 { fill: #0969da; } .t1 { fill: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; } .grid { stroke: #21262d; } text { fill: #e6edf3; } .soft { fill: #9aa4af; }
    .c0 { stroke: #58a6ff; } .c1 { stroke: #f0883e; } .t0 { fill: #58a6ff; } .t1 { fill: #f0883e; }
  }
"""
Curve = Sequence[tuple[float, float]]


def plot(lines: Sequence[Mapping[str, Any]]) -> str:
    """Memory and descriptors of both processes with the lines fitted to them, and how long frames took.

    Args:
        lines: Of the run's log.

    Returns:
        A whole SVG document.
    """
    samples = [line for line in lines if "at" in line]
    last = max((line["at"] for line in samples), default=1.0)
    panels: list[tuple[str, dict[str, Curve]]] = [
        ("Memory, MiB", {name: points(samples, name, "rss") for name in PROCESSES}),
        ("Open descriptors", {name: points(samples, name, "descriptors") for name in PROCESSES}),
    ]
    if any(took := latencies(samples)):
        panels.append(("A frame, ms", {"median": took[0], "99 %": took[1]}))
    width, height = LEFT + WIDE + RIGHT, TOP + len(panels) * (HIGH + BETWEEN) - BETWEEN + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(f'A soak run of {last / 3600:.2f} hours: memory, descriptors and frame times')}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
    ]
    for number, (title, curves) in enumerate(panels):
        fitted = number < 2
        parts += _panel(title, curves, TOP + number * (HIGH + BETWEEN), last, fitted=fitted)
    hours, unit = (3600, "hours") if last >= 3600 else (60, "minutes")
    for part in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(LEFT + part * WIDE, height - BOTTOM + 18, f"{part * last / hours:.3g}", "middle soft"))
    parts.append(_text(LEFT + WIDE / 2, height - 8, unit, "middle soft"))
    return "\n".join([*parts, "</svg>\n"])


def latencies(samples: Sequence[Mapping[str, Any]]) -> tuple[Curve, Curve]:
    """Median and 99th percentile between each two samples, milliseconds; empty where the log does not tell them in time."""
    known = [(line["at"], Latencies(line["latency"])) for line in samples if line.get("latency")]
    middle, high = [], []
    for (_, before), (at, later) in pairwise(known):
        took = later.since(before)
        if (half := took.quantile(0.5)) is not None and (most := took.quantile(0.99)) is not None:
            middle.append((at, 1000 * half))
            high.append((at, 1000 * most))
    return middle, high


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """Round numbers below and above all of these."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    unit = 10.0 ** floor(log10(max(high - low, abs(high) / 10, 1e-6)))
    bottom, top = min(low, floor(low / unit) * unit), max(high, ceil(high / unit) * unit)  # 95 × 0.01 is a little more than 0.95
    return bottom, top if top > bottom else bottom + unit


def _panel(title: str, curves: Mapping[str, Curve], top: float, last: float, *, fitted: bool) -> list[str]:
    low, high = bounds([value for curve in curves.values() for _, value in curve])

    def at(x: float, y: float) -> str:
        inside = min(max(y, low), high)
        return f"{LEFT + x / last * WIDE:.1f},{top + (high - inside) / (high - low) * HIGH:.1f}"

    parts = [_text(LEFT, top - 10, title, "title")]
    for part in (0, 0.5, 1):
        y = top + (1 - part) * HIGH
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + WIDE}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{low + part * (high - low):g}", "end soft"))
    parts.append(f'<rect class="frame" x="{LEFT}" y="{top}" width="{WIDE}" height="{HIGH}"/>')
    for number, (name, curve) in enumerate(curves.items()):
        if not curve:
            continue
        parts.append(f'<polyline class="line c{number}" points="{" ".join(at(x, y) for x, y in curve)}"/>')
        if fitted and (line := slope(settled(curve))) is not None:
            parts.append(f'<polyline class="fit c{number}" points="{at(*line.begins)} {at(*line.ends)}"/>')
        parts.append(_text(LEFT + WIDE + 8, top + 12 + 16 * number, name, f"t{number}"))
    return parts


def _text(x: float, y: float, words: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
