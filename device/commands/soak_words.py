"""``mien soak``: its words on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from device.commands._files import FILE


@click.command()
@click.option("--hours", type=click.FloatRange(0.001, 720), default=2.0, show_default=True, help="How long.")
@click.option("--camera", default="composite", show_default=True, metavar="NAME[:ADDRESS]", help="What to watch.")
@click.option("--broker", metavar="URL", help="Use a broker that is there (mqtt://host:port) instead of an embedded one.")
@click.option("--window", default=60, show_default=True, type=click.IntRange(5, 900), help="Length of a window in seconds.")
@click.option("--log", type=FILE, metavar="FILE", default="soak.jsonl", show_default=True, help="Where each sample is written.")
@click.option("--plot", "picture", type=FILE, metavar="FILE.svg", help="Draw a picture of the run.")
@click.option("--again", type=FILE, metavar="FILE", help="Run nothing: report what is in this log.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def soak(
    *,
    hours: float,
    camera: str,
    broker: str | None,
    window: int,
    log: Path,
    picture: Path | None,
    again: Path | None,
    as_json: bool,
) -> None:
    """Run both processes for hours, and find what grows, what gets slow and what is lost.

    Ends with 1 when memory grows by 1 MiB a day or descriptors by one, surely; when the slowest frames of a hundred take twice
    the median; or when a report is lost. Ctrl-C ends it early, with the report.
    """
    from device.commands import soak

    if again is not None:
        found = soak.again(again, picture)
    else:
        options = soak.Options(3600 * hours, camera, broker, window, log, picture)
        with click.progressbar(length=round(options.seconds), label="soaking", file=sys.stderr) as bar:
            found = soak.run(options, lambda passed: bar.update(max(0, round(passed) - bar.pos)))
    click.echo(soak.told(found, as_json=as_json))
    sys.exit(1 if found["broken"] else 0)
