"""A claim as a QR code: on a terminal, or as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import segno
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.contract_claim import KEY_BYTES, ClaimCode, pack
from provisioning import files
from provisioning.errors import WordsError

PICTURES: Final = (".png", ".svg")
SCALE: Final = 8  # pixels or units for each module
BORDER: Final = 4  # modules of white around it, as ISO/IEC 18004 wants


def claim_code(key_pem: bytes, chain_pem: bytes, root_pem: bytes, serial: str | None) -> segno.QRCode:
    """The code of a claim: its key, its certificate, the root, and the serial that it is for.

    Level M of error correction: of the versions that it leads to, OpenCV's detectors read this one from most angles.
    """
    key = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes(KEY_BYTES, "big")
    der = serialization.Encoding.DER
    certificate, root = (x509.load_pem_x509_certificate(pem).public_bytes(der) for pem in (chain_pem, root_pem))
    return segno.make_qr(pack(ClaimCode(number, certificate, root, serial)), error="m", boost_error=False)


def on_terminal(code: segno.QRCode) -> str:
    """Two rows of modules in one line of text, dark on light whatever the terminal's colours are."""
    text = io.StringIO()
    code.terminal(text, border=BORDER, compact=True)
    return text.getvalue()


def picture(code: segno.QRCode, path: Path) -> None:
    """Write it as PNG or SVG, for its owner alone: whoever has it has the claim.

    Raises:
        WordsError: The name ends otherwise.
        FilesError: It cannot be written.
    """
    if path.suffix not in PICTURES:
        raise WordsError(f"{path}: expected a name that ends in {' or '.join(PICTURES)}")
    content = io.BytesIO()
    code.save(content, kind=path.suffix[1:], scale=SCALE, border=BORDER, dark="black", light="white")
    files.write(path, content.getvalue())
