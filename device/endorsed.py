"""Whom to trust with models, where nobody has installed it by hand: the root that the fleet's own authority has signed.

The repository of models carries ``metadata/models-root.json`` (``contract_model.EndorsedRoot``): root metadata, signed by the
authority that issued this device's certificate. Each of the two processes checks that against ``broker.ca_file`` itself, so neither
the web server nor the broker can name another root. What the watching process has once accepted it keeps: from then on a root is
followed by its own heirs alone, by the rules of The Update Framework. Where the fleet has lost the keys of a root there are no
heirs: its authority vouches for another one, of a later generation. Nobody goes back to an earlier one. And it is the same
authority for ever, whatever ``broker.ca_file`` says later: the sending process may write that file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from device import durable
from device.contract_model import ENDORSED, MAX_ENDORSED_BYTES, EndorsedRoot, endorsed_bytes
from device.contract_read import MAX_DEPTH, depth
from device.rollout import RolloutError
from device.settings import Settings

ODD_CERTIFICATE: Final = (  # what cryptography raises for one, beside ValueError and TypeError
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
ADVICE: Final = "run mien-fleet model refresh, copy the repository to the web server, and start the rollout anew"


def installed(settings: Settings) -> bytes | None:
    """The root that a person has put in ``models.root_file``; ``None`` where there is no such file.

    Raises:
        RolloutError: ``no_root``: it cannot be read.
    """
    try:
        return settings.models.root_file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RolloutError("no_root", f"{settings.models.root_file}: cannot be read ({error.strerror})") from None


def for_sending(settings: Settings, metadata: Path, fetch: Callable[[str, int], bytes | None], now: datetime) -> bytes:
    """The root by which the sending process checks what it downloads; it is left for the watching process, too.

    Args:
        settings: Where a root may be installed, and whose word counts otherwise.
        metadata: The folder that is handed over.
        fetch: Gets a file of the repository's metadata, by name, of so many bytes at most; ``None`` when there is none.
        now: UTC.

    Raises:
        RolloutError: ``no_root``: nobody has installed one, and none is endorsed; ``expired``: what is endorsed is so no more. What
            ``fetch`` raises goes through.
        OSError: The folder cannot be written.
    """
    if (root := installed(settings)) is not None:
        return root
    there = _checked(durable.read_regular(metadata / ENDORSED, MAX_ENDORSED_BYTES), settings)  # by the authority of today
    content = fetch(ENDORSED, MAX_ENDORSED_BYTES) or b""
    counts = _followed(there, _checked(content, settings), now)
    if counts is None:
        raise RolloutError("no_root", _why(settings, "the repository"))
    if counts is not there:
        durable.write(metadata / ENDORSED, content)
    return counts.root.encode()


def for_watching(settings: Settings, metadata: Path, now: datetime) -> bytes:
    """The root by which the watching process checks what was staged: installed, kept from the first time, or staged with it.

    What is kept gives way to nothing but a newer word of the same authority, about an heir or about a root of a later generation.

    Raises:
        RolloutError: ``no_root``: there is none that counts, or another authority vouches for what is staged; ``expired``: one is
            staged, but not in time.
        OSError: What was accepted cannot be kept, so it does not count.
    """
    if (root := installed(settings)) is not None:
        return root
    kept = _signed(durable.read(settings.state_folder / ENDORSED, MAX_ENDORSED_BYTES))  # nobody else can write there
    content = durable.read_regular(metadata / ENDORSED, MAX_ENDORSED_BYTES) or b""
    came = _checked(content, settings)
    if kept is not None and came is not None and not _authorities(kept, settings) & _authorities(came, settings):
        raise RolloutError(
            "no_root",
            f"{settings.broker.ca_file} names another authority than the one that this device has followed; if it has moved to "
            f"another fleet, remove {settings.state_folder / ENDORSED}",
        )
    counts = _followed(kept, came, now)
    if counts is None:
        raise RolloutError("no_root", _why(settings, str(metadata)))
    if counts is not kept:
        durable.write(settings.state_folder / ENDORSED, content)
    return counts.root.encode()


def _followed(known: EndorsedRoot | None, came: EndorsedRoot | None, now: datetime) -> EndorsedRoot | None:
    """Which of two words counts: the newer one while it is in time, and never one that is older than what is known."""
    if came is None or (known is not None and came.order <= known.order):
        return known
    if now <= came.expires:
        return came
    if known is not None and known.generation == came.generation:
        return known
    raise RolloutError("expired", f"the authority's word for the root of the models was good until {came.expires}; {ADVICE}")


def _checked(content: bytes | None, settings: Settings) -> EndorsedRoot | None:
    """A word that the authority of ``broker.ca_file`` has signed; else ``None``."""
    said = _signed(content)
    return said if said is not None and _authorities(said, settings) else None


def _signed(content: bytes | None) -> EndorsedRoot | None:
    """A word that its signer has signed, whoever that is; else ``None``."""
    if content is None or len(content) > MAX_ENDORSED_BYTES or depth(content) > MAX_DEPTH:
        return None
    try:
        said = EndorsedRoot.model_validate_json(content)
        signer = x509.load_pem_x509_certificate(said.signer.encode())
        if not signer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return None  # a device's certificate is of this fleet, too
        if said.expires > signer.not_valid_after_utc:
            return None
        key, signed = signer.public_key(), endorsed_bytes(said.root.encode(), said.order)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return None
        key.verify(bytes.fromhex(said.signature), signed, ec.ECDSA(hashes.SHA256()))
    except (ValidationError, ValueError, TypeError, *ODD_CERTIFICATE):
        return None
    return said


def _authorities(said: EndorsedRoot, settings: Settings) -> set[x509.Certificate]:
    """Those in ``broker.ca_file`` that have signed a word, or have issued the certificate of its signer."""
    if settings.broker.ca_file is None:
        return set()
    try:
        signer = x509.load_pem_x509_certificate(said.signer.encode())
        trusted = x509.load_pem_x509_certificates(settings.broker.ca_file.read_bytes())
        return {one for one in trusted if one == signer or _issued(one, signer)}
    except (OSError, ValueError, TypeError, *ODD_CERTIFICATE):
        return set()


def _issued(issuer: x509.Certificate, one: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, *ODD_CERTIFICATE):
        return False
    return True


def _why(settings: Settings, where: str) -> str:
    if settings.broker.ca_file is None:
        return f"{settings.models.root_file} is not there, and without broker.ca_file nobody can vouch for another root; set one"
    return (
        f"{settings.models.root_file} is not there, and {where} has no {ENDORSED} "
        f"that the authority in {settings.broker.ca_file} has signed; {ADVICE}"
    )
