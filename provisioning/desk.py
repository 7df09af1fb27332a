"""From a request for a certificate to an answer: read it, gather the facts, decide, store, answer; all in one transaction.

The answer leaves only after the transaction is stored. If this process dies in between, the device asks again, and the answer is
the same: that of the certificate and token that were stored.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy.orm import Session

from device.contract import dump
from device.contract_enroll import Accepted, CsrRequest, Rejected, RenewRequest, Step, enroll_topic, renew_topic
from device.contract_read import read
from provisioning.decisions import REFUSALS, Authority, Decision, Effect, Facts, Issue, Mark, Repeat, refuse
from provisioning.errors import FleetError
from provisioning.issuing import Issuer, change, find
from provisioning.registry import Entry, Registry
from provisioning.routes import Answer
from provisioning.tables import CertificateRow

ANSWER_EXPIRY: Final = 300  # seconds that an answer is worth something

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Where:
    """What a request's topic says.

    Attributes:
        name: The claim's or the device's, which the broker has checked.
        step: What is asked.
        key: The key that asks, by its SHA-256; empty in a renewal, whose topic is the device's own.
    """

    name: str
    step: Step
    key: str = ""

    def answer(self, last: str) -> str:
        """The topic of an answer: ``last`` is ``accepted`` or ``rejected``."""
        return enroll_topic(self.name, self.key, last) if self.key else renew_topic(self.name, last)


class Desk(ABC, Generic[M]):
    """Decides about requests, with the registry and the authority.

    Args:
        registry: Where everything is stored.
        authority: Who signs.
        days: How long a device's certificate is good for.
        token: Makes a token, 64 hexadecimal digits.
    """

    def __init__(
        self,
        registry: Registry,
        authority: Authority,
        *,
        days: float = 90,
        token: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        self._registry = registry
        self._issuer = Issuer(authority, days, token)

    @abstractmethod
    def decided(self, session: Session, where: Where, request: M) -> tuple[Facts, Decision, str | None]:
        """What is known, what follows, and the key that asks, where it is known."""

    def follow(self, session: Session, effect: Effect, where: Where, request: M, key: str) -> CertificateRow | None:
        """Store what was decided; returns the certificate to answer with, if any."""
        match effect:
            case Mark():
                change(session, effect)
            case Issue() if isinstance(request, (CsrRequest, RenewRequest)):
                claim = where.name if where.key else where.step
                return self._issuer.issue(session, effect, request, key=key, claim=claim, now=self._registry.now())
            case Repeat(certificate):
                return find(session, certificate.number)
        return None

    def receive(self, where: Where, kind: type[M], payload: bytes) -> Answer:
        """Decide about one message, store it, and return the answer."""
        request = read(kind, payload)
        try:
            if isinstance(request, str):
                flaw = refuse("malformed", about=request)
                entry = _entry(where, None, Facts(), flaw, where.key)
                self._registry.transact(lambda session: self._registry.audit(session, entry))
                return _answer(where, None, flaw)
            return self._registry.transact(lambda session: self._serve(session, where, request))
        except FleetError as error:  # the authority's files, or the database
            trouble = Decision(code="unavailable", message=f"{REFUSALS['unavailable'][1]}: {error}"[:600])
            return _answer(where, None if isinstance(request, str) else request, trouble)

    def _serve(self, session: Session, where: Where, request: M) -> Answer:
        facts, decision, key = self.decided(session, where, request)
        given: CertificateRow | None = None
        for effect in decision.effects:
            given = self.follow(session, effect, where, request, key or "") or given
        self._registry.audit(session, _entry(where, request, facts, decision, key))
        if given is None:
            return _answer(where, request, decision)
        left = max(0, given.token_expires_at - self._registry.now())
        return _answer(where, request, decision, {"certificate": given.pem, "token": given.token, "token_seconds": left})


def _entry(where: Where, request: BaseModel | None, facts: Facts, decision: Decision, key: str | None) -> Entry:
    """For the audit log: which serial and which device this was about, as far as it is known."""
    own, listed = facts.own, facts.listed
    if where.key:
        serial = getattr(request, "serial", None) or (own.serial if own else None)
        device = decision.device or (own.device if own else None)
    else:  # the key may be another device's
        serial, device = (listed.serial, where.name) if listed else (None, None)
    key = key[:64] if key else None
    return Entry(where.step, where.name, decision.code or "accepted", decision.message, key, serial, device, decision.retry_after_s)


def _answer(where: Where, request: BaseModel | None, decision: Decision, given: dict[str, Any] | None = None) -> Answer:
    nonce, last = getattr(request, "nonce", None), "rejected" if decision.code else "accepted"
    line = {"event": where.step, "code": decision.code or last, "message": decision.message, "device": decision.device}
    said: Accepted | Rejected
    if decision.code is not None:
        message, retry = decision.message[:600], decision.retry_after_s
        said = Rejected(schema=1, step=where.step, nonce=nonce, code=decision.code, message=message, retry_after_s=retry)
    else:
        about = {"schema": 1, "step": where.step, "nonce": nonce, "device": decision.device}
        said = Accepted.model_validate({**about, **(given or {})})
    return Answer(where.answer(last), dump(said), expiry=ANSWER_EXPIRY, log=line)
