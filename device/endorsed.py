"""Whom to trust with models, where nobody has installed it by hand: the root that the fleet's own authority has signed.

The repository of models carries ``metadata/models-root.json`` (``contract_model.EndorsedRoot``): root metadata, signed by the
authority that issued this device's certificate. Each of the two processes checks that against ``broker.ca_file`` itself, so neither
the web server nor the broker nor the other process can name another root. What the watching process has once accepted it keeps:
from then on a root is followed by its own heirs alone, by the rules of The Update Framework.
"""

from __future__ import annotations

from collections.abc import Callable
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


def for_sending(settings: Settings, metadata: Path, fetch: Callable[[str, int], bytes | None]) -> bytes:
    """The root by which the sending process checks what it downloads; it is left for the watching process, too.

    Args:
        settings: Where a root may be installed, and whose word counts otherwise.
        metadata: The folder that is handed over.
        fetch: Gets a file of the repository's metadata, by name, of so many bytes at most; ``None`` when there is none.

    Raises:
        RolloutError: ``no_root``: nobody has installed one, and none is endorsed. What ``fetch`` raises goes through.
        OSError: The folder cannot be written.
    """
    if (root := installed(settings)) is not None:
        return root
    there = durable.read_regular(metadata / ENDORSED, MAX_ENDORSED_BYTES)
    if there is not None and (root := _checked(there, settings)) is not None:
        return root
    came = fetch(ENDORSED, MAX_ENDORSED_BYTES)
    if came is None or (root := _checked(came, settings)) is None:
        raise RolloutError("no_root", _why(settings, "the repository"))
    durable.write(metadata / ENDORSED, came)
    return root


def for_watching(settings: Settings, metadata: Path) -> bytes:
    """The root by which the watching process checks what was staged: installed, kept from the first time, or staged with it.

    Raises:
        RolloutError: ``no_root``: there is none that counts.
        OSError: What was accepted cannot be kept, so it does not count.
    """
    if (root := installed(settings)) is not None:
        return root
    kept = settings.state_folder / ENDORSED
    if root := durable.read(kept, MAX_ENDORSED_BYTES):
        return root
    staged = durable.read_regular(metadata / ENDORSED, MAX_ENDORSED_BYTES)
    if staged is None or (root := _checked(staged, settings)) is None:
        raise RolloutError("no_root", _why(settings, str(metadata)))
    durable.write(kept, root)
    return root


def _checked(content: bytes, settings: Settings) -> bytes | None:
    """The root in it, where the authority of ``broker.ca_file`` has signed it; else ``None``."""
    if len(content) > MAX_ENDORSED_BYTES or depth(content) > MAX_DEPTH or settings.broker.ca_file is None:
        return None
    try:
        said = EndorsedRoot.model_validate_json(content)
        trusted = x509.load_pem_x509_certificates(settings.broker.ca_file.read_bytes())
        signer = x509.load_pem_x509_certificate(said.signer.encode())
        if not signer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return None  # a device's certificate is of this fleet, too
        if signer not in trusted:
            signer.verify_directly_issued_by(next(one for one in trusted if one.subject == signer.issuer))
        key, root = signer.public_key(), said.root.encode()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return None
        key.verify(bytes.fromhex(said.signature), endorsed_bytes(root), ec.ECDSA(hashes.SHA256()))
    except (ValidationError, OSError, ValueError, TypeError, StopIteration, *ODD_CERTIFICATE):
        return None
    return root


def _why(settings: Settings, where: str) -> str:
    if settings.broker.ca_file is None:
        return f"{settings.models.root_file} is not there, and without broker.ca_file nobody can vouch for another root; set one"
    return (
        f"{settings.models.root_file} is not there, and {where} has no {ENDORSED} "
        f"that the authority in {settings.broker.ca_file} has signed; {ADVICE}"
    )
