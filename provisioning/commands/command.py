"""Commands to devices: ``mien-fleet command pause``, ``resume``, ``restart``, ``doctor``, ``flush`` and ``show``."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, get_args

import click

from device.contract_command import LONGEST, Name
from provisioning import command_store, twins
from provisioning.command_store import Told
from provisioning.commanding import DEFAULT_EXPIRES
from provisioning.commands.authority import FOLDER
from provisioning.commands.registry import DATABASE, database
from provisioning.errors import WordsError
from provisioning.registry import Registry, opened

COLOURS: Final = {"succeeded": "green", "accepted": "yellow", "waiting": "yellow"}
GRACE: Final = 5  # seconds beyond the expiry in which an answer may still come
LOOK_EVERY: Final = 0.2  # seconds
MEANS: Final = {
    "pause": "Read no frames for so many seconds from when it arrives, which a device does within two seconds; 0 ends a pause.",
    "resume": "End pauses that were commanded. A pause by the button on the device is not ended from afar.",
    "restart": "Begin anew at the end of the window, with the settings file and the models as they are then.",
    "doctor": "Let each device check itself; --wait shows what it found.",
    "flush": "Send now what waits in the spool, also what was sent and never acknowledged. Windows are not cut short.",
}


@click.group()
def command() -> None:
    """Ask devices to do something, once, and see what became of it."""


def _common(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every command."""
    options = (
        FOLDER,
        click.option("--device", "devices", multiple=True, metavar="NAME", help="One device; may be repeated."),
        click.option("--group", "groups", multiple=True, metavar="LABEL=VALUE", help="Devices with such a label, * and ? allowed."),
        click.option("--all", "everybody", is_flag=True, help="Every device."),
        click.option(
            "--expires",
            type=click.IntRange(1, LONGEST),
            default=DEFAULT_EXPIRES,
            show_default=True,
            help="Seconds in which a device must have got it; later it is not done.",
        ),
        click.option("--wait", is_flag=True, help="Wait for the answers; ends with 1 unless all have succeeded."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON lines."),
        DATABASE,
    )
    for option in reversed(options):
        function = option(function)
    return function


def _ask(
    name: Name,
    seconds: int | None,
    *,
    folder: Path,
    devices: tuple[str, ...],
    groups: tuple[str, ...],
    everybody: bool,
    expires: int,
    wait: bool,
    as_json: bool,
    database_url: str | None,
) -> None:
    if not (devices or groups or everybody):
        raise WordsError("which devices? give --device NAME, --group LABEL=VALUE or --all")
    with opened(database(folder, database_url)) as registry:
        chosen = twins.select_devices(registry, devices, groups, everybody=everybody)
        request = command_store.ask(registry, chosen, name, seconds, expires)
        if not wait:
            click.echo(f"request {request}: {name} for {len(chosen)} devices; mien-fleet command show {folder} {request}")
            return
        found = _wait(registry, request, expires + GRACE)
    _print(found, as_json=as_json)
    if all(one.state == "waiting" for one in found):
        click.echo("no device has answered: does mien-fleet serve run?", err=True)
    sys.exit(0 if all(one.state == "succeeded" for one in found) else 1)


def _wait(registry: Registry, request: str, seconds: float) -> list[Told]:
    """What became of a request once all of it is over, or after so long."""
    deadline = time.monotonic() + seconds
    while True:
        found = command_store.told(registry, request)
        if all(one.over for one in found) or time.monotonic() >= deadline:
            return found
        time.sleep(LOOK_EVERY)


def _print(found: list[Told], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            click.echo(json.dumps(asdict(one)))
        return
    rows = [("REQUEST", "DEVICE", "COMMAND", "STATE", "REASON", "ASKED", "AFTER", "FINDINGS")]
    for one in found:
        asked = f"{dt.datetime.fromtimestamp(one.created_at, dt.timezone.utc):%Y-%m-%d %H:%M:%S}"
        after = "" if one.answered_at is None else f"{one.answered_at - one.created_at} s"
        what = one.command if one.seconds is None else f"{one.command} {one.seconds}"
        wrong = [name for name, finding in one.findings.items() if finding == "wrong"]
        said = f"wrong: {', '.join(wrong)}" if wrong else f"{len(one.findings)} checks ok" if one.findings else ""
        rows.append((one.request, one.device, what, one.state, one.reason or "", asked, after, said))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    colours = [None, *(COLOURS.get(one.state, "red") for one in found)]
    for row, colour in zip(rows, colours, strict=True):
        cells = [word.ljust(width) for word, width in zip(row, widths, strict=True)]
        cells[3] = click.style(cells[3], fg=colour)
        click.echo("  ".join(cells).rstrip())


@command.command("show")
@FOLDER
@click.argument("request", required=False)
@click.option("--newest", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many, without a request.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@DATABASE
def show(folder: Path, request: str | None, newest: int, as_json: bool, database_url: str | None) -> None:
    """Show what became of a request, or of the newest commands."""
    with opened(database(folder, database_url)) as registry:
        found = command_store.told(registry, request, newest)
    if request is not None and not found:
        raise WordsError(f"there is no request {request!r}; mien-fleet command show {folder} lists the newest")
    _print(found, as_json=as_json)


@command.command("pause", help=MEANS["pause"])
@click.option("--seconds", type=click.IntRange(0, 86_400), required=True, help="How long.")
@_common
def pause(*, seconds: int, **options: Any) -> None:
    """See ``MEANS``."""
    _ask("pause", seconds, **options)


def _plain(name: Name) -> click.Command:
    @_common
    def run(**options: Any) -> None:
        _ask(name, None, **options)

    return click.command(name, help=MEANS[name])(run)


for one in get_args(Name):
    if one != "pause":
        command.add_command(_plain(one))

COMMANDS = (command,)
