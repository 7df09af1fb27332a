"""Certificate signing requests: which keys are certified."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisioning import certificates
from provisioning.authority import Authority
from provisioning.csr import check_csr
from provisioning.errors import AuthorityError
from tests.identities import PASSPHRASE, make_csr

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "fleet", PASSPHRASE)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (rsa.generate_private_key(65537, 1024), "weak-key"),
        (rsa.generate_private_key(65537, 2048), "wrong-key"),
        (ec.generate_private_key(ec.SECP192R1()), "weak-key"),
        (ec.generate_private_key(ec.SECP384R1()), "wrong-key"),
        (ec.generate_private_key(ec.SECP256K1()), "wrong-key"),
    ],
    ids=["RSA 1024", "RSA 2048", "P-192", "P-384", "secp256k1"],
)
def test_a_csr_with_another_key_than_p256_is_refused(
    authority: Authority, key: CertificateIssuerPrivateKeyTypes, code: str
) -> None:
    with pytest.raises(AuthorityError, match="expected a PKCS#10 request in PEM for an EC P-256 key") as caught:
        authority.issue_device(make_csr("shelf-7", key), device="shelf-7", setting="retail", jurisdiction="EU")
    assert caught.value.code == code


def test_a_csr_with_an_edwards_key_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    csr = x509.CertificateSigningRequestBuilder().subject_name(certificates.common_name("shelf-7")).sign(key, None)

    with pytest.raises(AuthorityError) as caught:
        check_csr(csr.public_bytes(Encoding.PEM))
    assert caught.value.code == "wrong-key"


def test_a_csr_that_is_not_signed_with_its_own_key_is_refused() -> None:
    own, other = (key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for key in (KEY, OTHER))
    der = x509.load_pem_x509_csr(make_csr("shelf-7", KEY)).public_bytes(Encoding.DER).replace(own, other)
    forged = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)

    with pytest.raises(AuthorityError, match="not signed with its own key") as caught:
        check_csr(forged)
    assert caught.value.code == "bad-signature"


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"\xff\xfe",
        b"nothing",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        make_csr("shelf-7", KEY)[:200],
        make_csr("shelf-7", KEY) + b"x" * 4096,
    ],
    ids=["empty", "not ASCII", "not PEM", "not DER", "cut", "too long"],
)
def test_what_is_no_csr_is_refused(csr: bytes) -> None:
    with pytest.raises(AuthorityError) as caught:
        check_csr(csr)
    assert caught.value.code == "bad-csr"


def test_a_csr_that_passes_tells_its_key_and_name() -> None:
    info = check_csr(make_csr("SN-0001", KEY))

    assert info.common_name == "SN-0001"
    assert len(info.sha256) == 64
    assert info.pem.startswith(b"-----BEGIN PUBLIC KEY-----")
