"""``mien-fleet timer``: what must be done daily, as systemd's units."""

from __future__ import annotations

import pwd
import sys
from pathlib import Path

import click

from provisioning import files
from provisioning import fleet as fleets
from provisioning import timer as units_of
from provisioning.commands.authority import FOLDER
from provisioning.errors import FilesError, WordsError


@click.command()
@FOLDER
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    required=True,
    help="Where the passphrase stays. Only systemd needs to be able to read it.",
)
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), default="/etc/systemd/system", show_default=True)
@click.option("--then", metavar="COMMAND", help="Run this after it, such as: /usr/bin/rsync -a …/repository/ web:/srv/models/")
def timer(folder: Path, passphrase_file: Path, to: Path, then: str | None) -> None:
    """Write a timer that runs mien-fleet model refresh every day, for the fleet in DIR.

    Without it devices refuse new models fourteen days after the last one was published.
    """
    found = fleets.load(folder).folder.resolve()
    files.passphrase(passphrase_file)  # before it is needed at night
    try:
        user = pwd.getpwuid(found.stat().st_uid).pw_name
    except KeyError:
        raise WordsError(f"{found}: belongs to a user without a name; chown it to the one that looks after the fleet") from None
    made = units_of.units(
        program=(sys.executable, "-m", "provisioning.cli"), folder=found, user=user, passphrase=passphrase_file.resolve(), then=then
    )
    for name, text in made.items():
        try:
            (to / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise FilesError(f"{to / name}: cannot be written ({error.strerror}); run it as root, or give --to FOLDER") from None
        click.echo(f"{to / name}")
    click.echo(f"now: systemctl daemon-reload && systemctl enable --now {units_of.NAME}.timer")


COMMANDS = (timer,)
