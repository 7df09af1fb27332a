"""The registry and enrolment: ``mien-fleet serve``, ``batch``, ``claim``, ``approve``, ``revoke``, ``devices`` and so on."""

from __future__ import annotations

import datetime as dt
import json
import logging
import secrets
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import click

from provisioning import files, groups, manage
from provisioning import fleet as fleets
from provisioning import qr as codes
from provisioning.authority import Authority
from provisioning.commands.authority import FOLDER, PASSPHRASE
from provisioning.dynsec import Control
from provisioning.errors import WordsError
from provisioning.keys import number_and_end
from provisioning.registry import opened
from provisioning.revocation import revoke

DATABASE = click.option(
    "--database",
    "database_url",
    metavar="URL",
    envvar="MIEN_FLEET_DATABASE",
    help="postgresql://user@host/name (a password belongs into ~/.pgpass).  [default: DIR/registry.db]",
)


def database(folder: Path, url: str | None) -> str:
    """The registry's URL: SQLite in the fleet's folder unless told otherwise."""
    return url or f"sqlite:///{(fleets.load(folder).folder / 'registry.db').absolute()}"


@click.command()
@FOLDER
@click.option("--port", type=click.IntRange(1, 65535), help="Of the broker, instead of the one in the fleet's URL.")
@DATABASE
@PASSPHRASE
def serve(folder: Path, port: int | None, database_url: str | None, passphrase_file: Path | None) -> None:
    """Answer devices that enrol, until told to stop. Several may run, also on several machines; any may be killed at any time."""
    import structlog

    from provisioning.serve import Service

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    stop = threading.Event()

    def told(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    fleet = fleets.load(folder)
    authority = Authority.open(folder, files.passphrase(passphrase_file))
    with opened(database(folder, database_url)) as registry:
        Service(fleet, authority, registry, port=port).run(stop.is_set)


@click.group()
def batch() -> None:
    """Batches of boxes: who may enrol."""


@batch.command("add")
@FOLDER
@click.argument("name")
@click.argument("serials", nargs=-1)
@click.option("--setting", required=True, help="Where they work: retail, kiosk, classroom, workplace, healthcare or research.")
@click.option("--jurisdiction", required=True, help="Which law applies: a country's two letters, or EU.")
@click.option(
    "--list",
    "listed",
    type=click.File("r", encoding="utf-8"),
    help="More serials, one a line; after it, perhaps the SHA-256 of the box's public key: such a box needs no approval.",
)
@DATABASE
def batch_add(
    *,
    folder: Path,
    name: str,
    serials: tuple[str, ...],
    setting: str,
    jurisdiction: str,
    listed: click.File | None,
    database_url: str | None,
) -> None:
    """Put serials on the list of batch NAME, and make the batch if there is none of that name."""
    wanted: dict[str, str | None] = dict.fromkeys(serials)
    for number, line in enumerate(listed or (), start=1):  # type: ignore[arg-type, var-annotated]  # click hands in an open file
        words = str(line).split()
        if len(words) > 2:
            raise WordsError(f"--list, line {number}: expected a serial, and perhaps 64 hexadecimal digits after it")
        if words:
            wanted[words[0]] = words[1].lower() if len(words) == 2 else None
    with opened(database(folder, database_url)) as registry:
        new = manage.add_batch(registry, name, setting, jurisdiction, wanted)
    click.echo(f"batch {name}: {new} new of {len(wanted)} serials. Next: mien-fleet claim new {folder} {name}")


@click.group()
def claim() -> None:
    """Claims: what boxes that are not enrolled yet have in common."""


@claim.command("new")
@FOLDER
@click.argument("batch_name", metavar="BATCH")
@click.option("--days", type=click.FloatRange(0.001, 3650), default=365.0, show_default=True, help="How long boxes may use it.")
@click.option("--single", is_flag=True, help="For one device, and for five minutes instead of --days.")
@click.option("--qr", is_flag=True, help="The same, as a QR code on this terminal: mien enroll --camera reads it.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="The same, into a file: .png or .svg.")
@click.option(
    "--serial", help="The one box that it is for, which is so approved; with --single, --qr or --picture. The box need not know it."
)
@DATABASE
@PASSPHRASE
def claim_new(
    *,
    folder: Path,
    batch_name: str,
    days: float,
    single: bool,
    qr: bool,
    picture: Path | None,
    serial: str | None,
    database_url: str | None,
    passphrase_file: Path | None,
) -> None:
    """Make a claim for a batch: three files, for /etc/mien/claim in each box, or for LoadCredential= in systemd; or a QR code."""
    coded = qr or picture is not None
    single = single or coded
    if serial is not None and not single:
        raise WordsError("--serial goes with --single, --qr or --picture: a claim for all boxes of a batch is for no serial")
    if picture is not None and picture.suffix not in codes.PICTURES:
        raise WordsError(f"--picture {picture}: expected a name that ends in {' or '.join(codes.PICTURES)}")
    with opened(database(folder, database_url)) as registry:
        manage.check_listed(registry, batch_name, serial)
        name = f"{batch_name}.{secrets.token_hex(3)}" if single else batch_name
        authority = Authority.open(folder, files.passphrase(passphrase_file))
        key, chain = authority.issue_claim(name, 5 / 1440 if single else days)
        number, end = number_and_end(chain)
        manage.add_claim(registry, batch_name, name, number, end, single=single, serial=serial)
    until = f"{dt.datetime.fromtimestamp(end, dt.timezone.utc):%Y-%m-%d %H:%M} UTC"
    if coded:
        code = codes.claim_code(key, chain, authority.ca_pem, serial)
        if picture is not None:
            codes.picture(code, picture)
        if qr:
            click.echo(codes.on_terminal(code))
        where = f"{picture} is" if picture else "This is"
        click.echo(f"{where} good until {until}, for one device, which reads it with mien enroll --camera. Whoever sees it has it.")
        if serial is None:
            click.echo(
                "For any serial of the batch, so a box whose key is not listed needs mien-fleet approve; with --serial none does."
            )
        return
    to = files.private_folder(folder / "claims" / name)
    files.write(to / "claim.key", key)
    files.write(to / "claim.pem", chain)
    files.write(to / "ca.pem", authority.ca_pem)
    if serial is not None:
        files.write(to / "serial", serial)
    click.echo(f"{to}: good until {until}. Copy it into each box as /etc/mien/claim; there: mien enroll")


@click.command()
@FOLDER
@click.argument("serial")
@click.option("--key", help="The beginning of the box's key, where several ask for one serial.")
@click.option("--replace", is_flag=True, help="Let it in instead of the box that has the serial now.")
@click.option("--refuse", is_flag=True, help="Say no.")
@DATABASE
def approve(*, folder: Path, serial: str, key: str | None, replace: bool, refuse: bool, database_url: str | None) -> None:
    """Let a box in that waits with this serial. It asks again within a minute or so."""
    with opened(database(folder, database_url)) as registry:
        chosen = manage.decide(registry, serial, key=key, replace=replace, refuse=refuse)
        if not refuse and (cut_off := manage.revoked_device(registry, serial)):
            with Control(fleets.load(folder)) as broker:
                broker.restore(cut_off)
    click.echo(f"{serial}: key {chosen[:12]} is {'refused' if refuse else 'approved'}")


@click.command("revoke")
@FOLDER
@click.argument("device")
@DATABASE
@PASSPHRASE
def revoke_device(folder: Path, device: str, database_url: str | None, passphrase_file: Path | None) -> None:
    """End a device's session now, and make its certificates worthless. mien-fleet approve lets it in again."""
    fleet = fleets.load(folder)
    authority = Authority.open(folder, files.passphrase(passphrase_file))
    with opened(database(folder, database_url)) as registry:
        numbers = manage.to_revoke(registry, device)
        ends = {int(number, 16): dt.datetime.fromtimestamp(end, dt.timezone.utc) for number, end in numbers.items()}
        revoke(fleet, authority, device, ends)
        manage.on_the_list(registry, numbers)
    click.echo(f"{device}: {len(numbers)} certificates revoked, its session ended")


@click.command()
@FOLDER
@click.argument("device")
@click.argument("labels", nargs=-1, required=True, metavar="NAME=VALUE...")
@DATABASE
def label(folder: Path, device: str, labels: tuple[str, ...], database_url: str | None) -> None:
    """Name a device for people; NAME= removes a label."""
    with opened(database(folder, database_url)) as registry:
        for one in labels:
            name, equals, value = one.partition("=")
            if not equals:
                raise WordsError(f"{one!r}: expected NAME=VALUE, such as store=berlin-3")
            version = groups.set_label(registry, device, name, value or None)
            if version is not None:
                click.echo(f"{device}: version {version}: what is wanted of its groups")


@click.command()
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
@DATABASE
def devices(folder: Path, as_json: bool, database_url: str | None) -> None:
    """Show every serial, how far its box has come, and what it was told last."""
    with opened(database(folder, database_url)) as registry:
        found = manage.devices(registry)
    if as_json:
        for one in found:
            click.echo(json.dumps(asdict(one)))
        return
    rows = [("SERIAL", "DEVICE", "BATCH", "STATE", "KEY", "UNTIL", "LABELS", "LAST")]
    below = [""]  # each row
    for one in found:
        until = f"{dt.datetime.fromtimestamp(one.expires_at, dt.timezone.utc):%Y-%m-%d}" if one.expires_at else ""
        labels = " ".join(f"{name}={value}" for name, value in one.labels.items())
        last = "" if one.last_code in (None, "accepted") else f"{one.last_code}: {one.last_message}"
        rows.append((one.serial, one.name, one.batch, one.state, (one.key or "")[:12], until, labels, last))
        below.append(
            f"{one.two_machines}. Run mien-fleet revoke {folder} {one.name}, see docs/fleet.md" if one.two_machines else ""
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row, more in zip(rows, below, strict=True):
        click.echo("  ".join((*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[-1])).rstrip())
        if more:
            click.echo(f"    {more}")


@click.command()
@FOLDER
@click.option("--serial", help="Only of this one.")
@click.option("--newest", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many.")
@DATABASE
def audit(folder: Path, serial: str | None, newest: int, database_url: str | None) -> None:
    """Print the newest steps of enrolment as JSON lines, also those that failed."""
    with opened(database(folder, database_url)) as registry:
        for entry in manage.audit_log(registry, serial, newest):
            click.echo(json.dumps(asdict(entry)))


COMMANDS = (serve, batch, claim, approve, revoke_device, label, devices, audit)
