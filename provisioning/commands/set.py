"""Twins: ``mien-fleet set``, ``twin`` and ``restored``."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import click

from provisioning import groups as group_wishes
from provisioning import twin, twins
from provisioning.commands.authority import FOLDER
from provisioning.commands.registry import DATABASE, database
from provisioning.errors import WordsError
from provisioning.registry import opened
from provisioning.twin import Twin

COLOURS = {"applied": "green", "pending": "yellow", "rejected": "red", "ahead": "magenta", "unset": None}
AHEAD = "the device knows newer settings than this registry: if that was restored from a backup, run mien-fleet restored"


@click.command("set")
@FOLDER
@click.argument("words", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--device", "devices", multiple=True, metavar="NAME", help="One device; may be repeated.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="LABEL=VALUE",
    help="Devices with such a label, * and ? allowed; repeated: with both.",
)
@click.option("--all", "everybody", is_flag=True, help="Every device.")
@DATABASE
def set_(
    *,
    folder: Path,
    words: tuple[str, ...],
    devices: tuple[str, ...],
    groups: tuple[str, ...],
    everybody: bool,
    database_url: str | None,
) -> None:
    """Want settings of devices: KEY=VALUE as in a settings file, such as camera.fps=3; KEY= takes one back.

    Each device checks them with its own file, which they can only narrow, and applies them at the end of a window, all or none.
    A group is those devices that have such labels, and those that get them later. mien-fleet twin shows what became of it.
    """
    if not (devices or groups or everybody):
        raise WordsError("for which devices? give --device NAME, --group LABEL=VALUE or --all")
    wanted = twin.assignments(words)
    with opened(database(folder, database_url)) as registry:
        chosen = twins.select_devices(registry, devices, groups, everybody=everybody)
        versions = group_wishes.wish(registry, chosen, wanted, groups or (() if everybody else None))
    for name in chosen:
        click.echo(f"{name}: version {versions[name]}" if name in versions else f"{name}: nothing new")


@click.command("twin")
@FOLDER
@click.argument("device", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@DATABASE
def twin_(folder: Path, device: str | None, as_json: bool, database_url: str | None) -> None:
    """Show what is wanted of DEVICE beside what it reports; without DEVICE, how far every device is."""
    with opened(database(folder, database_url)) as registry:
        found = twins.twins(registry, device)
        wanted = group_wishes.listed(registry)
    if as_json:
        for one in found:
            click.echo(json.dumps(_plain(one)))
    elif device is not None:
        _show(found[0])
    else:
        rows = [("DEVICE", "STATE", "VERSION", "REPORTED", "SINCE")]
        rows += [(one.device, one.state, str(one.version), _version(one), _time(one.reported_at)) for one in found]
        _table(rows, [None, *(COLOURS[one.state] for one in found)])
        for patterns, desired in wanted:
            words = " ".join(f"{key}={_word(value)}" for key, value in desired.items())
            click.echo(f"of {' and '.join(patterns) or 'all devices'}, also of those to come: {words}")


@click.command()
@FOLDER
@DATABASE
def restored(folder: Path, database_url: str | None) -> None:
    """Say that this registry was restored from a backup: a new epoch begins, and every wish is said again.

    Devices may know newer versions than the backup, and would take its own for old ones.
    """
    with opened(database(folder, database_url)) as registry:
        epoch, count = twins.new_epoch(registry)
    click.echo(f"epoch {epoch} begins; {count} devices are told again what is wanted of them")


def _show(one: Twin) -> None:
    said = one.reported
    state = click.style(one.state, fg=COLOURS[one.state], bold=True)
    click.echo(f"{one.device}: {state}, version {one.version} of epoch {one.epoch} is wanted since {_time(one.set_at)}")
    if said is None:
        click.echo("It has not reported yet: does it run, with twin = true under [broker]?")
    else:
        click.echo(f"It answered to version {said.desired_version} of epoch {said.epoch} at {_time(one.reported_at)}: {said.state}")
        for error in said.errors:
            click.echo(click.style(f"  {error.path or 'all of it'}: {error.reason}", fg="red"))
    if one.state == "ahead":
        click.echo(click.style(AHEAD, fg="magenta"))
    have = twin.in_force(said) if said else {}
    rows, colours = [("KEY", "DESIRED", "REPORTED")], [None]
    for key in sorted(have.keys() | one.desired.keys()):
        wanted, found = one.desired.get(key), have.get(key)
        rows.append((key, "" if key not in one.desired else _word(wanted), _word(found) if key in have else ""))
        good = key in have and have[key] == wanted
        colours.append(None if key not in one.desired else "green" if good else "yellow")  # type: ignore[arg-type]
    _table(rows, colours)


def _table(rows: list[tuple[str, ...]] | Any, colours: list[str | None] | Any) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, colour in zip(rows, colours, strict=True):
        click.echo(click.style("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip(), fg=colour))


def _plain(one: Twin) -> dict[str, Any]:
    said = one.reported.model_dump(mode="json", by_alias=True) if one.reported else None
    return {"device": one.device, "state": one.state, "epoch": one.epoch, "version": one.version, "desired": dict(one.desired)} | {
        "reported": said,
        "reported_at": one.reported_at,
    }


def _version(one: Twin) -> str:
    return str(one.reported.desired_version) if one.reported else "-"


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _time(at: int | None) -> str:
    return f"{dt.datetime.fromtimestamp(at, dt.timezone.utc):%Y-%m-%d %H:%M:%S} UTC" if at else "-"


COMMANDS = (set_, twin_, restored)
