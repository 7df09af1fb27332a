"""Enrolment, as the service does it: ``csr``, ``register`` and ``confirm`` in, an answer out. Decisions are ``enrolment``'s."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from device.contract_enroll import ENROLL_ROOT, REQUESTS, CsrRequest, Proof, signed_bytes
from provisioning import facts as registry_facts
from provisioning.decisions import Decision, Effect, Facts, Issue, Queue, Repeat
from provisioning.desk import Desk, Where
from provisioning.enrolment import on_confirm, on_csr, on_register, read_step
from provisioning.keys import signed_by
from provisioning.routes import Answer, Context, Properties, Route, Subject
from provisioning.tables import CertificateRow, ClaimRow, RequestRow

MAX_WAITING: Final = 20  # keys that ask for one serial; more are not kept

Request = CsrRequest | Proof


class Intake(Desk[Request]):
    """Decides about requests of boxes that are not enrolled yet. For the arguments see ``Desk``."""

    def handle(self, topic: str, payload: bytes) -> Answer | None:
        """Decide about one message, store it, and return the answer; ``None`` for a topic that is none of enrolment's."""
        parts = read_step(topic, ENROLL_ROOT)
        if parts is None:
            return None
        name, key, step = parts
        return self.receive(Where(name, step, key), REQUESTS[step], payload)

    def decided(self, session: Session, where: Where, request: Request) -> tuple[Facts, Decision, str | None]:
        now, name, key, step = self._registry.now(), where.name, where.key, where.step
        if isinstance(request, CsrRequest):
            facts = registry_facts.of_csr(session, name, key, request)
            return facts, on_csr(request, key, self._issuer.check(request.csr), facts, now), key
        row = registry_facts.newest(session, key)
        signed = signed_bytes(step, name, key, request.nonce, request.token)
        proven = row is not None and signed_by(row.pem, signed, request.signature)
        facts = registry_facts.of_proof(session, name, key, request, proven=proven)
        decision = on_register(request, key, facts, now) if step == "register" else on_confirm(request, name, key, facts, now)
        return facts, decision, key

    def follow(self, session: Session, effect: Effect, where: Where, request: Request, key: str) -> CertificateRow | None:
        given = super().follow(session, effect, where, request, key)
        if isinstance(request, CsrRequest):
            match effect:
                case Issue():
                    for claim in session.scalars(select(ClaimRow).where(ClaimRow.name == where.name)):
                        claim.used_by = key
                case Repeat() if given is not None:
                    given.box = given.box or request.box
                case Queue(serial):
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


def subject(context: Context) -> Subject:
    """Enrolment, as the service knows it."""
    intake = Intake(context.registry, context.authority)

    def handle(topic: str, payload: bytes, _: Properties) -> list[Answer]:
        answer = intake.handle(topic, payload)
        return [replace(answer, qos=0, settles=answer.topic.endswith("/accepted"))] if answer else []

    return Subject(tuple(Route(f"{ENROLL_ROOT}/+/+/{step}", handle) for step in REQUESTS))
