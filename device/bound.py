"""What a device's signed identity fixes: its setting and its jurisdiction, whatever a file says.

They are URIs in the certificate that the fleet's authority has issued (``urn:mien:setting:retail``, ``urn:mien:jurisdiction:DE``).
A settings file may leave them out, or ask for less; asking for more is refused with the article. The certificate is no secret, so
both processes read it; the key stays with the sending one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from device import durable
from device.errors import SettingsError
from device.policy import SETTINGS, PolicyError, Stated, narrow
from device.settings import Settings
from device.settings_policy import PolicySettings

PREFIX: Final = "urn:mien:"
MAX_BYTES: Final = 1024 * 1024  # of certificates


class CertificateError(SettingsError):
    """The certificate cannot be used. It was received, and may come again: so systemd starts the process again."""

    exit_code = 65


def bind(settings: Settings) -> Settings:
    """The same settings, held to what the device's certificate says.

    A device without a certificate, and one whose certificate says nothing, are held to their file alone.

    Raises:
        CertificateError: The certificate cannot be read, or is not signed by ``broker.ca_file``.
        PolicyError: The file asks for more than the identity permits.
    """
    fixed = _fixed(settings.broker.certificate_file, settings.broker.ca_file)
    if fixed is None:
        return settings
    narrow(fixed, settings.policy.stated)
    found = {
        "setting": settings.policy.setting or fixed.setting,
        "jurisdiction": settings.policy.jurisdiction or fixed.jurisdiction,
    }
    return settings.model_copy(update={"policy": settings.policy.model_copy(update=found)})


def bind_or_least(settings: Settings) -> Settings:
    """The same for the sending process, which infers nothing: where ``bind`` refuses, and nobody is watched, the least there is."""
    try:
        return bind(settings)
    except (SettingsError, PolicyError):
        return settings.model_copy(update={"policy": PolicySettings()})


def _fixed(file: Path | None, authority: Path | None) -> Stated | None:
    """Setting and jurisdiction in a certificate; ``None`` where there is none, or nothing of this in it."""
    if file is None:
        return None
    try:
        own, *others = x509.load_pem_x509_certificates(durable.read_given(file, MAX_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CertificateError(
            f"{file}: the device's certificate cannot be read ({error.strerror}), so it is not known what this device may infer; "
            "it is no secret: let the watching user read it (its key must stay as it is)"
        ) from error
    except ValueError as error:
        raise CertificateError(f"{file}: not a certificate in PEM; enrol the device anew: mien enroll") from error
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    said = [uri.removeprefix(PREFIX).split(":", 1) for uri in names.get_values_for_type(x509.UniformResourceIdentifier)]
    found = dict(words for words in said if len(words) == 2)
    if not found.keys() & {"setting", "jurisdiction"}:
        return None
    if not _signed(own, others, authority):
        raise CertificateError(
            f"{file}: this certificate is not signed by broker.ca_file ({authority or 'not set'}), so what it permits counts "
            "nothing; set broker.ca_file to the fleet's ca.pem, or enrol the device anew"
        )
    word = found.get("setting")
    return Stated(next((one for one in SETTINGS if one == word), None), found.get("jurisdiction"))


def _signed(own: x509.Certificate, others: Sequence[x509.Certificate], authority: Path | None) -> bool:
    """Whether a chain leads to this authority, root or issuing."""
    try:
        roots = x509.load_pem_x509_certificates(durable.read_given(authority, MAX_BYTES)) if authority else []
        certificate = own
        for _ in range(1 + len(others)):
            signer = next(one for one in (*roots, *others) if one.subject == certificate.issuer)
            certificate.verify_directly_issued_by(signer)
            if signer in roots:
                return True
            certificate = signer
    except (OSError, ValueError, TypeError, StopIteration, InvalidSignature):
        pass
    return False
