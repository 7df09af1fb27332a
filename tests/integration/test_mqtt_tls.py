"""TLS, identities and passwords."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device.errors import BrokerError
from device.publishers import Message
from device.publishers.mqtt import MqttPublisher, open_publisher
from device.settings import BrokerSettings
from tests.build import Device
from tests.conftest import Mosquitto, Process, wait_for
from tests.integration.conftest import answering, why_not

Mien = Callable[..., Process]
Start = Callable[..., Mosquitto]


class Authority:
    """A certificate authority of our own, with a certificate for a broker and one for a device.

    Attributes:
        hours: From when to when what it signs is valid, counted from now.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.hours = folder, (-1, 1)
        folder.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.ca = self._write("ca", self._sign(self._name, self._key.public_key(), ca=True), None)

    def issue(self, name: str, host: str | None = None) -> Path:
        """A certificate, ``name.pem``; its key is ``name.key`` beside it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(name, self._sign(subject, key.public_key(), host=host), key)

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool = False, host: str | None = None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.timezone.utc)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now + dt.timedelta(hours=self.hours[0]),
            not_valid_after=now + dt.timedelta(hours=self.hours[1]),
        ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(key)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(issuer, critical=False)
        if ca:
            usage = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign"), True) | dict.fromkeys(
                ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
                False,
            )
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        if host:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None) -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key is not None:
            write_key(path.with_suffix(".key"), key, serialization.NoEncryption())
        return path


def write_key(path: Path, key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> Path:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def tls(authority: Authority, host: str = "127.0.0.1", *, mutual: bool = False) -> str:
    """Configuration of a broker that speaks TLS."""
    broker = authority.issue("broker", host)
    lines = [f"certfile {broker}", f"keyfile {broker.with_suffix('.key')}"]
    if mutual:
        lines += [f"cafile {authority.ca}", "require_certificate true", "use_identity_as_username true"]
    return "\n".join(lines) + "\n"


def test_reports_go_through_tls_with_a_certificate_of_the_device(
    device: Device, authority: Authority, start_mosquitto: Start, mien: Mien
) -> None:
    broker = start_mosquitto(tls(authority, mutual=True))
    own = authority.issue("shelf-7")
    identity = f'ca_file = "{authority.ca}"\ncertificate_file = "{own}"\nkey_file = "{own.with_suffix(".key")}"'
    device.write(f"mqtts://127.0.0.1:{broker.port}", identity).put(30)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0, send.complaints
    assert device.held("new") == 0
    assert "u'shelf-7'" in (device.folder / "mosquitto.log").read_text()


def test_an_authority_that_is_not_ours_is_refused_by_one_clear_line(
    device: Device, authority: Authority, start_mosquitto: Start, mien: Mien, tmp_path: Path
) -> None:
    broker = start_mosquitto(tls(authority))
    stranger = Authority(tmp_path / "stranger")
    device.write(f"mqtts://127.0.0.1:{broker.port}", f'ca_file = "{stranger.ca}"', 'log_level = "debug"').put(2)

    send = mien("send", "--settings", device.settings)
    wait_for(lambda: send.events("debug"), why="a further attempt")

    (line,) = send.events("warning")
    assert "the broker's certificate is not to be trusted" in line
    assert "check ca_file and the url" in line
    assert device.held("new") == 2
    assert "New client connected" not in (tmp_path / "mosquitto.log").read_text()


def test_a_certificate_for_another_host_is_refused(
    authority: Authority, start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    broker = start_mosquitto(tls(authority, host="127.0.0.2"))

    reason = why_not(connect(f"mqtts://127.0.0.1:{broker.port}", ca_file=authority.ca))

    assert "the broker's certificate is not to be trusted (IP address mismatch" in reason


def test_a_broker_that_wants_a_certificate_says_so_in_the_line(
    authority: Authority, start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    broker = start_mosquitto(tls(authority, mutual=True))

    reason = why_not(connect(f"mqtts://127.0.0.1:{broker.port}", ca_file=authority.ca))

    assert "certificate" in reason


def test_a_broker_without_tls_gets_nothing_in_the_clear(authority: Authority, connect: Callable[..., MqttPublisher]) -> None:
    with answering(b"\x20\x03\x00\x00\x00") as (address, heard):
        publisher = connect(f"mqtts://{address}", ca_file=authority.ca, username="shelf-7")

        assert "does the broker speak TLS on this port?" in why_not(publisher)
        wait_for(lambda: len(heard) >= 2, why="another attempt")

    for sent in heard:
        assert sent[:2] == b"\x16\x03"  # a TLS handshake
        assert b"MQTT" not in sent
        assert b"shelf-7" not in sent


def test_a_broker_with_tls_where_the_url_says_none_is_one_clear_line(
    authority: Authority, start_mosquitto: Start, connect: Callable[..., MqttPublisher]
) -> None:
    broker = start_mosquitto(tls(authority))

    assert "without TLS as the url says" in why_not(connect(broker.url))


@pytest.mark.parametrize("wrong", ["missing", "not PEM", "the key of somebody else", "encrypted key", "missing key"])
def test_an_identity_that_cannot_be_used_is_refused_at_once_with_its_file(authority: Authority, wrong: str) -> None:
    own, other = authority.issue("shelf-7"), authority.issue("shelf-8")
    key = own.with_suffix(".key")
    match wrong:
        case "missing":
            own.unlink()
        case "not PEM":
            own.write_text("nothing")
        case "the key of somebody else":
            key = other.with_suffix(".key")
        case "encrypted key":
            secret = serialization.BestAvailableEncryption(b"secret")
            write_key(key, ec.generate_private_key(ec.SECP256R1()), secret)
        case "missing key":
            key.unlink()
    settings = BrokerSettings(url="mqtts://127.0.0.1:1", ca_file=authority.ca, certificate_file=own, key_file=key)

    with pytest.raises(BrokerError, match=r"shelf-7\.pem: cannot be used for TLS \(.+\); expected PEM, and its own key"):
        open_publisher(settings, "shelf-7", (), Message("will", b""))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_password_that_cannot_be_read_is_refused_at_once(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    settings = BrokerSettings(username="shelf-7", password_file=file)

    with pytest.raises(BrokerError, match=r"password.*expected it on the first line"):
        open_publisher(settings, "shelf-7", (), Message("will", b""))


def test_tls_is_at_least_version_1_2(authority: Authority, connect: Callable[..., MqttPublisher]) -> None:
    publisher = connect("mqtts://127.0.0.1:1", ca_file=authority.ca)

    assert publisher._tls is not None
    assert publisher._tls.minimum_version == ssl.TLSVersion.TLSv1_2
    assert publisher._tls.verify_mode == ssl.CERT_REQUIRED
    assert publisher._tls.check_hostname
