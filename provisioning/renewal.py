"""Renewal, as the service does it: ``up/renew`` in, an answer out; the device then confirms as it did at first.

The broker has checked who asks: the device's name in the topic is its certificate's. Decisions are ``provisioning.enrolment``'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.orm import Session

from device.contract import ROOT, dump, topic
from device.contract_enroll import Accepted, Rejected, RenewRequest, renew_topic
from device.contract_read import read
from provisioning import facts as registry_facts
from provisioning.decisions import REFUSALS, Authority, Decision, Facts, Issue, Mark, Repeat, refuse
from provisioning.enrolment import on_renew
from provisioning.errors import FleetError
from provisioning.issuing import Issuer, change, find
from provisioning.registry import Entry, Registry
from provisioning.routes import Answer, Context, Properties, Route, Subject
from provisioning.tables import CertificateRow

ANSWER_EXPIRY: Final = 300  # seconds that an answer is worth something
STEP: Final = "renew"


class Renewals:
    """Decides about renewals. The arguments are those of ``Intake``."""

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

    def handle(self, name: str, payload: bytes) -> Answer | None:
        """Decide about a device's request, store it, and return the answer; ``None`` for a topic that is no device's renewal."""
        device = name.removeprefix(f"{ROOT}/").removesuffix("/up/renew")
        if name != topic(device, "up/renew") or "/" in device:
            return None
        request = read(RenewRequest, payload)
        try:
            if isinstance(request, str):
                flaw = refuse("malformed", about=request)
                self._registry.transact(lambda session: self._write_down(session, device, None, Facts(), flaw))
                return _answer(device, None, flaw)
            return self._registry.transact(lambda session: self._decide(session, device, request))
        except FleetError as error:  # the authority's files, or the database
            trouble = Decision(code="unavailable", message=f"{REFUSALS['unavailable'][1]}: {error}"[:600])
            return _answer(device, None if isinstance(request, str) else request.nonce, trouble)

    def _decide(self, session: Session, device: str, request: RenewRequest) -> Answer:
        now = self._registry.now()
        checked = self._issuer.check(request.csr)
        key = None if isinstance(checked, str) else checked.sha256
        facts = registry_facts.of_renewal(session, device, key, request, now)
        decision = on_renew(request, device, checked, facts, now)
        given: CertificateRow | None = None
        for effect in decision.effects:
            match effect:
                case Mark():
                    change(session, effect)
                case Issue():
                    given = self._issuer.issue(session, effect, request, key=key or "", claim=STEP, now=now)
                case Repeat(certificate):
                    given = find(session, certificate.number)
        self._write_down(session, device, key, facts, decision)
        if given is None:
            return _answer(device, request.nonce, decision)
        left = max(0, given.token_expires_at - now)
        return _answer(device, request.nonce, decision, {"certificate": given.pem, "token": given.token, "token_seconds": left})

    def _write_down(self, session: Session, device: str, key: str | None, facts: Facts, decision: Decision) -> None:
        serial = facts.listed.serial if facts.listed else None
        known = device if facts.listed else None
        entry = Entry(STEP, device, decision.code or "accepted", decision.message, key, serial, known, decision.retry_after_s)
        self._registry.audit(session, entry)


def subject(context: Context) -> Subject:
    """Renewal, as the service knows it."""
    renewals = Renewals(context.registry, context.authority)

    def handle(name: str, payload: bytes, _: Properties) -> list[Answer]:
        answer = renewals.handle(name, payload)
        return [answer] if answer else []

    return Subject((Route(topic("+", "up/renew"), handle),))


def _answer(device: str, nonce: str | None, decision: Decision, given: dict[str, Any] | None = None) -> Answer:
    line = {"event": STEP, "code": decision.code or "accepted", "message": decision.message, "device": device}
    if decision.code is not None:
        code, retry = decision.code, decision.retry_after_s
        rejected = Rejected(schema=1, step=STEP, nonce=nonce, code=code, message=decision.message[:600], retry_after_s=retry)
        return Answer(renew_topic(device, "rejected"), dump(rejected), expiry=ANSWER_EXPIRY, log=line)
    accepted = Accepted.model_validate({"schema": 1, "step": STEP, "nonce": nonce, "device": device, **(given or {})})
    return Answer(renew_topic(device, "accepted"), dump(accepted), expiry=ANSWER_EXPIRY, log=line)
