"""``mien-fleet rollout``: a model to some devices, to more, to all, and how far that is."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from pathlib import Path

import click

from provisioning import fleet as fleets
from provisioning import rollouts, twins
from provisioning.commands.authority import FOLDER
from provisioning.commands.registry import DATABASE, database
from provisioning.errors import WordsError
from provisioning.publish import Repository
from provisioning.registry import Registry, opened
from provisioning.rollout import ORDER, Plan, percents
from provisioning.rollouts import View, Wanted


class Percent(click.ParamType[float]):
    """``5%``, or ``5``."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(str(value).removesuffix("%"))
        except ValueError:
            self.fail(f"{value!r}: expected a percentage, such as 5%", param, ctx)


@click.group()
def rollout() -> None:
    """Bring a published model to devices, in stages, and stop by itself when too many fail."""


@rollout.command()
@FOLDER
@click.option("--model", "target", required=True, metavar="NAME", help="As mien-fleet model list shows it.")
@click.option("--url", required=True, help="Where devices find the repository: http:// or https://, no redirects.")
@click.option("--canary", type=Percent(), help="Of the devices, first.")
@click.option("--then", type=Percent(), multiple=True, help="Of the devices, next; may be repeated. The last stage is everybody.")
@click.option("--abort-above", type=Percent(), default=2.0, show_default=True, help="Percent of the devices that may fail.")
@click.option("--device", "devices", multiple=True, metavar="NAME", help="To this one; may be repeated.  [default: to all]")
@click.option("--group", "groups", multiple=True, metavar="LABEL=VALUE", help="To those with such a label, * and ? allowed.")
@click.option("--soak", default=900, show_default=True, type=click.IntRange(0), help="Seconds to stay well before the next stage.")
@click.option(
    "--spread", default=0, show_default=True, type=click.IntRange(0), help="Seconds over which a stage's downloads begin."
)
@click.option(
    "--timeout", default=3600, show_default=True, type=click.IntRange(10), help="Seconds for a download, and for the rest."
)
@click.option("--trial", default=600, show_default=True, type=click.IntRange(0), help="Seconds that a device watches on trial.")
@click.option("--slowest", default=500, show_default=True, type=click.IntRange(1), help="Milliseconds for one pass.")
@DATABASE
def start(
    *,
    folder: Path,
    target: str,
    url: str,
    canary: float | None,
    then: tuple[float, ...],
    abort_above: float,
    devices: tuple[str, ...],
    groups: tuple[str, ...],
    soak: int,
    spread: int,
    timeout: int,
    trial: int,
    slowest: int,
    database_url: str | None,
) -> None:
    """Begin a rollout; mien-fleet serve carries it through."""
    repository = Repository(fleets.load(folder).folder)
    known = [one.target for one in repository.releases()]
    if target not in known:
        raise WordsError(f"{target!r} is not published; there is {', '.join(known) or 'nothing yet: see mien-fleet model publish'}")
    plan = Plan(percents(canary, then), abort_above, soak, spread, timeout, trial)
    chosen = " ".join((*devices, *groups)) or "all"
    with opened(database(folder, database_url)) as registry:
        names = twins.select_devices(registry, devices, groups, everybody=not (devices or groups))
        number = rollouts.start(registry, Wanted(target, url, repository.timestamp(), slowest, chosen), plan, names)
    sizes = ", ".join(f"{one:g}%" for one in plan.stages)
    click.echo(f"rollout {number}: {target} to {len(names)} devices, {sizes}. Look: mien-fleet rollout status {folder} --live")


@rollout.command()
@FOLDER
@DATABASE
def pause(folder: Path, database_url: str | None) -> None:
    """Begin no new stage. Devices that have their job go on with it."""
    with opened(database(folder, database_url)) as registry:
        click.echo(_line(rollouts.change(registry, "paused")))


@rollout.command()
@FOLDER
@DATABASE
def resume(folder: Path, database_url: str | None) -> None:
    """Go on after a pause."""
    with opened(database(folder, database_url)) as registry:
        click.echo(_line(rollouts.change(registry, "running")))


@rollout.command("abort")
@FOLDER
@click.option("--back", is_flag=True, help="Devices that have the new model go back to the one before, too.")
@DATABASE
def abort_(folder: Path, back: bool, database_url: str | None) -> None:
    """Stop: devices that are not done go back to what they had."""
    with opened(database(folder, database_url)) as registry:
        click.echo(_line(rollouts.change(registry, "aborted", back=back)))


@rollout.command()
@FOLDER
@click.argument("number", metavar="[ROLLOUT]", required=False)
@click.option("--live", is_flag=True, help="Draw it again and again, until it is over or Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, with every device.")
@DATABASE
def status(folder: Path, number: str | None, live: bool, as_json: bool, database_url: str | None) -> None:
    """Show how far the newest rollout is."""
    with opened(database(folder, database_url)) as registry:
        if live:
            _live(registry, number)
            return
        found = rollouts.view(registry, number)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found)))
        return
    from rich.console import Console

    from provisioning.rollout_screen import drawn

    Console().print(drawn(found, int(time.time())))


def _live(registry: Registry, number: str | None) -> None:
    from rich.live import Live

    from provisioning.rollout_screen import drawn

    found = rollouts.view(registry, number)
    with Live(drawn(found, int(time.time())), refresh_per_second=4) as screen:
        try:
            while found.rollout.state in ("running", "paused"):
                time.sleep(1.0)
                found = rollouts.view(registry, number)
                screen.update(drawn(found, int(time.time())))
        except KeyboardInterrupt:
            return


def _line(found: View) -> str:
    counts = Counter(one.state for one in found.rollout.members)
    said = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    return f"rollout {found.rollout.id} of {found.wanted.target} is {found.rollout.state}: {said}"


COMMANDS = (rollout,)
