"""A fleet manager's side for tests: a registry in a file, an authority, and boxes that speak the contract by hand."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device.contract import topic
from device.contract_enroll import Step, enroll_topic, signed_bytes
from provisioning import manage
from provisioning.authority import Authority
from provisioning.intake import Intake
from provisioning.registry import Registry
from provisioning.renewal import Renewals
from tests import registries

PASSPHRASE = b"correct horse battery"
HOUR = 3600
START = int(time.time())


@dataclass
class Clock:
    """A clock that a test sets."""

    at: float = START

    def __call__(self) -> float:
        return self.at


def key_id(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


def csr_pem(key: Any, serial: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@dataclass
class Box:
    """A box that says what a test wants, right or wrong."""

    serial: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    hardware: str | None = None
    nonces: int = 0

    @property
    def id(self) -> str:
        return key_id(self.key)

    def nonce(self) -> str:
        self.nonces += 1
        return hashlib.sha256(f"{self.id} {self.nonces}".encode()).hexdigest()[:32]

    def csr(self, **other: Any) -> bytes:
        said = {"schema": 1, "serial": self.serial, "nonce": self.nonce(), "csr": csr_pem(self.key, self.serial)}
        return json.dumps({**said, **({"box": self.hardware} if self.hardware else {}), **other}).encode()

    def renew(self, device: str, /, nonce: str | None = None, **other: Any) -> bytes:
        said = {"schema": 1, "nonce": self.nonce() if nonce is None else nonce, "csr": csr_pem(self.key, device)}
        return json.dumps({**said, **({"box": self.hardware} if self.hardware else {}), **other}).encode()

    def proof(self, step: Step, name: str, token: str, *, key: str | None = None) -> bytes:
        nonce = self.nonce()
        signature = self.key.sign(signed_bytes(step, name, key or self.id, nonce, token), ec.ECDSA(hashes.SHA256())).hex()
        return json.dumps({"schema": 1, "nonce": nonce, "token": token, "signature": signature}).encode()


@dataclass
class Manager:
    """Registry, authority and intake, as one ``mien-fleet serve`` has them."""

    folder: Path
    url: str = ""
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        home = self.folder / "fleet"
        there = (home / "ca.pem").exists()
        self.authority = Authority.open(home, PASSPHRASE) if there else Authority.create(home, PASSPHRASE)
        self.registry = Registry.open(self.url or registries.sqlite(self.folder), self.clock)
        self.intake = Intake(self.registry, self.authority)
        self.renewals = Renewals(self.registry, self.authority)

    def batch(self, name: str = "berlin", serials: dict[str, str | None] | None = None) -> Manager:
        manage.add_batch(self.registry, name, "retail", "DE", serials or {})
        manage.add_claim(self.registry, name, name, f"{abs(hash(name)):x}", int(self.clock()) + 24 * HOUR, single=False)
        return self

    def ask(self, name: str, key: str, last: str, payload: bytes) -> dict[str, Any]:
        """Hand in a message; returns the answer, with ``said`` for accepted or the code."""
        answer = self.intake.handle(enroll_topic(name, key, last), payload)
        assert answer is not None
        said = json.loads(answer.payload)
        kind = answer.topic.rsplit("/", 1)[1]
        assert (kind == "rejected") == ("code" in said)
        return {**said, "said": said.get("code", "accepted")}

    def csr(self, box: Box, name: str = "berlin", **other: Any) -> dict[str, Any]:
        return self.ask(name, box.id, "csr", box.csr(**other))

    def register(self, box: Box, token: str, name: str = "berlin") -> dict[str, Any]:
        return self.ask(name, box.id, "register", box.proof("register", name, token))

    def confirm(self, box: Box, token: str, name: str) -> dict[str, Any]:
        return self.ask(name, box.id, "confirm", box.proof("confirm", name, token))

    def renew(self, device: str, who: Box, /, nonce: str | None = None, **other: Any) -> dict[str, Any]:
        """Ask for a device's next certificate, for the key of ``who``."""
        answer = self.renewals.handle(topic(device, "up/renew"), who.renew(device, nonce, **other))
        assert answer is not None
        said = json.loads(answer.payload)
        return {**said, "said": said.get("code", "accepted")}

    def enrol(self, box: Box, name: str = "berlin") -> dict[str, Any]:
        given = self.csr(box, name)
        assert given["said"] == "accepted", given
        assert self.register(box, given["token"], name)["said"] == "accepted"
        assert self.confirm(box, given["token"], given["device"])["said"] == "accepted"
        return given

    def states(self, serial: str) -> dict[str, str]:
        """Of the certificates of a serial: the beginning of the key → state, the newest last."""
        from sqlalchemy import select

        from provisioning.tables import CertificateRow

        rows = select(CertificateRow).where(CertificateRow.serial == serial).order_by(CertificateRow.id)
        return self.registry.transact(lambda session: {row.number: f"{row.key[:12]} {row.state}" for row in session.scalars(rows)})

    def close(self) -> None:
        self.registry.close()
