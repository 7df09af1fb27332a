"""Certificates of a fleet of our own, and real MQTT 5 clients that use them."""

from __future__ import annotations

import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from provisioning.authority import Authority
from provisioning.certificates import common_name
from tests.conftest import wait_for

PASSPHRASE = b"only for this test"


def make_csr(name: str, key: CertificateIssuerPrivateKeyTypes) -> bytes:
    csr = x509.CertificateSigningRequestBuilder().subject_name(common_name(name)).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Identity:
    """Files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number


def store(folder: Path, name: str, key: bytes, chain: bytes) -> Identity:
    identity = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    identity.certificate.write_bytes(chain)
    identity.key.write_bytes(key)
    return identity


def device(authority: Authority, folder: Path, name: str) -> Identity:
    """An enrolled device."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = authority.issue_device(make_csr(name, key), device=name, setting="retail", jurisdiction="EU")
    plain = serialization.NoEncryption()
    return store(folder, name, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain), chain)


def claim(authority: Authority, folder: Path, batch: str) -> Identity:
    return store(folder, batch, *authority.issue_claim(batch, 30))


def openssl_verify(authority: Authority, folder: Path, identity: Identity, *words: str, chain: bytes | None = None) -> str:
    """What ``openssl verify`` says with the root as the only anchor and both lists."""
    (folder / "ca.pem").write_bytes(authority.ca_pem)
    (folder / "chain.pem").write_bytes(chain or authority.bundle_pem)
    (folder / "crl.pem").write_bytes(authority.crl())
    files = ["-CAfile", f"{folder}/ca.pem", "-untrusted", f"{folder}/chain.pem", "-CRLfile", f"{folder}/crl.pem", "-crl_check_all"]
    command = ["openssl", "verify", "-x509_strict", *files, *words, str(identity.certificate)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


class Client:
    """A real client, MQTT 5, over mutual TLS; ``with Client(...) as client`` is connected.

    Attributes:
        received: Topic and payload of each message.
    """

    def __init__(
        self,
        ca: Path,
        port: int,
        identity: Identity | None,
        *,
        name: str = "",
        username: str | None = None,
        will: str | None = None,
        session: int = 0,
    ) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.ended = threading.Event()
        self.refused: str | None = None
        self._port, self._session = port, session
        self._connected, self.codes, self._granted = threading.Event(), dict[int, Any](), dict[int, Any]()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5, reconnect_on_failure=False)
        context = ssl.create_default_context(cafile=str(ca))
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        self._client.tls_set_context(context)
        if username is not None:
            self._client.username_pw_set(username, "x")
        if will is not None:
            self._client.will_set(will, b"will", qos=1)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = lambda *_: self.ended.set()
        self._client.on_message = lambda _c, _d, message: self.received.append((message.topic, bytes(message.payload)))
        self._client.on_publish = lambda _c, _d, mid, code, _p: self.codes.__setitem__(mid, code)
        self._client.on_subscribe = lambda _c, _d, mid, codes, _p: self._granted.__setitem__(mid, codes)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self.refused = str(code) if code.is_failure else None
        self._connected.set()

    def open(self) -> bool:
        """Connect; false when the broker refuses, in TLS or in MQTT."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session
        try:
            self._client.connect("localhost", self._port, clean_start=not self._session, properties=properties)
        except OSError:
            return False
        self._client.loop_start()
        wait_for(lambda: self._connected.is_set() or self.ended.is_set(), why="CONNACK")
        return self._connected.is_set() and self.refused is None

    def __enter__(self) -> Client:
        assert self.open(), f"refused: {self.refused}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def vanish(self) -> None:
        """End without goodbye, so that the broker tells the last will."""
        self._client.loop_stop()
        socket = self._client.socket()
        assert socket is not None
        socket.close()

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publish without waiting; the answer will be in ``codes`` under the number returned."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish and wait; false when the broker has refused it."""
        mid = self.send(topic, payload, retain=retain)
        wait_for(lambda: mid in self.codes or self.ended.is_set(), why=f"PUBACK for {topic}")
        return mid in self.codes and not self.codes[mid].is_failure

    def subscribe(self, *filters: str) -> None:
        """Subscribe and wait; what the broker says about it does not matter."""
        for one in filters:
            _, mid = self._client.subscribe(one, options=SubscribeOptions(qos=1))
            assert mid is not None
            wait_for(lambda mid=mid: mid in self._granted or self.ended.is_set(), why=f"SUBACK for {one}")  # type: ignore[misc]
