"""Certificate signing requests: which keys are taken. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from provisioning.errors import AuthorityError

MAX_CSR_BYTES: Final = 4096  # no message is larger


@dataclass(frozen=True, slots=True)
class PublicKeyInfo:
    """The key in a CSR that has passed.

    Attributes:
        sha256: 64 hexadecimal digits over the DER of the SubjectPublicKeyInfo.
        pem: The public key.
        common_name: What the CSR asks to be called (the serial of the box); ``None`` when it asks for nothing.
    """

    sha256: str
    pem: bytes
    common_name: str | None


def check_csr(csr_pem: bytes) -> PublicKeyInfo:
    """Check a CSR: PEM, signed with its own key, EC P-256 (what TPMs and secure elements hold).

    Raises:
        AuthorityError: ``bad-csr``, ``bad-signature``, ``weak-key``, ``wrong-key``.
    """
    return checked(csr_pem)[0]


def checked(csr_pem: bytes) -> tuple[PublicKeyInfo, ec.EllipticCurvePublicKey]:
    """``check_csr``, with the key itself."""
    expected = "expected a PKCS#10 request in PEM for an EC P-256 key, as openssl req -new makes"
    if len(csr_pem) > MAX_CSR_BYTES:
        raise AuthorityError("bad-csr", f"a CSR of {len(csr_pem)} bytes; expected {MAX_CSR_BYTES} at most")
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        key = csr.public_key()
        names = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise AuthorityError("bad-csr", f"the CSR cannot be read; {expected}") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        raise AuthorityError("weak-key", f"the CSR's key is RSA with {key.key_size} bits; {expected}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < 256:
        raise AuthorityError("weak-key", f"the CSR's key is on the curve {key.curve.name}; {expected}")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError("wrong-key", f"the CSR's key is of another kind; {expected}")
    try:
        signed = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):
        signed = False
    if not signed:
        raise AuthorityError("bad-signature", "the CSR is not signed with its own key: whoever sent it may not hold that key")
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, public)
    name = str(names[0].value) if names else None
    return PublicKeyInfo(hashlib.sha256(der).hexdigest(), key.public_bytes(serialization.Encoding.PEM, public), name), key
