"""Renewal, as the service does it: ``up/renew`` in, an answer out; the device then confirms as it did at first.

The broker has checked who asks: the device's name in the topic is its certificate's. Decisions are ``provisioning.enrolment``'s.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from device.contract import ROOT, topic
from device.contract_enroll import RenewRequest
from provisioning import facts as registry_facts
from provisioning.decisions import Decision, Facts
from provisioning.desk import Desk, Where
from provisioning.enrolment import on_renew
from provisioning.routes import Answer, Context, Properties, Route, Subject


class Renewals(Desk[RenewRequest]):
    """Decides about renewals. For the arguments see ``Desk``."""

    def handle(self, name: str, payload: bytes) -> Answer | None:
        """Decide about a device's request, store it, and return the answer; ``None`` for a topic that is no device's renewal."""
        device = name.removeprefix(f"{ROOT}/").removesuffix("/up/renew")
        if name != topic(device, "up/renew") or "/" in device:
            return None
        return self.receive(Where(device, "renew"), RenewRequest, payload)

    def decided(self, session: Session, where: Where, request: RenewRequest) -> tuple[Facts, Decision, str | None]:
        now, checked = self._registry.now(), self._issuer.check(request.csr)
        key = None if isinstance(checked, str) else checked.sha256
        facts = registry_facts.of_renewal(session, where.name, key, request, now)
        return facts, on_renew(request, where.name, checked, facts, now), key


def subject(context: Context) -> Subject:
    """Renewal, as the service knows it."""
    renewals = Renewals(context.registry, context.authority)

    def handle(name: str, payload: bytes, _: Properties) -> list[Answer]:
        answer = renewals.handle(name, payload)
        return [answer] if answer else []

    return Subject((Route(topic("+", "up/renew"), handle),))
