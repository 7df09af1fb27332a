"""What decisions about enrolment are made of: what is known, what follows, and the words for a refusal. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from device.contract_enroll import Code

State = Literal["pending", "registered", "live", "dropped", "superseded", "revoked"]
Verdict = Literal["approved", "replace", "refused"]
OPEN: Final = ("pending", "registered", "live")
MINUTE, HOUR, DAY = 60, 3600, 86_400

# What a device is told, and after how many seconds it may ask again. What only a person can change is asked about rarely.
REFUSALS: Final[dict[Code, tuple[int, str]]] = {
    "malformed": (HOUR, "not a message of this contract; see mien contract --json-schema"),
    "unknown_claim": (HOUR, "this claim is not known here; make one with mien-fleet claim new"),
    "claim_expired": (HOUR, "this claim has expired; make another with mien-fleet claim new"),
    "claim_revoked": (DAY, "this claim was revoked; make another with mien-fleet claim new"),
    "claim_used": (DAY, "this claim was made for one device, and another has it; make another with mien-fleet claim new"),
    "claim_serial": (DAY, "this claim was made for another serial; make another with mien-fleet claim new"),
    "wrong_batch": (HOUR, "the serial belongs to another batch than this claim; use that batch's claim"),
    "unknown_serial": (HOUR, "no batch lists this serial; add it with mien-fleet batch add"),
    "wrong_key": (DAY, "the CSR is not signed by the key that the topic names"),
    "weak_key": (DAY, "the key is not EC P-256; make one that is"),
    "csr_serial": (DAY, "the CSR names another serial than the message"),
    "key_not_registered": (HOUR, "another key is on the list for this serial; correct it with mien-fleet batch add"),
    "serial_in_use": (HOUR, "another key has this serial; find out which box is the right one, then mien-fleet approve --replace"),
    "two_boxes": (HOUR, "two boxes use one key, so one is a copy of the other; wipe the identity of the copy"),
    "replayed": (MINUTE, "this request was answered before, and what it led to has ended; send a new one"),
    "waiting": (MINUTE, "waiting for mien-fleet approve"),
    "refused": (DAY, "refused by the fleet's manager"),
    "revoked": (DAY, "this key's certificate was revoked; mien-fleet approve lets it in again"),
    "not_issued": (0, "no certificate was issued for this key and name; begin with csr"),
    "token_unknown": (0, "no such token; begin with csr"),
    "token_foreign": (MINUTE, "this token was given to another key"),
    "token_expired": (0, "the token was good for an hour; begin with csr"),
    "bad_signature": (MINUTE, "the signature is not by the key that the topic names"),
    "not_registered": (0, "the certificate is not registered yet; send register"),
    "same_key": (DAY, "the next certificate is for a new key; make one"),
    "too_often": (HOUR, "this device has asked for too many certificates today"),
    "unavailable": (MINUTE, "the fleet cannot decide now"),
}


class CheckedKey(Protocol):
    """What a CSR says about itself, once its signature was checked."""

    @property
    def sha256(self) -> str: ...
    @property
    def common_name(self) -> str | None: ...


class Authority(Protocol):
    """Who signs; ``provisioning.authority`` has the real one."""

    def check_csr(self, csr_pem: bytes) -> CheckedKey:
        """Raises ``AuthorityError`` with a code for a wrong signature or a weak key."""
        ...

    def issue_device(self, csr_pem: bytes, *, device: str, setting: str, jurisdiction: str, days: float) -> bytes: ...

    def revoke(self, serial: int, until: dt.datetime | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """Times are seconds since 1970, as everywhere here."""

    batch: str
    expires_at: int
    revoked: bool = False
    single: bool = False
    used_by: str | None = None
    serial: str | None = None  # of the one box that it is for


@dataclass(frozen=True, slots=True)
class Listed:
    """A serial of the allow-list."""

    serial: str
    batch: str
    device: str
    key: str | None = None  # registered beforehand: no approval is needed, and no other key is let in


@dataclass(frozen=True, slots=True)
class Certificate:
    number: str
    serial: str
    device: str
    key: str
    state: State
    token: str
    token_expires_at: int
    expires_at: int
    nonce: str  # of the CSR that it was issued for
    box: str | None = None
    renews: str | None = None  # the number of the certificate that this one follows


@dataclass(frozen=True, slots=True)
class Facts:
    """What the registry knows about one request, read in the transaction that stores the decision.

    Attributes:
        own: The newest certificate of the request's key; None when there is none.
        rivals: Open certificates of the same serial for other keys.
        waiting: Other keys that ask for the same serial.
        verdict: What a person has decided about this key, if anybody has; ``replace`` lets it in instead of a rival.
        nonce_of: The state of the certificate that was issued for the same nonce.
        token_of: The key that the request's token was given to.
        proven: Whether the request is signed by the key that the topic names.
        recent: How many certificates the device was given since yesterday; for renewals.
    """

    claim: Claim | None = None
    listed: Listed | None = None
    own: Certificate | None = None
    rivals: tuple[Certificate, ...] = ()
    waiting: tuple[str, ...] = ()
    verdict: Verdict | None = None
    nonce_of: State | None = None
    token_of: str | None = None
    proven: bool = False
    recent: int = 0


@dataclass(frozen=True, slots=True)
class Issue:
    """Sign the CSR, store the certificate as pending with a fresh token, and answer with both."""

    listed: Listed
    renews: str | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Answer with the certificate and the token that were issued before."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Queue:
    """Keep the request where a person sees it."""

    serial: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Change a certificate's state."""

    number: str
    state: State


Effect = Issue | Repeat | Queue | Mark


@dataclass(frozen=True, slots=True)
class Decision:
    """What to store, and what to answer: accepted, or a code and words for a person."""

    effects: tuple[Effect, ...] = ()
    device: str | None = None
    code: Code | None = None
    message: str = ""

    @property
    def retry_after_s(self) -> int:
        return REFUSALS[self.code][0] if self.code else 0


def refuse(code: Code, *effects: Effect, about: str = "") -> Decision:
    """A rejection in the words of ``REFUSALS``, with details."""
    said = REFUSALS[code][1]
    return Decision(effects, code=code, message=f"{about}: {said}" if about else said)


def short(key: str) -> str:
    """A key as people compare it."""
    return key[:12]
