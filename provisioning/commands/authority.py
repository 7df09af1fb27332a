"""``mien-fleet init``, ``renew``, ``authority renew``, ``crl renew`` and ``broker``: the authority and its broker."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from provisioning import files, trial
from provisioning import fleet as fleets
from provisioning.authority import Authority
from provisioning.dynsec import Control
from provisioning.errors import BrokerError
from provisioning.mosquitto import Size

KNOWN_WITHIN = 5.0  # seconds for a broker that reads its files by itself, as mien-fleet broker does
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
def authority() -> None:
    """The issuing authority, which signs everything daily; it is good for five years."""


@authority.command("renew")
@FOLDER
@click.option(
    "--root", "root_folder", type=click.Path(path_type=Path, file_okay=False), help="Where root.key is now.  [default: DIR/root]"
)
@click.option("--port", type=click.IntRange(1, 65535), help="Of the broker, instead of the one in the fleet's URL.")
@PASSPHRASE
def authority_renew(folder: Path, root_folder: Path | None, port: int | None, passphrase_file: Path | None) -> None:
    """Make the next issuing authority, and let it sign once the broker knows it. Devices notice nothing.

    First the broker is given the next one's certificate and revocation list; then this command connects with a certificate by the
    next one. Only if that succeeds does the next one sign; else nothing has changed, and it says what to do. Run it again until it
    is done. What the one before has issued stays good until it ends.
    """
    found = fleets.load(folder)
    opened = Authority.open(folder, files.passphrase(passphrase_file))
    identity = fleets.announce_issuing(found, opened, root_folder)
    deadline = time.monotonic() + KNOWN_WITHIN
    while True:
        try:
            with Control(found, port=port, identity=identity):
                break
        except BrokerError as error:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"the broker does not know the next issuing authority yet, so it signs nothing and all is as it was ({error}). "
                    f"Copy {folder}/broker/clients.pem and crl.pem to the broker, reload it (systemctl reload mosquitto), and "
                    "run this again"
                ) from None
            time.sleep(0.2)
    fleets.use_announced(found, opened)
    click.echo(
        "the next issuing authority signs from now on; devices get their certificates by it when they renew, within 90 days. Copy "
        f"{folder}/broker/ to the broker again and restart it when it suits you; root.key goes back to where it was"
    )


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
    opened = Authority.open(folder, files.passphrase(passphrase_file))
    path = fleets.renew_crl(found, opened, to)
    click.echo(
        f"{to or path} is good for {opened.crl_days_left():.0f} days; the broker reads it on SIGHUP (systemctl reload mosquitto)"
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


COMMANDS = (init, renew, authority, crl, broker)
