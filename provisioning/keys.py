"""What certificates say, and whose signatures are good."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


def signed_by(chain_pem: str, content: bytes, signature: str) -> bool:
    """Whether the key of the chain's first certificate has signed ``content``.

    Args:
        chain_pem: The chain, PEM.
        content: What is said to be signed.
        signature: ECDSA with SHA-256, DER, hexadecimal digits.
    """
    key = x509.load_pem_x509_certificate(chain_pem.encode()).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(bytes.fromhex(signature), content, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def number_and_end(chain_pem: bytes) -> tuple[str, int]:
    """The first certificate's serial number, hexadecimal, and when it ends, seconds since 1970."""
    certificate = x509.load_pem_x509_certificate(chain_pem)
    return f"{certificate.serial_number:x}", int(certificate.not_valid_after_utc.timestamp())
