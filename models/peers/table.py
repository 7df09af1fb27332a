"""The figures as one table for people."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

BUSY: Final = 1.2  # wall time this many times processor time: something else was running


def show(results: dict[str, Any], console: Console) -> None:
    """Print the table and the lines under it.

    Args:
        results: What ``--json`` prints, see ``docs/peers.md``.
        console: Where.
    """
    rows, about = results["contestants"], results["n"]
    table = Table(title="One thread, medians" + (f"; accuracy on {about} faces of FER+" if about else ""), title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("accuracy", "ms a face", "× mien", "ms a frame", "found", "emotion KB", "detector KB", "memory MB"):
        table.add_column(name, justify="right")
    ours = next((row["face_cpu_ms"] for row in rows if row["name"] == "mien"), None)
    for row in rows:
        table.add_row(
            f"{row['name']}\n  {row['detector']}",
            "–" if row["accuracy"] is None else f"{row['accuracy']:.2%}",
            f"{row['face_cpu_ms']:.2f}\n({row['face_ms']:.2f})",
            f"{row['face_cpu_ms'] / ours:.1f}" if ours else "–",
            f"{row['frame_cpu_ms']:.1f}\n({row['frame_ms']:.1f})",
            f"{row['faces_found']:g}",
            f"{row['emotion_bytes'] / 1000:.0f}",
            f"{row['detector_bytes'] / 1000:.0f}",
            "–" if row["memory_mb"] is None else f"{row['memory_mb']:.0f}",
        )
    console.print(table)
    for line in notes(results):
        console.print(line, highlight=False, soft_wrap=True)


def notes(results: dict[str, Any]) -> list[str]:
    """The lines under the table: what ran it, who could not be measured, and whether the machine was busy."""
    rows = results["contestants"]
    lines = ["Milliseconds on the processor, and in brackets on the wall; found: faces in a frame."]
    lines += [f"{row['name']}, {row['detector']}: {row['runtime']}" for row in rows]
    lines += [f"Processor: {results['processor']}"] if results["processor"] else []
    late = max((row["face_ms"] / max(row["face_cpu_ms"], 1e-6) for row in rows), default=0.0)
    if late > BUSY:
        lines.append(f"The machine was busy: up to {late:.1f} times as long passed on the wall as on the processor.")
    return lines + [f"Not measured: {reason}" for reason in results["not_measured"]]
