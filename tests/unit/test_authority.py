"""The certificate authority: what it issues, what it refuses, what it revokes. openssl must agree."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning import certificates
from provisioning import fleet as fleets
from provisioning.authority import CRL_DAYS, CRL_RENEW_DAYS, Authority, crl_days_left, utc_now
from provisioning.cli import main
from provisioning.csr import check_csr
from provisioning.errors import AuthorityError, BrokerError
from provisioning.mosquitto import Size, answers, configuration
from provisioning.trial import program
from tests.identities import PASSPHRASE, Identity, claim, device, make_csr, store

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "fleet", PASSPHRASE)


def later(days: float) -> Callable[[], dt.datetime]:
    return lambda: utc_now() + days * certificates.DAY


def first(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain)[0]


def revoked(crl: bytes) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl(crl)}


def openssl_verify(authority: Authority, folder: Path, identity: Identity, *words: str, chain: bytes | None = None) -> str:
    """What ``openssl verify`` says with the root as the only anchor and both lists."""
    (folder / "ca.pem").write_bytes(authority.ca_pem)
    (folder / "chain.pem").write_bytes(chain or authority.bundle_pem)
    (folder / "crl.pem").write_bytes(authority.crl())
    files = ["-CAfile", f"{folder}/ca.pem", "-untrusted", f"{folder}/chain.pem", "-CRLfile", f"{folder}/crl.pem", "-crl_check_all"]
    command = ["openssl", "verify", "-x509_strict", *files, *words, str(identity.certificate)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


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
def test_openssl_agrees_that_a_revoked_certificate_is_revoked(authority: Authority, tmp_path: Path) -> None:
    gone, other = device(authority, tmp_path, "shelf-7"), device(authority, tmp_path, "shelf-8")

    authority.revoke(gone.serial)

    assert "certificate revoked" in openssl_verify(authority, tmp_path, gone)
    assert openssl_verify(authority, tmp_path, other).endswith(": OK")


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


def test_revocations_add_up_over_processes_and_stay(tmp_path: Path) -> None:
    Authority.create(tmp_path, PASSPHRASE).revoke(11)
    Authority.open(tmp_path, PASSPHRASE).revoke(12)
    Authority.open(tmp_path, PASSPHRASE).revoke(12)

    assert revoked(Authority.open(tmp_path, PASSPHRASE).crl()) == {11, 12}


def test_each_list_is_later_than_the_one_before_even_within_a_second(authority: Authority) -> None:
    lists = [x509.load_pem_x509_crl(authority.renew_crl()) for _ in range(4)]

    times = [one.last_update_utc for one in lists]
    assert times == sorted(set(times))
    numbers = [one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for one in lists]
    assert numbers == sorted(set(numbers))


def test_a_list_is_never_one_that_is_yet_to_come_however_many_were_made(tmp_path: Path) -> None:
    now = utc_now()
    authority = Authority.create(tmp_path, PASSPHRASE, lambda: now)
    state = json.loads((tmp_path / "authority" / "crl.json").read_text())
    (tmp_path / "authority" / "crl.json").write_text(json.dumps({**state, "last_update": now.isoformat()}))

    authority.revoke_many(dict.fromkeys(range(1, 100)))

    made = x509.load_pem_x509_crl(authority.crl())
    assert made.last_update_utc == now
    assert len(list(made)) == 99


def test_a_certificate_that_has_ended_leaves_the_list(tmp_path: Path) -> None:
    made = Authority.create(tmp_path, PASSPHRASE)
    made.revoke(11, until=utc_now() + dt.timedelta(days=5))
    made.revoke(12)

    assert revoked(Authority.open(tmp_path, PASSPHRASE, later(4)).renew_crl()) == {11, 12}
    assert revoked(Authority.open(tmp_path, PASSPHRASE, later(6)).renew_crl()) == {12}


def test_the_list_renews_itself_before_it_ends(tmp_path: Path) -> None:
    original = Authority.create(tmp_path, PASSPHRASE).crl()

    assert Authority.open(tmp_path, PASSPHRASE, later(CRL_DAYS - CRL_RENEW_DAYS - 1)).crl() == original
    renewed = Authority.open(tmp_path, PASSPHRASE, later(CRL_DAYS - CRL_RENEW_DAYS + 1)).crl()
    assert renewed != original
    assert crl_days_left(renewed, later(CRL_DAYS - CRL_RENEW_DAYS + 1)()) > CRL_DAYS - 1


def test_a_damaged_memory_of_revocations_stops_everything(tmp_path: Path) -> None:
    made = Authority.create(tmp_path, PASSPHRASE)
    (tmp_path / "authority" / "crl.json").write_text("{}")

    with pytest.raises(AuthorityError, match=r"crl\.json: not what mien-fleet wrote; restore it from a backup"):
        made.revoke(11)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(PASSPHRASE + b"\n")
    return path


def test_init_makes_everything_with_keys_for_their_owner_alone(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "fleet"

    said = run("init", folder, "--broker", "mqtts://broker.example", "--passphrase-file", secret)

    assert said.exit_code == 0, said.output
    assert f"mien-fleet broker {folder}" in said.output
    modes = {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert {name: mode for name, mode in modes.items() if name.endswith(".key")} == dict.fromkeys(
        ("root/root.key", "authority/issuing.key", "broker/broker.key", "service/mien-fleet.key"), 0o600
    )
    assert {modes[name] for name in ("root", "authority", "broker", "service", "claims")} == {0o700}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "listener 8883\n" in (folder / "broker" / "mosquitto.conf").read_text()
    assert not [path for path in tmp_path.iterdir() if path.name not in {"fleet", "passphrase"}]


def test_init_overwrites_nothing(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "something").touch()

    said = run("init", tmp_path / "fleet", "--broker", "mqtts://broker.example", "--passphrase-file", secret)

    assert said.exit_code == 2
    assert "init overwrites nothing" in said.output
    assert [path.name for path in (tmp_path / "fleet").iterdir()] == ["something"]


@pytest.mark.parametrize(
    "url", ["mqtt://host:8883", "host:8883", "mqtts://", "mqtts://host:x", "mqtts://a@host", "mqtts://host/x", "mqtts://a b"]
)
def test_init_wants_the_url_of_a_broker_with_tls(tmp_path: Path, secret: Path, url: str) -> None:
    said = run("init", tmp_path / "fleet", "--broker", url, "--passphrase-file", secret)

    assert said.exit_code in {2, 65}
    assert "mqtts://host:8883" in said.output
    assert not (tmp_path / "fleet").exists()


def test_a_passphrase_comes_from_a_file_that_its_owner_alone_may_read(tmp_path: Path, secret: Path) -> None:
    secret.chmod(0o644)

    said = run("init", tmp_path / "fleet", "--broker", "mqtts://host", "--passphrase-file", secret)

    assert said.exit_code == 2
    assert f"run chmod 600 {secret}" in said.output


def test_a_passphrase_that_is_short_or_missing_is_refused_with_the_way_to_make_one(tmp_path: Path, secret: Path) -> None:
    secret.write_text("short\n")

    for words in (("--passphrase-file", secret), ("--passphrase-file", tmp_path / "none"), ()):
        said = run("init", tmp_path / "fleet", "--broker", "mqtts://host", *words)
        assert said.exit_code == 2
        assert "openssl rand -base64 24" in said.output


def test_a_passphrase_comes_from_systemds_credentials(tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret.rename(tmp_path / "mien-fleet-passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert run("init", tmp_path / "fleet", "--broker", "mqtts://host").exit_code == 0


def test_renewing_changes_certificates_and_sizes_but_no_identity(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "fleet"
    run("init", folder, "--broker", "mqtts://host:1883", "--passphrase-file", secret)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    said = run("renew", folder, "--fleet", "1000", "--passphrase-file", secret)

    assert said.exit_code == 0, said.output
    changed = {path.relative_to(folder).as_posix() for path, content in before.items() if path.read_bytes() != content}
    assert changed >= {
        "broker/broker.pem",
        "broker/broker.key",
        "broker/crl.pem",
        "service/mien-fleet.pem",
        "broker/mosquitto.conf",
    }
    assert not changed & {
        "ca.pem",
        "root/root.key",
        "authority/issuing.key",
        "authority/issuing.pem",
        "broker/clients.pem",
        "broker/acl",
    }
    assert "max_queued_messages 1680000\n" in (folder / "broker" / "mosquitto.conf").read_text()


def test_what_ends_soon_is_said_with_what_to_do(tmp_path: Path) -> None:
    fleet = fleets.init(tmp_path / "fleet", "mqtts://host", Size(10, 1), PASSPHRASE)

    assert fleets.ending(fleet) == []
    said = fleets.ending(fleet, later(330))
    assert [line.partition(":")[0] for line in said] == [
        "the broker's certificate ends in 35 days",
        "the service's certificate ends in 35 days",
    ]


def test_a_missing_mosquitto_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="mosquitto is not installed; on Debian or Raspberry Pi OS: sudo apt install mosquitto"):
        program(str(tmp_path))


def test_every_option_of_the_brokers_configuration_has_its_reason() -> None:
    lines = configuration(Size(10, 1)).splitlines()

    explained = False
    for line in lines:
        explained = bool(line) and (line.startswith("#") or explained)
        assert explained or not line, line
    options = [line.split()[0] for line in lines if line and not line.startswith(("#", "log_type"))]
    assert len(options) == len(set(options))


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (b'{"responses": [{"command": "disableClient", "correlationData": "me"}]}', []),
        (b'{"responses": [{"command": "createClient", "error": "Client already exists", "correlationData": "me"}]}', []),
        (
            b'{"responses": [{"command": "createClient", "error": "Role not found", "correlationData": "me"}]}',
            ["createClient: Role not found"],
        ),
        (b'{"responses": [{"command": "disableClient", "correlationData": "you"}]}', None),
        (b'{"responses": "nothing"}', None),
        (b"nothing", None),
        (b"[" * 100_000, None),
    ],
)
def test_answers_of_dynamic_security_are_read_with_care(payload: bytes, wrong: list[str] | None) -> None:
    assert answers(payload, "me") == wrong
