"""How a simulated device enrols: the device's own table of states (``device.enroll``), its messages, and nothing stored. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from pydantic import ValidationError

from device.contract import MAX_MESSAGE_BYTES, dump
from device.contract_enroll import Accepted, ConfirmRequest, CsrRequest, RegisterRequest, Rejected, Step, enroll_topic
from device.dialogue import Ask, Connect, Effect, Finish, Install, Say, Store
from device.enroll import Enrolment, Progress
from provisioning.simulate.acts import Act, Open, Publish, Tell


class Key(Protocol):
    """A device's key; ``device.identity.Key`` is one."""

    sha256: str

    def csr(self, serial: str) -> str: ...
    def sign(self, step: Step, name: str, nonce: str, token: str) -> str: ...
    def fits(self, device: str, chain_pem: str, authority_pem: bytes) -> bool: ...


class Boarding:
    """One device's enrolment.

    Args:
        serial: As on the fleet's list.
        key: The device's own.
        claim: The name of the claim that it has.
        authority: The root certificate, PEM.
        rng: Of this device.

    Attributes:
        wake: When ``due`` wants to be called.
    """

    def __init__(self, serial: str, key: Key, claim: str, authority: bytes, rng: Random) -> None:
        self._serial, self._key, self._claim = serial, key, claim
        self._hardware = f"{rng.getrandbits(64):016x}"
        self._began = self.wake = 0.0
        self._enrolment = Enrolment(
            Progress(),
            nonce=lambda: f"{rng.getrandbits(128):032x}",
            jitter=rng.random,
            fits=lambda device, chain: key.fits(device, chain, authority),
        )

    @property
    def name(self) -> str | None:
        """The device's, once it has one."""
        return self._enrolment.progress.device

    @property
    def certificate(self) -> str:
        """The chain, PEM; empty until there is one."""
        return self._enrolment.progress.certificate or ""

    @property
    def done(self) -> bool:
        return self._enrolment.done

    def begin(self, now: float) -> list[Act]:
        """Switched on."""
        self._began = now
        return self._acts(self._enrolment.begin(), now)

    def open(self) -> Open:
        """The connection that this state needs."""
        who = self._enrolment.row.who
        topics = tuple(enroll_topic(self._as(who), self._key.sha256, word) for word in ("accepted", "rejected"))
        return Open("claim" if who == "claim" else "device", topics)

    def connected(self, now: float) -> list[Act]:
        return self._acts(self._enrolment.connected(), now)

    def disconnected(self, now: float, reason: str) -> list[Act]:
        return self._acts(self._enrolment.disconnected(reason), now)

    def due(self, now: float) -> list[Act]:
        return self._acts(self._enrolment.due(), now)

    def received(self, now: float, topic: str, payload: bytes) -> list[Act]:
        """An answer."""
        kind = Accepted if topic.endswith("/accepted") else Rejected
        try:
            answer = kind.model_validate_json(payload[: MAX_MESSAGE_BYTES + 1])
        except ValidationError:
            return []
        effects = self._enrolment.answered(answer)
        return self._acts(effects, now) if effects else []

    def _acts(self, effects: Sequence[Effect], now: float) -> list[Act]:
        acts: list[Act] = []
        for effect in effects:
            match effect:
                case Connect():
                    acts.append(self.open())
                case Ask(step, nonce):
                    acts += [self._request(step, nonce), Tell("asked")]
                case Finish():
                    acts.append(Tell("enrolled", now - self._began))
                case Say(_, code) if code is not None:
                    acts.append(Tell(f"rejected {code}"))
                case Store() | Install() | Say():
                    pass
        self.wake = now + self._enrolment.wait
        return acts

    def _request(self, step: Step, nonce: str) -> Publish:
        request: CsrRequest | RegisterRequest | ConfirmRequest
        name, token = self._as(self._enrolment.row.who), self._enrolment.progress.token or ""
        if step == "csr":
            csr = self._key.csr(self._serial)
            request = CsrRequest(schema=1, serial=self._serial, nonce=nonce, csr=csr, box=self._hardware)
        elif step == "register":
            request = RegisterRequest(schema=1, nonce=nonce, token=token, signature=self._key.sign(step, name, nonce, token))
        else:
            request = ConfirmRequest(schema=1, nonce=nonce, token=token, signature=self._key.sign(step, name, nonce, token))
        return Publish(enroll_topic(name, self._key.sha256, step), dump(request), expiry=300)

    def _as(self, who: str) -> str:
        return self._claim if who == "claim" else self.name or ""
