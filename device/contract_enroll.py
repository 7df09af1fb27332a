"""Enrolment and renewal: how a box gets an identity, and its next one. Topics and messages, shared by device and fleet.

    mien-enroll/v1/{name}/{key}/csr        box → fleet, as the claim      a key asks for a certificate
    mien-enroll/v1/{name}/{key}/register   box → fleet, as the claim      the key's owner has the certificate and its token
    mien-enroll/v1/{name}/{key}/confirm    box → fleet, as the device     a connection with the certificate has succeeded
    mien-enroll/v1/{name}/{key}/accepted   fleet → box
    mien-enroll/v1/{name}/{key}/rejected   fleet → box
    mien/v1/{device}/up/renew              device → fleet                 a new key asks for the next certificate
    mien/v1/{device}/down/renew/accepted   fleet → device
    mien/v1/{device}/down/renew/rejected   fleet → device

A renewal is asked for on the device's own topics: the broker has checked who asks, and its rules stay what they are. The new
certificate is then confirmed like a first one, over a connection with it.

``{name}`` comes from the certificate in use, and the broker checks it: for ``confirm`` the device's common name; for all else the
claim's, whose common name is the whole prefix of its topics, ``mien-enroll/v1/{name}`` (no device id has slashes: that keeps both
apart, see ``provisioning/certificates.py``).
``{key}`` is the SHA-256 of the public key (SubjectPublicKeyInfo, DER). Whoever holds the same claim may write to these topics too,
so every request proves that it comes from the owner of the key, and an answer repeats the nonce of the request it is for.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from device.contract import DeviceName, Down, Up, topic

ENROLL_ROOT: Final = "mien-enroll/v1"
TOKEN_SECONDS: Final = 3600  # how long a certificate waits to be registered, or a renewed one to be confirmed
BACKDATED: Final = timedelta(days=7)  # how long before it is made a certificate's life begins: for clocks that are slow

Step = Literal["csr", "register", "confirm", "renew"]
Serial = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Box = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Pem = Annotated[str, Field(min_length=1, max_length=3500)]

Code = Literal[
    "malformed",  # not a message of this contract
    "unknown_claim",
    "claim_expired",
    "claim_revoked",
    "claim_used",  # made for one device, and another has it
    "claim_serial",  # made for one serial, and this is another
    "wrong_batch",  # the serial belongs to another batch than the claim
    "unknown_serial",
    "wrong_key",  # the CSR is not signed by the key of the topic
    "weak_key",
    "csr_serial",  # the CSR names another serial
    "key_not_registered",  # another key is on the list for this serial
    "serial_in_use",  # another key has this serial's certificate
    "two_boxes",  # two boxes have the same key
    "replayed",
    "waiting",  # for a person's approval
    "refused",  # by a person
    "revoked",
    "not_issued",  # no certificate was asked for with this key
    "token_unknown",
    "token_foreign",  # of another key
    "token_expired",
    "bad_signature",
    "not_registered",
    "same_key",  # a renewal wants a new one
    "too_often",
    "unavailable",  # the fleet's own trouble
]


def box_in_status(device: str, box: str) -> str:
    """How a status calls the hardware: eight digits, others for each device, which the fleet finds again from a ``Box``.

    Args:
        device: Its name.
        box: As in a ``CsrRequest``.
    """
    return hashlib.sha256(f"mien status {device} {box}".encode()).hexdigest()[:8]


class CsrRequest(Up):
    """On ``csr``: a certificate for this key, please."""

    schema_: Literal[1] = Field(1, alias="schema")
    serial: Serial = Field(description="The box's serial number, also the CSR's common name.")
    nonce: Nonce
    csr: Pem = Field(description="PKCS #10 in PEM, EC P-256, signed with the key.")
    box: Box | None = Field(None, description="A hash of the hardware's own ids: tells a box from a copy of its disk.")


class Proof(Up):
    """A token, signed with the key of the CSR: see ``signed_bytes``."""

    schema_: Literal[1] = Field(1, alias="schema")
    nonce: Nonce
    token: Token
    signature: str = Field(pattern=r"^[0-9a-f]{16,160}$", description="ECDSA with SHA-256, DER, in hexadecimal digits.")


class RegisterRequest(Proof):
    """On ``register``: the certificate has arrived and is stored."""


class ConfirmRequest(Proof):
    """On ``confirm``: this connection uses the certificate."""


class RenewRequest(Up):
    """On ``up/renew``: the next certificate, for a new key, please."""

    schema_: Literal[1] = Field(1, alias="schema")
    nonce: Nonce
    csr: Pem = Field(description="PKCS #10 in PEM, EC P-256, signed with the new key; its common name is the device's.")
    box: Box | None = Field(None, description="A hash of the hardware's own ids: tells a box from a copy of its disk.")


class Accepted(Down):
    """On ``accepted``."""

    schema_: Literal[1] = Field(1, alias="schema")
    step: Step
    nonce: Nonce = Field(description="Of the request.")
    device: DeviceName = Field(description="The device's name for ever, the certificate's common name.")
    certificate: Pem | None = Field(None, description="For csr and renew: the chain in PEM, the device's own first.")
    token: Token | None = Field(None, description="For csr and renew: to be signed and sent back.")
    token_seconds: int | None = Field(None, ge=0, description="For csr and renew: how long the token is good for, from now on.")


class Rejected(Down):
    """On ``rejected``."""

    schema_: Literal[1] = Field(1, alias="schema")
    step: Step
    nonce: Nonce | None = Field(None, description="Of the request; null when it had none that could be read.")
    code: Code
    message: str = Field(max_length=600, description="For a person: what was wrong, and what to do.")
    retry_after_s: int = Field(ge=0, le=604_800)


REQUESTS: Final[dict[Step, type[CsrRequest | RegisterRequest | ConfirmRequest]]] = {
    "csr": CsrRequest,
    "register": RegisterRequest,
    "confirm": ConfirmRequest,
}
RENEWAL_MESSAGES: Final[dict[str, type[BaseModel]]] = {
    "up/renew": RenewRequest,
    "down/renew/accepted": Accepted,
    "down/renew/rejected": Rejected,
}
ENROLL_MESSAGES: Final[dict[str, type[BaseModel]]] = {
    "csr": CsrRequest,
    "register": RegisterRequest,
    "confirm": ConfirmRequest,
    "accepted": Accepted,
    "rejected": Rejected,
}


def enroll_topic(name: str, key: str, last: str) -> str:
    """The full topic of a message in ``ENROLL_MESSAGES``."""
    return f"{ENROLL_ROOT}/{name}/{key}/{last}"


def renew_topic(device: str, last: str) -> str:
    """The full topic of an answer to ``up/renew``: ``last`` is ``accepted`` or ``rejected``."""
    return topic(device, f"down/renew/{last}")


def signed_bytes(step: Step, name: str, key: str, nonce: str, token: str) -> bytes:
    """What a ``Proof`` signs: good for one step, one name, one key, one nonce and one token."""
    return f"{ENROLL_ROOT}\n{step}\n{name}\n{key}\n{nonce}\n{token}".encode()
