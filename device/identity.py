"""Keys and certificates of this device: the one module that knows ``cryptography``, and the files they are in.

The key is made here and never leaves. Every file is written whole, and synced before it counts; 0600, but for certificates.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device import durable
from device.contract_claim import unpack
from device.contract_enroll import ENROLL_ROOT, Step, signed_bytes
from device.errors import IdentityError
from device.settings import Settings

MAX_BYTES: Final = 1024 * 1024  # of a file: a pipe or a device in its place is not waited for
HARDWARE: Final = ("/sys/firmware/devicetree/base/serial-number", "/sys/class/dmi/id/product_uuid")
NETWORK: Final = Path("/sys/class/net")


class Key:
    """The device's own key, EC P-256."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.sha256 = hashlib.sha256(public).hexdigest()

    @classmethod
    def open(cls, path: Path) -> Key:
        """Read the key, or make it when there is none.

        Raises:
            IdentityError: There is something else, or the folder cannot be written.
        """
        try:
            content = durable.read_given(path, MAX_BYTES)
        except FileNotFoundError:
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            write(path, pem)
            return cls(key)
        except OSError as error:
            raise IdentityError(
                f"{path}: the device's key cannot be read ({error.strerror}); run as the user that owns it"
            ) from None
        try:
            found = serialization.load_pem_private_key(content, None)
        except (ValueError, TypeError):
            found = None
        if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
            raise IdentityError(
                f"{path}: expected an EC P-256 key in PEM without a passphrase; move the file away, and a new one is made"
            )
        return cls(found)

    def csr(self, serial: str) -> str:
        """A certificate signing request, PEM, whose common name is the box's serial."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self._key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, step: Step, name: str, nonce: str, token: str) -> str:
        """The signature of a ``Proof``."""
        return self._key.sign(signed_bytes(step, name, self.sha256, nonce, token), ec.ECDSA(hashes.SHA256())).hex()

    def fits(self, device: str, chain_pem: str, authority_pem: bytes) -> bool:
        """Whether a chain is for this key and this name, and signed by this authority (root or issuing)."""
        try:
            own, *others = x509.load_pem_x509_certificates(chain_pem.encode())
            signers = [*others, *x509.load_pem_x509_certificates(authority_pem)]
            roots = x509.load_pem_x509_certificates(authority_pem)
            if own.public_key() != self._key.public_key() or common_name(own) != device:
                return False
            certificate = own
            for _ in signers:
                signer = next(one for one in signers if one.subject == certificate.issuer)
                certificate.verify_directly_issued_by(signer)
                if signer in roots:
                    return True
                certificate = signer
        except (ValueError, TypeError, StopIteration, InvalidSignature):
            pass
        return False


@dataclass(frozen=True, slots=True)
class Claim:
    """The identity that boxes of a batch share until they are enrolled.

    Attributes:
        name: What topics call it.
        certificate, key, authority: Files, PEM.
        valid_from: UTC; a clock that is before this is wrong.
        serial: Of the one box that it is for, where the fleet has said so.
    """

    name: str
    certificate: Path
    key: Path
    authority: Path
    valid_from: datetime
    serial: str | None = None

    @classmethod
    def from_code(cls, text: str, folder: Path) -> Claim:
        """Keep the claim that a QR code holds, as files.

        Raises:
            IdentityError: It holds none, or the folder cannot be written.
        """
        try:
            code = unpack(text)
            key = ec.derive_private_key(int.from_bytes(code.key, "big"), ec.SECP256R1())
            certificate, root = x509.load_der_x509_certificate(code.certificate), x509.load_der_x509_certificate(code.root)
            if certificate.public_key() != key.public_key():
                raise ValueError("its key is another certificate's")
        except ValueError as error:
            raise IdentityError(
                f"the QR code is not a claim ({error}); expected one that mien-fleet claim new --qr has just shown"
            ) from None
        pem = serialization.Encoding.PEM
        write(folder / "ca.pem", root.public_bytes(pem))
        write(folder / "claim.pem", certificate.public_bytes(pem))
        write(folder / "serial", (code.serial or "").encode())
        write(folder / "claim.key", key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Claim:
        """Find ``claim.pem``, ``claim.key`` and ``ca.pem`` in a folder.

        Raises:
            IdentityError: One is missing, or is not what it should be.
        """
        advice = "expected claim.pem, claim.key and ca.pem, as mien-fleet claim new writes them; name their folder with --claim"
        try:
            certificate = x509.load_pem_x509_certificate(durable.read_given(folder / "claim.pem", MAX_BYTES))
            durable.read_given(folder / "claim.key", MAX_BYTES)
            x509.load_pem_x509_certificates(durable.read_given(folder / "ca.pem", MAX_BYTES))
        except OSError as error:
            raise IdentityError(f"{error.filename}: cannot be read ({error.strerror}); {advice}") from None
        except ValueError:
            raise IdentityError(f"{folder}: claim.pem or ca.pem is not a certificate; {advice}") from None
        name = common_name(certificate).removeprefix(f"{ENROLL_ROOT}/")
        files = folder / "claim.pem", folder / "claim.key", folder / "ca.pem"
        return cls(name, *files, certificate.not_valid_before_utc, _text(folder / "serial") or None)

    def give_up(self) -> bool:
        """Delete certificate and key; returns whether that could be done (systemd's credentials cannot, and end by themselves)."""
        try:
            for path in (self.key, self.certificate, self.key.with_name("serial")):
                path.unlink(missing_ok=True)
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Own:
    """What a device's certificate says.

    Attributes:
        name: The device's.
        valid_from, valid_to: UTC.
        fleet: Whether a fleet of ours has issued it, which renews it.
        spread: 0 to 1, by chance another one for each key.
    """

    name: str
    valid_from: datetime
    valid_to: datetime
    fleet: bool
    spread: float


def own(certificate_file: Path) -> Own | None:
    """Read a device's certificate; ``None`` where there is none, or none that can be read."""
    try:
        certificate = x509.load_pem_x509_certificate(durable.read_given(certificate_file, MAX_BYTES))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        fleet = any(one.startswith("urn:mien:") for one in names.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        fleet = False
    except (OSError, ValueError):
        return None
    number = certificate.fingerprint(hashes.SHA256())
    spread = int.from_bytes(number[:4], "big") / 2**32
    return Own(common_name(certificate), certificate.not_valid_before_utc, certificate.not_valid_after_utc, fleet, spread)


def common_name(certificate: x509.Certificate) -> str:
    """The common name, empty when there is none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def name_in(certificate_file: Path) -> str | None:
    """The device's name by its certificate, or None where there is no certificate."""
    try:
        return common_name(x509.load_pem_x509_certificate(durable.read_given(certificate_file, MAX_BYTES))) or None
    except (OSError, ValueError):
        return None


def named(settings: Settings) -> Settings:
    """The same settings, with the name in the device's certificate where the file does not give one: topics need it."""
    if "device" in settings.model_fields_set or settings.broker.certificate_file is None:
        return settings
    name = name_in(settings.broker.certificate_file)
    return settings.model_copy(update={"device": name}) if name else settings


def hardware() -> str | None:
    """A hash of what this hardware calls itself, 16 hexadecimal digits: a copied disk in another box has another one."""
    found = [_text(Path(name)) for name in HARDWARE]
    with suppress(OSError):
        found += sorted(_text(one / "address") for one in NETWORK.iterdir() if (one / "device").exists())  # a modem has none
    said = next((one for one in found if one), "")
    return hashlib.sha256(f"mien box {said}".encode()).hexdigest()[:16] if said else None


def serial_of_hardware() -> str | None:
    """The serial number of the board, where it has one."""
    return _text(Path(HARDWARE[0])) or None


def write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file, for its owner only unless ``mode`` says otherwise, durably.

    Raises:
        IdentityError: It cannot be written; the old one is as it was.
    """
    try:
        durable.make_folder(path.parent, mode=0o755)  # a key is 0600; the certificates are for both processes
        durable.write(path, content, mode=mode)
    except OSError as error:
        raise IdentityError(
            f"{path}: cannot be written ({error.strerror}); check the disk, and run as the user that owns it"
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""
