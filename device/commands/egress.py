"""``mien egress``: looks up whom the sending process may talk to, and tells systemd."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

import click

from device import durable
from device import egress as allowed
from device import settings as settings_file
from device.commands._files import FILE
from device.errors import BrokerError, MienError, SettingsError

MAX_BYTES: Final = 1024 * 1024  # of a list of hosts


@click.command()
@click.option("--settings", "file", type=FILE, metavar="FILE", help=f"The settings file.  [default: {settings_file.SYSTEM_FILE}]")
@click.option("--also", type=FILE, metavar="FILE", help="Further hosts, one a line; there need not be such a file.")
@click.option("--known", type=FILE, metavar="FILE", help="Remember there what was found: it stays allowed for a day.")
@click.option("--apply", "units", multiple=True, metavar="UNIT", help="Set IPAddressAllow of this systemd unit; may be repeated.")
def egress(*, file: Path | None, also: Path | None, known: Path | None, units: tuple[str, ...]) -> None:
    """Look up the addresses that the sending process needs.

    The broker's and the name servers', one a line. With --apply systemd lets that unit talk to these alone, from now on and
    until the next boot; nothing is started again.
    """
    wanted = allowed.hosts(settings_file.load(file), _text(also))
    found: list[str] = []
    failed: list[str] = []
    for host in wanted:
        try:
            found += allowed.look_up(host)
        except BrokerError as error:
            failed.append(str(error))
    remembered = allowed.later(allowed.Known.read(known), wanted, found, time.monotonic())
    asked = () if all(map(allowed.is_address, wanted)) else allowed.name_servers(_text(allowed.RESOLV_CONF))
    addresses = tuple(dict.fromkeys((*asked, *sorted(remembered.seen))))
    for address in addresses:
        click.echo(address)
    for unit in units:
        _apply(unit, addresses)
    if known is not None:  # after it is in force: what could not be applied is not remembered as if it had been
        remembered.write(known)
    if failed:
        raise BrokerError("\n".join(failed))


def _apply(unit: str, addresses: tuple[str, ...]) -> None:
    """Replace what a unit may talk to, also while it runs."""
    words = ["systemctl", "set-property", "--runtime", unit, "IPAddressAllow=", *(f"IPAddressAllow={one}" for one in addresses)]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MienError(f"{unit}: systemctl cannot be run ({error}); leave --apply out on a machine without systemd") from None
    if done.returncode != 0:
        raise MienError(f"{unit}: systemd refused ({done.stderr.strip()}); run as root")


def _text(path: Path | None) -> str:
    """A file's text; empty where there is none.

    Raises:
        SettingsError: It is there and cannot be read.
    """
    try:
        return "" if path is None else durable.read_given(path, MAX_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); make it readable for this user") from None
