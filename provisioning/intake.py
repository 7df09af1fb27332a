"""From a message on the wire to an answer: read it, gather the facts, decide, store, answer; all in one transaction.

The answer leaves only after the transaction is stored. If this process dies in between, the device asks again, and the answer is
the same: that of the certificate and token that were stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from device.contract import MAX_MESSAGE_BYTES, dump
from device.contract_enroll import (
    ENROLL_ROOT,
    REQUESTS,
    TOKEN_SECONDS,
    Accepted,
    Code,
    CsrRequest,
    Proof,
    Rejected,
    Step,
    enroll_topic,
    signed_bytes,
)
from provisioning import facts as registry_facts
from provisioning.decisions import REFUSALS, Authority, CheckedKey, Decision, Facts, Issue, Mark, Queue, Repeat, refuse
from provisioning.enrolment import on_confirm, on_csr, on_register, read_step
from provisioning.errors import AuthorityError, FleetError
from provisioning.keys import number_and_end, signed_by
from provisioning.registry import Entry, Registry
from provisioning.tables import Batch, CertificateRow, ClaimRow, DeviceRow, RequestRow, SerialRow

MAX_WAITING: Final = 20  # keys that ask for one serial; more are not kept
CSR_FLAWS: Final[dict[str, Code]] = {
    "bad-csr": "malformed",
    "bad-signature": "wrong_key",
    "weak-key": "weak_key",
    "wrong-key": "weak_key",
}


@dataclass(frozen=True, slots=True)
class Where:
    """What a request's topic says."""

    name: str
    key: str
    step: Step


@dataclass(frozen=True, slots=True)
class Answer:
    """A message to publish, QoS 1."""

    topic: str
    payload: bytes
    decision: Decision


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
        self._authority = authority
        self._days = days
        self._token = token

    def handle(self, topic: str, payload: bytes) -> Answer | None:
        """Decide about one message, store it, and return the answer; ``None`` for a topic that is none of enrolment's."""
        parts = read_step(topic, ENROLL_ROOT)
        if parts is None:
            return None
        where = Where(*parts)
        request = read_request(where.step, payload)
        try:
            if isinstance(request, str):
                flaw = refuse("malformed", about=request)
                self._registry.transact(lambda session: self._write_down(session, where, None, Facts(), flaw))
                return _answer(where, None, flaw)
            return self._registry.transact(lambda session: self._decide(session, where, request))
        except FleetError as error:  # the authority's files, or the database
            trouble = Decision(code="unavailable", message=f"{REFUSALS['unavailable'][1]}: {error}"[:600])
            return _answer(where, None if isinstance(request, str) else request.nonce, trouble)

    def _decide(self, session: Session, where: Where, request: CsrRequest | Proof) -> Answer:
        now = self._registry.now()
        name, key, step = where.name, where.key, where.step
        if isinstance(request, CsrRequest):
            facts = registry_facts.of_csr(session, name, key, request)
            decision = on_csr(request, key, self._check(request), facts, now)
        else:
            row = registry_facts.newest(session, key)
            signed = signed_bytes(step, name, key, request.nonce, request.token)
            proven = row is not None and signed_by(row.pem, signed, request.signature)
            facts = registry_facts.of_proof(session, name, key, request, proven=proven)
            decision = on_register(request, key, facts, now) if step == "register" else on_confirm(request, name, key, facts)
        given = self._apply(session, where, request, decision)
        self._write_down(session, where, request, facts, decision)
        with_it = (
            {"certificate": given.pem, "token": given.token, "token_seconds": max(0, given.token_expires_at - now)} if given else {}
        )
        return _answer(where, request.nonce, decision, with_it)

    def _check(self, request: CsrRequest) -> CheckedKey | Code:
        try:
            return self._authority.check_csr(request.csr.encode())
        except AuthorityError as error:
            if error.code not in CSR_FLAWS:
                raise
            return CSR_FLAWS[error.code]

    def _apply(self, session: Session, where: Where, request: CsrRequest | Proof, decision: Decision) -> CertificateRow | None:
        """Store what was decided; returns the certificate to answer with, if any."""
        given: CertificateRow | None = None
        for effect in decision.effects:
            match effect:
                case Mark(number, state):
                    row = session.scalars(select(CertificateRow).where(CertificateRow.number == number)).one()
                    row.state = state
                    session.flush()  # in this order: one live certificate at a time
                    if state == "live" and (asked := session.get(RequestRow, (row.serial, where.key))) is not None:
                        asked.verdict = "approved"  # a replacement is permitted once
                    if state == "superseded" and (asked := session.get(RequestRow, (row.serial, row.key))) is not None:
                        session.delete(asked)
                case Issue(listed) if isinstance(request, CsrRequest):
                    given = self._issue(session, where, request, listed.device)
                case Repeat(certificate):
                    given = session.scalars(select(CertificateRow).where(CertificateRow.number == certificate.number)).one()
                    given.box = given.box or (request.box if isinstance(request, CsrRequest) else None)
                case Queue(serial) if isinstance(request, CsrRequest):
                    self._queue(session, serial, where, request)
        return given

    def _issue(self, session: Session, where: Where, request: CsrRequest, device: str) -> CertificateRow:
        now = self._registry.now()
        listed = session.get_one(SerialRow, request.serial)
        batch = session.get_one(Batch, listed.batch)
        chain = self._authority.issue_device(
            request.csr.encode(), device=device, setting=batch.setting, jurisdiction=batch.jurisdiction, days=self._days
        )
        number, expires_at = number_and_end(chain)
        if session.get(DeviceRow, device) is None:
            session.add(DeviceRow(name=device, serial=request.serial, created_at=now))
            session.flush()
        row = CertificateRow(number=number, device=device, key=where.key, state="pending", claim=where.name, pem=chain.decode())
        row.serial, row.nonce, row.box = request.serial, request.nonce, request.box
        row.token, row.token_expires_at = self._token(), now + TOKEN_SECONDS
        row.issued_at, row.expires_at = now, expires_at
        session.add(row)
        for claim in session.scalars(select(ClaimRow).where(ClaimRow.name == where.name)):
            claim.used_by = where.key
        session.flush()
        return row

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


def read_request(step: Step, payload: bytes) -> CsrRequest | Proof | str:
    """A request, or what is wrong with it in a few words, none of them its own."""
    if len(payload) > MAX_MESSAGE_BYTES:
        return f"{len(payload)} bytes, where {MAX_MESSAGE_BYTES} are allowed"
    try:
        return REQUESTS[step].model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:60]
        return f"{where or 'JSON'}: {first['msg'][:120]}"


def _answer(where: Where, nonce: str | None, decision: Decision, given: dict[str, Any] | None = None) -> Answer:
    if decision.code is not None:
        rejected = Rejected(
            schema=1,
            step=where.step,
            nonce=nonce,
            code=decision.code,
            message=decision.message[:600],
            retry_after_s=decision.retry_after_s,
        )
        return Answer(enroll_topic(where.name, where.key, "rejected"), dump(rejected), decision)
    said = {"schema": 1, "step": where.step, "nonce": nonce, "device": decision.device, **(given or {})}
    return Answer(enroll_topic(where.name, where.key, "accepted"), dump(Accepted.model_validate(said)), decision)
