"""From a message on the wire to an answer: read it, gather the facts, decide, store, answer; all in one transaction.

The answer leaves only after the transaction is stored. If this process dies in between, the device asks again, and the answer is
the same: that of the certificate and token that were stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from device.contract import dump
from device.contract_enroll import (
    ENROLL_ROOT,
    REQUESTS,
    Accepted,
    CsrRequest,
    Proof,
    Rejected,
    Step,
    enroll_topic,
    signed_bytes,
)
from device.contract_read import read
from provisioning import facts as registry_facts
from provisioning.decisions import REFUSALS, Authority, Decision, Facts, Issue, Mark, Queue, Repeat, refuse
from provisioning.enrolment import on_confirm, on_csr, on_register, read_step
from provisioning.errors import FleetError
from provisioning.issuing import Issuer, change, find
from provisioning.keys import signed_by
from provisioning.registry import Entry, Registry
from provisioning.routes import Answer, Context, Properties, Route, Subject
from provisioning.tables import CertificateRow, ClaimRow, RequestRow

ANSWER_EXPIRY: Final = 300  # seconds that an answer is worth something
MAX_WAITING: Final = 20  # keys that ask for one serial; more are not kept


@dataclass(frozen=True, slots=True)
class Where:
    """What a request's topic says."""

    name: str
    key: str
    step: Step


@dataclass(frozen=True, slots=True)
class Answered(Answer):
    """An answer, with the decision that it tells."""

    decision: Decision = field(default_factory=Decision)


class Intake:
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

    def handle(self, topic: str, payload: bytes) -> Answered | None:
        """Decide about one message, store it, and return the answer; ``None`` for a topic that is none of enrolment's."""
        parts = read_step(topic, ENROLL_ROOT)
        if parts is None:
            return None
        where = Where(*parts)
        request = read(REQUESTS[where.step], payload)
        try:
            if isinstance(request, str):
                flaw = refuse("malformed", about=request)
                self._registry.transact(lambda session: self._write_down(session, where, None, Facts(), flaw))
                return _answer(where, None, flaw)
            return self._registry.transact(lambda session: self._decide(session, where, request))
        except FleetError as error:  # the authority's files, or the database
            trouble = Decision(code="unavailable", message=f"{REFUSALS['unavailable'][1]}: {error}"[:600])
            return _answer(where, None if isinstance(request, str) else request.nonce, trouble)

    def _decide(self, session: Session, where: Where, request: CsrRequest | Proof) -> Answered:
        now = self._registry.now()
        name, key, step = where.name, where.key, where.step
        if isinstance(request, CsrRequest):
            facts = registry_facts.of_csr(session, name, key, request)
            decision = on_csr(request, key, self._issuer.check(request.csr), facts, now)
        else:
            row = registry_facts.newest(session, key)
            signed = signed_bytes(step, name, key, request.nonce, request.token)
            proven = row is not None and signed_by(row.pem, signed, request.signature)
            facts = registry_facts.of_proof(session, name, key, request, proven=proven)
            decision = on_register(request, key, facts, now) if step == "register" else on_confirm(request, name, key, facts, now)
        given = self._apply(session, where, request, decision)
        self._write_down(session, where, request, facts, decision)
        with_it = (
            {"certificate": given.pem, "token": given.token, "token_seconds": max(0, given.token_expires_at - now)} if given else {}
        )
        return _answer(where, request.nonce, decision, with_it)

    def _apply(self, session: Session, where: Where, request: CsrRequest | Proof, decision: Decision) -> CertificateRow | None:
        """Store what was decided; returns the certificate to answer with, if any."""
        given: CertificateRow | None = None
        for effect in decision.effects:
            match effect:
                case Mark():
                    change(session, effect)
                case Issue() if isinstance(request, CsrRequest):
                    now = self._registry.now()
                    given = self._issuer.issue(session, effect, request, key=where.key, claim=where.name, now=now)
                    for claim in session.scalars(select(ClaimRow).where(ClaimRow.name == where.name)):
                        claim.used_by = where.key
                case Repeat(certificate):
                    given = find(session, certificate.number)
                    given.box = given.box or (request.box if isinstance(request, CsrRequest) else None)
                case Queue(serial) if isinstance(request, CsrRequest):
                    self._queue(session, serial, where, request)
        return given

    def _queue(self, session: Session, serial: str, where: Where, request: CsrRequest) -> None:
        now = self._registry.now()
        row = session.get(RequestRow, (serial, where.key))
        if row is not None:
            row.last_at, row.box = now, request.box
        elif len(session.scalars(select(RequestRow).where(RequestRow.serial == serial)).all()) < MAX_WAITING:
            session.add(
                RequestRow(serial=serial, key=where.key, claim=where.name, box=request.box, verdict=None, first_at=now, last_at=now)
            )

    def _write_down(
        self, session: Session, where: Where, request: CsrRequest | Proof | None, facts: Facts, decision: Decision
    ) -> None:
        own = facts.own
        step = Entry(
            where.step,
            where.name,
            decision.code or "accepted",
            decision.message,
            key=where.key[:64],
            serial=request.serial if isinstance(request, CsrRequest) else own.serial if own else None,
            device=decision.device or (own.device if own else None),
            retry_after_s=decision.retry_after_s,
        )
        self._registry.audit(session, step)


def subject(context: Context) -> Subject:
    """Enrolment, as the service knows it."""
    intake = Intake(context.registry, context.authority)

    def handle(topic: str, payload: bytes, _: Properties) -> list[Answer]:
        answer = intake.handle(topic, payload)
        return [replace(answer, qos=0)] if answer else []

    return Subject(tuple(Route(f"{ENROLL_ROOT}/+/+/{step}", handle) for step in REQUESTS))


def _line(where: Where, decision: Decision) -> dict[str, object]:
    said = {"code": decision.code or "accepted", "message": decision.message, "device": decision.device}
    return {"event": where.step, "topic": enroll_topic(where.name, where.key, where.step), **said}


def _answer(where: Where, nonce: str | None, decision: Decision, given: dict[str, Any] | None = None) -> Answered:
    if decision.code is not None:
        rejected = Rejected(
            schema=1,
            step=where.step,
            nonce=nonce,
            code=decision.code,
            message=decision.message[:600],
            retry_after_s=decision.retry_after_s,
        )
        return Answered(
            enroll_topic(where.name, where.key, "rejected"),
            dump(rejected),
            expiry=ANSWER_EXPIRY,
            log=_line(where, decision),
            decision=decision,
        )
    said = {"schema": 1, "step": where.step, "nonce": nonce, "device": decision.device, **(given or {})}
    return Answered(
        enroll_topic(where.name, where.key, "accepted"),
        dump(Accepted.model_validate(said)),
        expiry=ANSWER_EXPIRY,
        log=_line(where, decision),
        decision=decision,
    )
