"""``mien settings``: its words on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from device import settings as settings_file
from device.commands._files import FILE

with_settings = click.option(
    "--settings",
    "file",
    type=FILE,
    metavar="FILE",
    help=f"The settings file.  [default: {settings_file.SYSTEM_FILE}]",
)


@click.group()
def settings() -> None:
    """Explain, show, check, or print an example."""


@settings.command()
@with_settings
def explain(file: Path | None) -> None:
    """Say in plain words what the settings in force mean."""
    from device.bound import bind
    from device.commands import explain
    from device.twin_keeper import in_force

    click.echo(explain.explain(in_force(bind(settings_file.load(file)))))


@settings.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Show every setting in force, and whether the fleet's twin, the file or a default gave it."""
    from device.bound import bind
    from device.commands import show

    click.echo(show.show(bind(settings_file.load(file)), file or settings_file.SYSTEM_FILE, as_json=as_json))


@settings.command()
@with_settings
def check(file: Path | None) -> None:
    """Check the settings; ends with 78 when a key is unknown or wrong."""
    settings_file.load(file)
    click.echo("the settings are good")


@settings.command()
def example() -> None:
    """Print a settings file with every key explained."""
    click.echo(settings_file.EXAMPLE.read_text(encoding="utf-8"), nl=False)
