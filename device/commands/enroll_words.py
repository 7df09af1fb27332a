"""``mien enroll``: its words on the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from device import settings as settings_file
from device.commands._files import FILE, FOLDER


@click.command()
@click.option(
    "--settings",
    "file",
    type=FILE,
    metavar="FILE",
    help=f"The settings file.  [default: {settings_file.SYSTEM_FILE}]",
)
@click.option("--claim", "folder", type=FOLDER, metavar="FOLDER", help="Of the claim's files.")
@click.option(
    "--serial", metavar="SERIAL", help="This box's serial, as on the fleet's list.  [default: the claim's, or the board's own]"
)
@click.option("--camera", is_flag=True, help="Read the claim's QR code with the camera of the settings.")
@click.option("--again", is_flag=True, help="Begin anew with the same key: after the certificate has ended or was revoked.")
def enroll(*, file: Path | None, folder: Path | None, serial: str | None, camera: bool, again: bool) -> None:
    """Get this device's own identity from its fleet, with the claim of its batch.

    \b
    The key is made here and never leaves. The identity goes to broker.certificate_file and
    broker.key_file. It may be stopped and started at any time. The claim is looked for in
    systemd's credentials, then in /etc/mien/claim. With --camera it comes from a QR code
    (mien-fleet claim new --qr) and is kept beside the identity until that is there.
    """  # noqa: D301 (click wants a real backspace)
    from device import log
    from device.commands import enroll, scan
    from device.stop import Stop

    settings = settings_file.load(file)
    usual = Path(os.environ.get("CREDENTIALS_DIRECTORY") or "/etc/mien/claim")
    if camera and settings.broker.certificate_file is not None:
        usual = settings.broker.certificate_file.with_name("claim")
    name = enroll.run(
        settings,
        folder or usual,
        serial,
        log.set_up("enroll", settings.log_level),
        Stop().on_signals(),
        again=again,
        code=(lambda: scan.code(file)) if camera else None,
    )
    if name is None:
        sys.exit(75)
    click.echo(f"enrolled as {name}")
