"""``mien-fleet simulate``: a fleet that is not there, for rehearsals and for figures."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from math import inf
from pathlib import Path

import click

from provisioning import files
from provisioning import fleet as fleets
from provisioning.commands.authority import PASSPHRASE
from provisioning.commands.registry import DATABASE, database
from provisioning.errors import BrokerError, WordsError

MINUTE, HOUR = 60.0, 3600.0


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("-n", "devices", type=click.IntRange(1, 20_000), default=100, show_default=True, help="Devices.")
@click.option("--minutes", type=click.FloatRange(0.1, 1440), default=5.0, show_default=True, help="For so long.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--restart-broker/--no-restart-broker", default=None, help="Restart the broker once all are enrolled.  [default: without DIR]"
)
@click.option(
    "--report-every", type=click.FloatRange(1, 3600), default=30.0, show_default=True, help="Seconds between two reports."
)
@click.option("--power-cuts", type=click.FloatRange(0, 60), default=0.5, show_default=True, help="Of each device, in an hour.")
@click.option("--services", type=click.IntRange(1, 16), default=1, show_default=True, help="mien-fleet serve, without DIR.")
@click.option("--processes", type=click.IntRange(1, 16), default=2, show_default=True, help="That the devices are spread over.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of the broker, with DIR, instead of the one in the fleet's URL.")
@click.option("--seed", type=int, default=0, show_default=True, help="Other devices, in other moments.")
@DATABASE
@PASSPHRASE
def simulate(
    *,
    folder: Path | None,
    devices: int,
    minutes: float,
    as_json: bool,
    restart_broker: bool | None,
    report_every: float,
    power_cuts: float,
    services: int,
    processes: int,
    port: int | None,
    seed: int,
    database_url: str | None,
    passphrase_file: Path | None,
) -> None:
    """Simulate devices: real MQTT clients over mutual TLS that enrol, report, obey, lose their power and come back.

    Without DIR, in a fleet of their own, with a broker and a service that are started here, measured, and gone afterwards. With
    DIR, in that fleet, whose broker and service must be running: they enrol as batch "simulated", and stay in the registry.

    Ends with 1 when a device did not enrol or come back, or when a report was lost.
    """
    from provisioning.simulate import figures, run, screen, world
    from provisioning.simulate.habits import Habits

    if folder is not None and restart_broker:
        raise WordsError("--restart-broker is for a broker that is started here; leave DIR out")
    cuts = HOUR / power_cuts if power_cuts else inf
    habits = Habits(report_every=report_every, fails_every=cuts, spread=min(Habits().spread, minutes * MINUTE / 10))
    restart = folder is None and restart_broker is not False
    plan = run.Plan(devices, minutes * MINUTE, min(processes, devices), restart, habits, seed)
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell has started this in the background
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        if folder is None:
            show = stack.enter_context(screen.watching())
            servers = stack.enter_context(world.of_its_own(devices, services, database_url))
        else:
            fleet = fleets.load(folder)
            secret = files.passphrase(passphrase_file)
            servers = world.World(fleet, port or fleet.port, secret, database(folder, database_url))
            if not world.waited_for(fleet.host, servers.port):
                raise BrokerError(
                    f"{fleet.broker}: nobody listens there; start it with mien-fleet broker {folder}, or leave DIR out"
                )
            show = stack.enter_context(screen.watching())
        found = run.rehearse(plan, servers, show)
    if as_json:
        click.echo(json.dumps(found))
    else:
        screen.print_summary(found)
    wrong = figures.missed(found)
    for line in wrong:
        click.echo(f"not as it must be: {line}", err=True)
    sys.exit(1 if wrong else 0)


COMMANDS = (simulate,)
