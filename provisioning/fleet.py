"""The fleet manager's folder: what ``mien-fleet init`` makes, and what is renewed in it later.

::

    fleet.json   what was asked for       ca.pem      what a device trusts: the root certificate
    root/        the root's key: take it off this machine         authority/  what signs: stays here
    broker/      all that the broker needs: copy it there         service/    the identity of mien-fleet itself
    claims/      identities of batches: into the boxes            trial/      data of mien-fleet broker
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from provisioning import files, issuers, mosquitto
from provisioning.authority import Authority, utc_now
from provisioning.certificates import DAY, SERVICE, ends
from provisioning.errors import FilesError, WordsError
from provisioning.mosquitto import Size


@dataclass(frozen=True, slots=True)
class Fleet:
    """A folder, where its broker is, and for how many devices that is made.

    Attributes:
        broker: URL, ``mqtts://host:port``.
    """

    folder: Path
    broker: str
    size: Size

    @property
    def host(self) -> str:
        return address(self.broker)[0]

    @property
    def port(self) -> int:
        return address(self.broker)[1]

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def service(self) -> tuple[Path, Path]:
        """Certificate and key of the manager's own programs."""
        return self.folder / "service" / f"{SERVICE}.pem", self.folder / "service" / f"{SERVICE}.key"

    def write(self) -> None:
        what = {"broker": self.broker, "fleet": self.size.fleet, "outage_hours": self.size.outage}
        files.write(self.folder / "fleet.json", json.dumps(what, indent=1) + "\n")


def address(url: str) -> tuple[str, int]:
    """Host and port of a broker's URL.

    Raises:
        WordsError: It is not ``mqtts://host`` or ``mqtts://host:port``.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 8883
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "mqtts" or not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise WordsError(f"{url!r} is no broker for a fleet; expected mqtts://host:8883, with the name that devices will use")
    return parts.hostname, port


def init(folder: Path, broker: str, size: Size, passphrase: bytes, now: Callable[[], dt.datetime] = utc_now) -> Fleet:
    """Make everything, or nothing: it appears under its name once it is whole. ``now`` is the clock, UTC.

    Raises:
        WordsError: The folder is not empty, or the URL is none.
        AuthorityError: The host is none.
        FilesError: The folder cannot be written.
    """
    host, _ = address(broker)
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise FilesError(f"{folder}: cannot be read ({error.strerror}); choose another folder") from None
    if taken:
        renewing = f"to renew what is in it: mien-fleet renew {folder}"
        raise WordsError(f"{folder}: not empty, and init overwrites nothing; choose another folder. Or, {renewing}")
    new = folder.absolute().with_name(f".{folder.absolute().name}.new")
    shutil.rmtree(new, ignore_errors=True)
    files.private_folder(new)
    authority = Authority.create(new, passphrase, now)
    fleet = Fleet(new, broker, size)
    files.private_folder(new / "claims")
    _service(fleet, authority)
    _broker(fleet, authority, host)
    fleet.write()
    try:
        os.replace(new, folder.absolute())
    except OSError as error:
        raise FilesError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
    return replace(fleet, folder=folder)


def load(folder: Path) -> Fleet:
    """Find a fleet.

    Raises:
        FilesError: There is none.
        WordsError: ``fleet.json`` is not what was written.
    """
    path = folder / "fleet.json"
    content = files.read(path, "a fleet's folder", "mien-fleet init makes one")
    try:
        said = json.loads(content)
        size = Size(int(said["fleet"]), float(said["outage_hours"]))
        address(str(said["broker"]))
        return Fleet(folder, str(said["broker"]), size)
    except (ValueError, KeyError, TypeError):
        raise WordsError(
            f"{path}: expected broker, fleet and outage_hours in JSON, as mien-fleet init writes; restore it"
        ) from None


def renew(fleet: Fleet, authority: Authority) -> None:
    """New certificates for broker and service, a new list, and the configuration written again. Identities stay what they are."""
    authority.renew_crl()
    _service(fleet, authority)
    _broker(fleet, authority, fleet.host)
    fleet.write()


def announce_issuing(fleet: Fleet, authority: Authority, root_folder: Path | None = None) -> tuple[Path, Path]:
    """Make the next issuing authority, if there is none, and give the broker its certificate and its revocation list.

    Nobody is locked out by that: nothing has been issued by it yet.

    Returns:
        Certificate and key of ``mien-fleet`` by the next authority, to try whether the broker knows it.

    Raises:
        AuthorityError, FilesError: As ``Authority.announce``.
    """
    announced = authority.announce(root_folder)
    files.write(fleet.folder / "broker" / "clients.pem", authority.bundle_pem, 0o644)
    renew_crl(fleet, authority)
    key, chain = authority.issue_service(announced)
    folder = files.private_folder(fleet.folder / "service")
    return files.write(folder / "next.pem", chain), files.write(folder / "next.key", key)


def use_announced(fleet: Fleet, authority: Authority) -> None:
    """Let the next issuing authority sign: for broker and service at once, for devices when they renew."""
    authority.use_announced()
    renew(fleet, authority)
    for path in (fleet.folder / "service").glob("next.*"):
        path.unlink(missing_ok=True)


def renew_crl(fleet: Fleet, authority: Authority, to: Path | None = None) -> Path:
    """Give the broker a list that is good for weeks; the old one stays when it still is.

    Args:
        fleet: Whose.
        authority: Its authority.
        to: Another place to put it, where a broker of this machine reads it.

    Returns:
        The file in the fleet's folder.
    """
    content = authority.crl()
    for path in filter(None, (fleet.folder / "broker" / "crl.pem", to)):
        if not path.exists() or path.read_bytes() != content:
            files.write(path, content, 0o644)
    return fleet.folder / "broker" / "crl.pem"


def ending(fleet: Fleet, now: Callable[[], dt.datetime] = utc_now, days: float = 60) -> list[str]:
    """What will end within so many days, in words for a person."""
    watched = {
        "the broker's certificate": (
            fleet.folder / "broker" / "broker.pem",
            f"mien-fleet renew {fleet.folder}, then copy broker/ to the broker",
        ),
        "the service's certificate": (fleet.service[0], f"mien-fleet renew {fleet.folder}"),
        "the issuing authority": (issuers.active_pem(fleet.folder / "authority"), f"mien-fleet authority renew {fleet.folder}"),
    }
    said = []
    for what, (path, how) in watched.items():
        left = (ends(files.read(path, "a certificate", "restore it from a backup")) - now()) / DAY
        if left < days:
            said.append(f"{what} ends in {left:.0f} days: {how}")
    return said


def _service(fleet: Fleet, authority: Authority) -> None:
    certificate, key = fleet.service
    files.private_folder(certificate.parent)
    key_pem, chain = authority.issue_service()
    files.write(key, key_pem)
    files.write(certificate, chain)


def _broker(fleet: Fleet, authority: Authority, host: str) -> None:
    folder = files.private_folder(fleet.folder / "broker")
    key, chain = authority.issue_broker(host)
    files.write(folder / "broker.key", key)
    files.write(folder / "broker.pem", chain, 0o644)
    files.write(folder / "clients.pem", authority.bundle_pem, 0o644)
    files.write(folder / "crl.pem", authority.crl(), 0o644)
    files.write(folder / "acl", mosquitto.acl())
    files.write(folder / "mosquitto.conf", mosquitto.configuration(fleet.size, port=fleet.port), 0o644)
    files.write(folder / "dynamic-security.json", mosquitto.dynamic_security())
