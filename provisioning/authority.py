"""The certificate authority of a fleet: issues, checks and revokes.

In the fleet's folder::

    ca.pem                 the root certificate: all that a device has to trust
    root/root.key          its key, encrypted: move this folder to a place that is not connected to anything
    authority/issuing.*    the issuing authority, key encrypted; with it everything below works (``provisioning/issuers.py``)
    authority/crl.json     what was revoked; ``crl.pem`` is made from it, one list for each issuing authority

Which certificate belongs to which device is the registry's business. Several processes may use one folder at a time, and each of
them notices when another one has made the next issuing authority.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.contract_model import EndorsedRoot, endorsed_bytes
from provisioning import certificates, files, issuers
from provisioning.certificates import DEVICE_DAYS, Kind
from provisioning.csr import PublicKeyInfo, check_csr, checked
from provisioning.errors import AuthorityError
from provisioning.issuers import Issuer, Issuers

__all__ = ["Authority", "PublicKeyInfo", "check_csr", "crl_days_left"]

CRL_DAYS: Final = 30
CRL_RENEW_DAYS: Final = 20  # renewed when less than so much is left: ten days of grace for a service that runs daily
ENDORSED_DAYS: Final = 60
HOUR: Final = dt.timedelta(hours=1)


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


class Authority:
    """See the module. ``now`` is the clock, UTC."""

    def __init__(self, folder: Path, root: x509.Certificate, passphrase: bytes, now: Callable[[], dt.datetime]) -> None:
        self._folder, self._root, self._passphrase, self._now = folder, root, passphrase, now
        self._private = folder / "authority"
        self._seen: object = None
        self._loaded: Issuers | None = None

    @classmethod
    def create(cls, folder: Path, passphrase: bytes, now: Callable[[], dt.datetime] = utc_now) -> Authority:
        """Make root and issuing authority, with keys encrypted by ``passphrase``, and a first revocation list.

        Raises:
            AuthorityError: There is one already.
            FilesError: The folder cannot be written.
        """
        if (folder / "ca.pem").exists():
            raise AuthorityError("files", f"{folder / 'ca.pem'}: an authority is here already; choose another folder")
        root_key = ec.generate_private_key(ec.SECP256R1())
        root = certificates.sign(certificates.root(), root_key.public_key(), None, root_key, now())
        made = cls(folder, root, passphrase, now)
        files.private_folder(made._private)
        files.write(files.private_folder(folder / "root") / "root.key", _key_pem(root_key, passphrase))
        made._add_issuing(1, root_key)
        files.write(folder / "ca.pem", _pem(root), 0o644)
        made.renew_crl()
        return made

    @classmethod
    def open(cls, folder: Path, passphrase: bytes, now: Callable[[], dt.datetime] = utc_now) -> Authority:
        """Use an authority; the root's key is not needed.

        Raises:
            AuthorityError: ``passphrase``: it is not the one; ``files``: a file is not what it should be.
            FilesError: A file cannot be read.
        """
        try:
            root = x509.load_pem_x509_certificate(files.read(folder / "ca.pem", "the root certificate", issuers.ADVICE))
        except ValueError:
            raise AuthorityError("files", f"{folder / 'ca.pem'}: not a certificate in PEM; restore it from a backup") from None
        opened = cls(folder, root, passphrase, now)
        opened._issuers()
        return opened

    def announce(self, root_folder: Path | None = None) -> Issuer:
        """The next issuing authority, made now if there is none; it signs its own revocation list and nothing else yet.

        Args:
            root_folder: Where ``root.key`` is, the one time that it is needed; ``None`` for ``root/``.

        Raises:
            AuthorityError: The root's key is another one, or the passphrase does not open it.
            FilesError: It is not there.
        """
        with files.locked(self._private / "lock"):
            if (announced := self._issuers().announced) is None:
                path = (root_folder or self._folder / "root") / "root.key"
                key = issuers.open_key(path, self._passphrase, self._root)
                self._add_issuing(self._issuers().active.number + 1, key)
                announced = self._issuers().announced
            assert announced is not None
        self.renew_crl()
        return announced

    def use_announced(self) -> None:
        """Let the next issuing authority sign from now on. The one before goes on signing revocation lists until it ends."""
        with files.locked(self._private / "lock"):
            if (announced := self._issuers().announced) is not None:
                issuers.activate(self._private, announced.number)

    def _add_issuing(self, number: int, root_key: ec.EllipticCurvePrivateKey) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        issuing = certificates.sign(certificates.issuing(number), key.public_key(), self._root, root_key, self._now())
        empty = x509.CertificateRevocationListBuilder().issuer_name(self._root.subject).last_update(issuing.not_valid_before_utc)
        # The root has revoked nobody; brokers want to hear that all the same, as long as there are issuing authorities.
        empty = empty.next_update(issuing.not_valid_after_utc).add_extension(x509.CRLNumber(number), critical=False)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        files.write(self._private / "root-crl.pem", _pem(empty.add_extension(own, critical=False).sign(root_key, hashes.SHA256())))
        issuers.store(self._private, number, _pem(issuing), _key_pem(key, self._passphrase))

    def _issuers(self) -> Issuers:
        """As they are on the disk now."""
        if self._loaded is None or self._seen != issuers.seen(self._private):
            self._seen = issuers.seen(self._private)
            self._loaded = issuers.load(self._private, self._passphrase, self._now())
        return self._loaded

    @property
    def ca_pem(self) -> bytes:
        """The root certificate."""
        return _pem(self._root)

    @property
    def bundle_pem(self) -> bytes:
        """Issuing and root certificates: what a broker checks clients with, so that they need not send the issuing one."""
        return b"".join(_pem(one.certificate) for one in self._issuers().every) + _pem(self._root)

    def check_csr(self, csr_pem: bytes) -> PublicKeyInfo:
        """See ``provisioning.csr.check_csr``."""
        return check_csr(csr_pem)

    def issue_device(self, csr_pem: bytes, *, device: str, setting: str, jurisdiction: str, days: float = DEVICE_DAYS) -> bytes:
        """Certify the key in a CSR; nothing else in the CSR counts.

        Returns:
            The certificate and the issuing authority's, PEM.

        Raises:
            AuthorityError: The CSR or a word is refused; see ``code``.
        """
        kind = certificates.device(device, setting, jurisdiction, days)
        return self._chain(kind, checked(csr_pem)[1])

    def issue_claim(self, batch: str, days: float) -> tuple[bytes, bytes]:
        """Make the identity that the boxes of a batch share until they are enrolled.

        Returns:
            Its key and its chain, PEM; the key is not encrypted and is kept nowhere here.
        """
        return self._with_key(certificates.claim(batch, days))

    def issue_broker(self, host: str) -> tuple[bytes, bytes]:
        """Key and chain of a broker that is reached as ``host``."""
        return self._with_key(certificates.broker(host))

    def issue_service(self, issuer: Issuer | None = None) -> tuple[bytes, bytes]:
        """Key and chain of the manager's own programs; by another issuing authority to try whether a broker knows it."""
        return self._with_key(certificates.service(), issuer)

    def endorse(self, root: bytes, generation: int, version: int) -> EndorsedRoot:
        """Vouch for the root of the fleet's models for ``ENDORSED_DAYS``, so that devices need not be given it by hand."""
        by = self._issuers().active
        expires = min(self._now() + ENDORSED_DAYS * certificates.DAY, by.certificate.not_valid_after_utc)
        signed = endorsed_bytes(root, (generation, version, expires))
        said = {"generation": generation, "version": version, "expires": expires, "root": root.decode()}
        signature = by.key.sign(signed, ec.ECDSA(hashes.SHA256())).hex()
        return EndorsedRoot.model_validate({**said, "signer": _pem(by.certificate).decode(), "signature": signature})

    def revoke(self, serial: int, until: dt.datetime | None = None) -> None:
        """``revoke_many`` for one certificate."""
        self.revoke_many({serial: until})

    def revoke_many(self, serials: Mapping[int, dt.datetime | None]) -> None:
        """Put certificates on the list, for good, and renew the list once. Doing it twice changes nothing.

        Args:
            serials: Their serial numbers, and when each certificate ends: it then leaves the list (``None``: it stays).

        Raises:
            AuthorityError: A serial number is none; nothing is revoked.
        """
        for serial in serials:
            if not 0 < serial < 1 << 160:
                raise AuthorityError("bad-name", f"{serial} is no serial number of a certificate; expected 1 to 2**160")
        at = _text(self._now())
        self._update({f"{serial:x}": {"at": at, "until": _text(until) if until else None} for serial, until in serials.items()})

    def crl(self) -> bytes:
        """The revocation lists of issuing and root authorities, PEM; renewed first when the active one's is about to end."""
        path = self._private / "crl.pem"
        if not path.exists() or crl_days_left(path.read_bytes(), self._now()) < CRL_RENEW_DAYS:
            self.renew_crl()
        return path.read_bytes()

    def crl_days_left(self) -> float:
        """How long a broker still takes the list as it is now, in days."""
        return crl_days_left(self.crl(), self._now())

    def renew_crl(self) -> bytes:
        """Sign the list anew, whatever is left of the old one."""
        self._update({})
        return (self._private / "crl.pem").read_bytes()

    def revoked(self) -> set[int]:
        """The serial numbers on the list."""
        return {int(serial, 16) for serial in _state(self._private / "crl.json")["revoked"]}

    def _update(self, more: dict[str, dict[str, str | None]]) -> None:
        private = self._private
        with files.locked(private / "lock"):
            state = _state(private / "crl.json")
            now = self._now()
            kept = {s: r for s, r in state["revoked"].items() if r["until"] is None or r["until"] > _text(now - HOUR)}
            # Strictly later than the last one, as OpenSSL takes the later of the lists that a broker has read, and never to come.
            last = min(now, max(now - HOUR, dt.datetime.fromisoformat(state["last_update"]) + dt.timedelta(seconds=1)))
            state = {"number": state["number"] + 1, "last_update": last.isoformat(), "revoked": {**more, **kept}}
            files.write(private / "crl.json", json.dumps(state, indent=1))
            lists = [_pem(self._signed(issuer, state, last)) for issuer in self._issuers().every]
            files.write(private / "crl.pem", b"".join(lists) + (private / "root-crl.pem").read_bytes())

    def _signed(self, issuer: Issuer, state: dict[str, Any], last: dt.datetime) -> x509.CertificateRevocationList:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(last)
            .next_update(min(self._now() + CRL_DAYS * certificates.DAY, issuer.certificate.not_valid_after_utc))
            .add_extension(x509.CRLNumber(state["number"]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        for serial, record in state["revoked"].items():
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
            builder = builder.add_revoked_certificate(entry.revocation_date(dt.datetime.fromisoformat(record["at"])).build())
        return builder.sign(issuer.key, hashes.SHA256())

    def _with_key(self, kind: Kind, issuer: Issuer | None = None) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        return _key_pem(key, None), self._chain(kind, key.public_key(), issuer)

    def _chain(self, kind: Kind, key: ec.EllipticCurvePublicKey, issuer: Issuer | None = None) -> bytes:
        by = issuer or self._issuers().active
        return _pem(certificates.sign(kind, key, by.certificate, by.key, self._now())) + _pem(by.certificate)


def crl_days_left(crl_pem: bytes, now: dt.datetime) -> float:
    """How long a broker still takes this list, in days; negative once it refuses everybody.

    Raises:
        AuthorityError: It is no revocation list.
    """
    try:
        ends = x509.load_pem_x509_crl(crl_pem).next_update_utc
    except ValueError:
        ends = None
    if ends is None:
        raise AuthorityError("files", "crl.pem is not a revocation list; remove it, and mien-fleet crl renew makes it again")
    return (ends - now) / certificates.DAY


def _state(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"number": 0, "last_update": "1970-01-01T00:00:00+00:00", "revoked": {}}
    try:
        state = json.loads(path.read_bytes())
        return {"number": int(state["number"]), "last_update": str(state["last_update"]), "revoked": dict(state["revoked"])}
    except (ValueError, KeyError, TypeError):
        raise AuthorityError(
            "files", f"{path}: not what mien-fleet wrote; restore it from a backup: it says what was revoked"
        ) from None


def _text(time: dt.datetime) -> str:
    return time.astimezone(dt.timezone.utc).replace(microsecond=0).isoformat()


def _pem(thing: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return thing.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
