"""The certificate authority: what it issues and what it refuses. openssl must agree."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning import certificates
from provisioning.authority import Authority, utc_now
from provisioning.errors import AuthorityError
from tests.identities import PASSPHRASE, claim, device, make_csr, openssl_verify, store

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "fleet", PASSPHRASE)


def later(days: float) -> Callable[[], dt.datetime]:
    return lambda: utc_now() + days * certificates.DAY


def first(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain)[0]


@needs_openssl
def test_openssl_agrees_about_devices_claims_broker_and_service(authority: Authority, tmp_path: Path) -> None:
    host = store(tmp_path, "broker", *authority.issue_broker("broker.example"))
    clients = [
        device(authority, tmp_path, "shelf-7"),
        claim(authority, tmp_path, "berlin"),
        store(tmp_path, "s", *authority.issue_service()),
    ]

    for client in clients:
        assert openssl_verify(authority, tmp_path, client, "-purpose", "sslclient").endswith(": OK")
        assert "unsuitable certificate purpose" in openssl_verify(authority, tmp_path, client, "-purpose", "sslserver")
    assert openssl_verify(authority, tmp_path, host, "-purpose", "sslserver", "-verify_hostname", "broker.example").endswith(": OK")
    assert "hostname mismatch" in openssl_verify(authority, tmp_path, host, "-verify_hostname", "other.example")
    assert "unsuitable certificate purpose" in openssl_verify(authority, tmp_path, host, "-purpose", "sslclient")


@needs_openssl
def test_openssl_agrees_that_a_device_cannot_be_an_authority(authority: Authority, tmp_path: Path) -> None:
    chain = authority.issue_device(make_csr("shelf-7", KEY), device="shelf-7", setting="retail", jurisdiction="EU")
    forged = certificates.sign(certificates.claim("berlin", 1), KEY.public_key(), first(chain), KEY, utc_now())
    identity = store(tmp_path, "forged", b"", forged.public_bytes(Encoding.PEM))

    said = openssl_verify(authority, tmp_path, identity, "-partial_chain", chain=chain + authority.bundle_pem)

    assert "error" in said
    assert "OK" not in said


@needs_openssl
def test_openssl_shows_setting_and_jurisdiction(authority: Authority, tmp_path: Path) -> None:
    identity = device(authority, tmp_path, "shelf-7")
    command = ["openssl", "x509", "-in", str(identity.certificate), "-noout", "-subject", "-ext", "subjectAltName"]

    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert "CN = shelf-7" in said
    assert "URI:urn:mien:setting:retail, URI:urn:mien:jurisdiction:EU" in said


def test_a_device_certificate_says_who_where_and_for_how_long(authority: Authority) -> None:
    chain = authority.issue_device(make_csr("a serial", KEY), device="shelf-7", setting="retail", jurisdiction="EU", days=90)

    own, issuing = x509.load_pem_x509_certificates(chain)
    assert own.subject.rfc4514_string() == "CN=shelf-7"
    assert own.public_key() == KEY.public_key()
    assert certificates.terms(own) == {"setting": "retail", "jurisdiction": "EU"}
    assert dt.timedelta(days=89.9) < own.not_valid_after_utc - utc_now() <= dt.timedelta(days=90)
    assert own.not_valid_before_utc <= utc_now() - dt.timedelta(days=6.9)
    usage = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    own.verify_directly_issued_by(issuing)


def test_a_claims_common_name_is_the_prefix_of_its_topics(authority: Authority) -> None:
    _, chain = authority.issue_claim("berlin-2026", 0.01)

    assert first(chain).subject.rfc4514_string() == "CN=mien-enroll/v1/berlin-2026"
    assert certificates.terms(first(chain)) == {"batch": "berlin-2026"}
    assert first(chain).not_valid_after_utc - utc_now() < dt.timedelta(minutes=15)


def test_authorities_are_limited_in_what_they_may_sign(authority: Authority) -> None:
    issuing, root = x509.load_pem_x509_certificates(authority.bundle_pem)

    assert [one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length for one in (root, issuing)] == [1, 0]
    for one in (root, issuing):
        usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert (root.not_valid_after_utc - utc_now()).days in range(7300, 7310)
    assert (issuing.not_valid_after_utc - utc_now()).days in range(1820, 1830)


def test_a_certificate_never_outlives_its_issuer(tmp_path: Path) -> None:
    Authority.create(tmp_path, PASSPHRASE)
    near_the_end = Authority.open(tmp_path, PASSPHRASE, later(1826 - 10))

    chain = near_the_end.issue_claim("berlin", 30)[1]

    own, issuing = x509.load_pem_x509_certificates(chain)
    assert own.not_valid_after_utc == issuing.not_valid_after_utc


def test_an_authority_that_has_ended_issues_nothing_and_says_so(tmp_path: Path) -> None:
    Authority.create(tmp_path, PASSPHRASE)
    ended = Authority.open(tmp_path, PASSPHRASE, later(1827))

    with pytest.raises(AuthorityError, match="CN=mien issuing has ended on") as caught:
        ended.issue_service()
    assert caught.value.code == "expired"


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "ä", "x" * 65, "mien-fleet", "mien-enroll", "mien", "-a", "a\n"])
def test_a_name_that_would_mean_something_else_to_a_broker_is_no_device(authority: Authority, name: str) -> None:
    with pytest.raises(AuthorityError) as caught:
        authority.issue_device(make_csr("x", KEY), device=name, setting="retail", jurisdiction="EU")
    assert caught.value.code == "bad-name"


@pytest.mark.parametrize("batch", ["", "a/b", "+", "#", "x" * 41, "mien-enroll", "m0123456789abcde", "a\n"])
def test_a_name_that_would_mean_something_else_to_a_broker_is_no_batch(authority: Authority, batch: str) -> None:
    with pytest.raises(AuthorityError) as caught:
        authority.issue_claim(batch, 1)
    assert caught.value.code == "bad-name"


@pytest.mark.parametrize(("setting", "jurisdiction"), [("", "EU"), ("re:tail", "EU"), ("retail", "E U"), ("retail", "x" * 33)])
def test_a_setting_that_no_uri_can_hold_is_refused(authority: Authority, setting: str, jurisdiction: str) -> None:
    with pytest.raises(AuthorityError) as caught:
        authority.issue_device(make_csr("x", KEY), device="shelf-7", setting=setting, jurisdiction=jurisdiction)
    assert caught.value.code == "bad-name"


@pytest.mark.parametrize("days", [0, -1, 1e6, float("nan")])
def test_a_life_that_is_none_is_refused(authority: Authority, days: float) -> None:
    with pytest.raises(AuthorityError) as caught:
        authority.issue_claim("berlin", days)
    assert caught.value.code == "bad-validity"


def test_the_root_key_is_encrypted_and_needed_by_nothing_daily(tmp_path: Path) -> None:
    Authority.create(tmp_path, PASSPHRASE)
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / "root" / "root.key").read_bytes()

    shutil.rmtree(tmp_path / "root")

    assert Authority.open(tmp_path, PASSPHRASE).issue_claim("berlin", 1)


def test_a_wrong_passphrase_is_one_clear_line(tmp_path: Path) -> None:
    Authority.create(tmp_path, PASSPHRASE)

    with pytest.raises(AuthorityError, match=r"issuing\.key: the passphrase does not open it") as caught:
        Authority.open(tmp_path, b"another passphrase")
    assert caught.value.code == "passphrase"
