"""The issuing authorities of a fleet, one after the other, as files.

In ``authority/``: ``issuing.pem`` and ``issuing.key`` are the first one, ``issuing-2.pem`` and ``issuing-2.key`` the second, and so
on. ``active`` names the one that signs certificates; without it that is the first. All of them that have not ended sign revocation
lists, since what they have issued is still in use. One that is newer than the active one is announced: brokers learn of it first.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning import files
from provisioning.errors import AuthorityError

ADVICE = "mien-fleet init makes one"
_NAME = re.compile(r"issuing(?:-([1-9][0-9]{0,3}))?\.pem")


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuing authority; ``number`` counts from 1."""

    number: int
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issuers:
    """All that have not ended.

    Attributes:
        active: The one that signs certificates, ended or not.
        others: The rest, the newest first.
    """

    active: Issuer
    others: tuple[Issuer, ...] = ()

    @property
    def every(self) -> tuple[Issuer, ...]:
        """The active one first."""
        return (self.active, *self.others)

    @property
    def announced(self) -> Issuer | None:
        """The next one, where there is one."""
        return next((one for one in self.others if one.number > self.active.number), None)


def seen(folder: Path) -> tuple[int, tuple[int, ...]]:
    """What is there: the number of the active one, and all numbers. Cheap, to notice a change.

    Raises:
        AuthorityError: ``active`` is not a number of one of them.
        FilesError: The folder cannot be read.
    """
    found = (_NAME.fullmatch(path.name) for path in folder.glob("issuing*.pem"))
    numbers = tuple(sorted(int(match[1] or 1) for match in found if match))
    path = folder / "active"
    text = files.read(path, "a number", "restore it from a backup").strip() if path.exists() else b"1"
    active = int(text) if text.isdigit() else 0
    if active not in numbers:
        files.read(_pem(folder, active or 1), "the issuing certificate", ADVICE)  # says that it is missing, if it is
        raise AuthorityError("files", f"{path}: expected the number of an issuing authority; restore it from a backup")
    return active, numbers


def active_pem(folder: Path) -> Path:
    """The file of the certificate of the one that signs. Raises as ``seen`` does."""
    return _pem(folder, seen(folder)[0])


def load(folder: Path, passphrase: bytes, now: dt.datetime) -> Issuers:
    """Read them all.

    Raises:
        AuthorityError: ``passphrase``: it is not the one; ``files``: a file is not what it should be.
        FilesError: A file cannot be read.
    """
    active, numbers = seen(folder)
    found = {number: _read(folder, number, passphrase) for number in numbers}
    others = [one for one in found.values() if one.number != active and one.certificate.not_valid_after_utc > now]
    return Issuers(found[active], tuple(sorted(others, key=lambda one: -one.number)))


def store(folder: Path, number: int, certificate: bytes, key: bytes) -> None:
    """Keep one, PEM, the key encrypted. It counts once its certificate is there."""
    files.write(_pem(folder, number).with_suffix(".key"), key)
    files.write(_pem(folder, number), certificate)


def activate(folder: Path, number: int) -> None:
    """From now on this one signs."""
    files.write(folder / "active", f"{number}\n")


def open_key(path: Path, passphrase: bytes, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
    """An authority's key.

    Raises:
        AuthorityError: ``passphrase``: it is not the one; ``files``: it is another key than the certificate's.
        FilesError: It cannot be read.
    """
    pem = files.read(path, "its encrypted key", ADVICE)
    try:
        key = serialization.load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError):
        raise AuthorityError("passphrase", f"{path}: the passphrase does not open it; give the one of init") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError("files", f"{path}: not the key of its certificate; restore both from one backup")
    return key


def _read(folder: Path, number: int, passphrase: bytes) -> Issuer:
    path = _pem(folder, number)
    try:
        certificate = x509.load_pem_x509_certificate(files.read(path, "the issuing certificate", ADVICE))
    except ValueError:
        raise AuthorityError("files", f"{path}: not a certificate in PEM; restore it from a backup") from None
    return Issuer(number, certificate, open_key(path.with_suffix(".key"), passphrase, certificate))


def _pem(folder: Path, number: int) -> Path:
    return folder / ("issuing.pem" if number == 1 else f"issuing-{number}.pem")
