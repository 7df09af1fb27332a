"""``mien-fleet init``, ``renew``, ``crl renew`` and ``broker``: the authority and its broker."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from provisioning import files, trial
from provisioning import fleet as fleets
from provisioning.authority import Authority
from provisioning.mosquitto import Size

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
PASSPHRASE = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Its first line opens the authority's keys. Without it: systemd's credential mien-fleet-passphrase.",
)


@click.command()
@FOLDER
@click.option("--broker", required=True, metavar="URL", help="Where devices will find the broker: mqtts://host:8883.")
@click.option(
    "--fleet", "devices", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Devices, for the queues' size."
)
@click.option(
    "--outage",
    type=click.FloatRange(0.1, 720),
    default=24.0,
    show_default=True,
    help="Hours the service may be away without a loss.",
)
@PASSPHRASE
def init(folder: Path, broker: str, devices: int, outage: float, passphrase_file: Path | None) -> None:
    """Make a fleet's authority, its broker's configuration and the manager's own identity, in a new folder DIR."""
    made = fleets.init(folder, broker, Size(devices, outage), files.passphrase(passphrase_file))
    click.echo(f"{folder} is ready. What now:")
    click.echo(f"  try it here            mien-fleet broker {folder}")
    click.echo(f"  or install the broker  {folder}/broker/ goes to its machine: see docs/broker.md")
    click.echo(f"  devices trust          {made.ca}")
    click.echo(f"  take off this machine  {folder}/root/ and the passphrase, each to a place of its own; nothing daily needs root/")


@click.command()
@FOLDER
@click.option("--fleet", "devices", type=click.IntRange(1, 1_000_000), help="Devices, if that has changed.")
@click.option("--outage", type=click.FloatRange(0.1, 720), help="Hours, if that has changed.")
@PASSPHRASE
def renew(folder: Path, devices: int | None, outage: float | None, passphrase_file: Path | None) -> None:
    """Renew the certificates of broker and service, the revocation list and the broker's configuration.

    Devices notice nothing. If it is interrupted, run it again.
    """
    found = fleets.load(folder)
    size = Size(devices or found.size.fleet, outage or found.size.outage)
    found = fleets.Fleet(folder, found.broker, size)
    fleets.renew(found, Authority.open(folder, files.passphrase(passphrase_file)))
    click.echo(f"renewed; copy {folder}/broker/ to the broker's machine again and restart it (mien-fleet broker: start it again)")
    _warn(found)


@click.group()
def crl() -> None:
    """The revocation list, which a broker must have in force: it refuses everybody once the list has expired."""


@crl.command("renew")
@FOLDER
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="Also write it here, where a broker reads it.")
@PASSPHRASE
def crl_renew(folder: Path, to: Path | None, passphrase_file: Path | None) -> None:
    """Renew the list if it ends soon, and put it where the broker finds it. For a daily timer; mien-fleet serve does it too."""
    found = fleets.load(folder)
    authority = Authority.open(folder, files.passphrase(passphrase_file))
    path = fleets.renew_crl(found, authority, to)
    click.echo(
        f"{to or path} is good for {authority.crl_days_left():.0f} days; the broker reads it on SIGHUP (systemctl reload mosquitto)"
    )
    _warn(found)


@click.command()
@FOLDER
@click.option("--port", type=click.IntRange(1, 65535), help="Instead of the one in the fleet's URL.")
def broker(folder: Path, port: int | None) -> None:
    """Run Mosquitto with this fleet's configuration, for a trial; Ctrl-C ends it. It keeps its data in DIR/trial."""
    found = fleets.load(folder)

    def ready(port: int) -> None:
        click.echo(f"listening on mqtts://{found.host}:{port}; Ctrl-C ends it", err=True)

    sys.exit(trial.run(found, port, ready))


def _warn(fleet: fleets.Fleet) -> None:
    for line in fleets.ending(fleet):
        click.echo(f"soon: {line}", err=True)


COMMANDS = (init, renew, crl, broker)
