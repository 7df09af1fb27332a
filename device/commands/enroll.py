"""``mien enroll``: from a claim to an identity. Wires the table of states to files and to the broker."""

from __future__ import annotations

import os
import queue
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Final

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from device import identity
from device.contract import MAX_MESSAGE_BYTES, dump
from device.contract_enroll import (
    Accepted,
    ConfirmRequest,
    CsrRequest,
    RegisterRequest,
    Rejected,
    enroll_topic,
)
from device.dialogue import Ask, Connect, Effect, Finish, Install, Say, Store
from device.enroll import Enrolment, Progress
from device.errors import IdentityError, SettingsError
from device.publishers import Connected, Disconnected, Event, Message, NotListening, Received, Refused
from device.publishers.mqtt import MqttPublisher, open_publisher
from device.settings import Settings
from device.stop import Stop

CLOCK_SECONDS: Final = 1.0  # between two looks at a clock that is wrong
POLL: Final = 0.5


class Enroller:
    """The files, the key and the connection of one device that enrols.

    Attributes:
        claim: Where there is one: it is needed until the device is enrolled.
        serial: Of this box, likewise.
    """

    def __init__(self, settings: Settings, claim: identity.Claim | None, log: FilteringBoundLogger) -> None:
        broker = settings.broker
        if broker.certificate_file is None or broker.key_file is None:
            raise SettingsError(
                "broker.certificate_file and broker.key_file: say where this device's identity is to be, "
                "such as /var/lib/mien/identity/device.pem and device.key"
            )
        self.claim, self.serial = claim, ""
        self._broker, self._log = broker, log
        self._final, self._aside = broker.certificate_file, broker.certificate_file.with_name("enrolment.pem")
        self._progress = _progress_file(broker.certificate_file)
        self._key = identity.Key.open(broker.key_file)
        self._publisher: MqttPublisher | None = None
        self._name = ""
        self._reason = ""
        self.enrolment = Enrolment(self._load(), nonce=lambda: secrets.token_hex(16), jitter=random.random, fits=self._fits)

    @property
    def device(self) -> str | None:
        return self.enrolment.progress.device

    def run(self, stopping: Callable[[], bool]) -> bool:
        """Enrol; returns False when told to stop before that is done."""
        try:
            self._do(self.enrolment.begin())
            due = monotonic() + self.enrolment.wait
            while not self.enrolment.done and not stopping():
                event = self._next(due)
                effects = self._react(event) if event is not None else self.enrolment.due() if monotonic() >= due else None
                if effects is not None:
                    self._do(effects)
                    due = monotonic() + self.enrolment.wait
        finally:
            self._close()
        return self.enrolment.done

    def _next(self, due: float) -> Event | None:
        if self._publisher is None:
            return None
        try:
            return self._publisher.events.get(timeout=max(0.0, min(POLL, due - monotonic())))
        except queue.Empty:
            return None

    def _react(self, event: Event) -> tuple[Effect, ...] | None:
        match event:
            case Connected():
                return self.enrolment.connected()
            case Disconnected(reason):
                return self.enrolment.disconnected(reason)
            case Received(topic, payload):
                answer = _read(topic, payload)
                if answer is None:
                    self._log.warning("an answer that cannot be read was ignored")
                    return None
                return self.enrolment.answered(answer) or None
            case Refused(_, reason) | NotListening(_, reason):
                self._say(Say(f"the broker does not let this device enrol: {reason}"))
        return None

    def _do(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Store(progress):
                    identity.write(self._progress, progress.model_dump_json().encode())
                    self._log.info("enrolment", state=progress.state, device=progress.device)
                case Connect(who):
                    self._connect(as_device=who == "device")
                case Ask(step, nonce):
                    self._ask(step, nonce)
                case Install(certificate):
                    identity.write(self._final, certificate.encode(), mode=0o644)
                case Finish():
                    self._close()
                    self._aside.unlink(missing_ok=True)
                    if self.claim is not None and not self.claim.give_up():
                        self._log.info("the claim cannot be deleted from here; remove it from the unit's credentials")
                case Say():
                    self._say(effect)

    def _say(self, said: Say) -> None:
        tell = self._log.warning if said.reason != self._reason else self._log.debug
        tell(said.reason, **({"code": said.code} if said.code else {}))
        self._reason = said.reason

    def _connect(self, *, as_device: bool) -> None:
        self._close()
        progress, claim = self.enrolment.progress, self._need_claim()
        authority = self._broker.ca_file or claim.authority
        if as_device:
            identity.write(self._aside, (progress.certificate or "").encode())
            who = {"certificate_file": self._aside, "key_file": self._broker.key_file, "ca_file": authority}
            self._name = progress.device or ""
        else:
            who = {"certificate_file": claim.certificate, "key_file": claim.key, "ca_file": authority}
            self._name = claim.name
        answers = tuple(enroll_topic(self._name, self._key.sha256, last) for last in ("accepted", "rejected"))
        # A name of its own each time: whoever has the same claim cannot end this connection by using the same one.
        self._publisher = open_publisher(self._broker.model_copy(update=who), f"enroll-{secrets.token_hex(8)}", answers, None)

    def _ask(self, step: str, nonce: str) -> None:
        assert self._publisher is not None
        request: CsrRequest | RegisterRequest | ConfirmRequest
        token = self.enrolment.progress.token or ""
        if step == "csr":
            csr = self._key.csr(self.serial)
            request = CsrRequest(schema=1, serial=self.serial, nonce=nonce, csr=csr, box=identity.hardware())
        elif step == "register":
            proof = self._key.sign("register", self._name, nonce, token)
            request = RegisterRequest(schema=1, nonce=nonce, token=token, signature=proof)
        else:
            proof = self._key.sign("confirm", self._name, nonce, token)
            request = ConfirmRequest(schema=1, nonce=nonce, token=token, signature=proof)
        self._publisher.publish(Message(enroll_topic(self._name, self._key.sha256, step), dump(request), expiry=300))

    def _fits(self, device: str, chain: str) -> bool:
        return self._key.fits(device, chain, self._need_claim().authority.read_bytes())

    def _need_claim(self) -> identity.Claim:
        if self.claim is None:
            raise IdentityError(
                "there is no claim to enrol with; expected claim.pem, claim.key and ca.pem; name their folder with --claim"
            )
        return self.claim

    def _close(self) -> None:
        if self._publisher is not None:
            self._publisher.close(None, 1.0)
            self._publisher = None

    def _load(self) -> Progress:
        """What was stored last; from the beginning where that cannot be read, since every step may be repeated."""
        try:
            return Progress.model_validate_json(self._progress.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError):
            self._log.warning(f"{self._progress}: cannot be read, so enrolment begins anew, with the same key")
        return Progress()


def wait_for_the_clock(
    valid_from: datetime,
    stop: Stop,
    log: FilteringBoundLogger,
    utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> bool:
    """Wait until this clock can be right; False when told to stop. Before that no certificate can be checked."""
    if utc() < valid_from:
        said = (
            f"this clock says {utc():%Y-%m-%d %H:%M}, and the claim was made on {valid_from:%Y-%m-%d}: the clock is wrong, and no "
            "certificate can be checked. Waiting until it is set (systemd-timesyncd needs the network)"
        )
        log.warning(said)
    while utc() < valid_from:
        if stop.wait(CLOCK_SECONDS):
            return False
    return True


def run(
    settings: Settings,
    folder: Path,
    serial: str | None,
    log: FilteringBoundLogger,
    stop: Stop,
    *,
    again: bool = False,
    code: Callable[[], str] | None = None,
) -> str | None:
    """Enrol this device, however far it is already; returns its name, or None when told to stop.

    Args:
        settings: Where the identity goes, and where the broker is.
        folder: The claim's; with ``code`` it is kept there.
        serial: Of this box; ``None`` for the one in the claim, or the board's own.
        log: For what happens.
        stop: Whether to stop.
        again: Begin anew, with the same key: after the certificate has ended, or was revoked.
        code: Reads the claim's QR code; called when a claim is needed.

    Raises:
        SettingsError: The settings do not say where the identity goes, or the serial is not known.
        IdentityError: A file of the claim or of the identity cannot be used, or a code holds none.
        CameraError: No code could be read.
    """
    if again and settings.broker.certificate_file is not None:
        for begun in (_progress_file(settings.broker.certificate_file), settings.broker.certificate_file.with_name("renewal.json")):
            begun.unlink(missing_ok=True)
    claim: identity.Claim | None = None
    with suppress(IdentityError):
        claim = identity.Claim.open(folder)
    enroller = Enroller(settings, claim, log)
    if not enroller.enrolment.done:
        if code is not None:
            claim = identity.Claim.from_code(code(), folder)
        serial = serial or (claim.serial if claim else None) or identity.serial_of_hardware()
        if serial is None:
            raise SettingsError(
                "this hardware does not tell its serial number; give it with --serial, as it is on the fleet's list"
            )
        claim = claim or identity.Claim.open(folder)  # says what is wrong with it
        enroller.claim, enroller.serial = claim, serial
        if (authority := settings.broker.ca_file) is not None and not os.path.exists(authority):
            identity.write(authority, claim.authority.read_bytes(), mode=0o644)
        if not wait_for_the_clock(claim.valid_from, stop, log):
            return None
    return enroller.device if enroller.run(stop) else None


def _progress_file(certificate_file: Path) -> Path:
    return certificate_file.with_name("enrolment.json")


def _read(topic: str, payload: bytes) -> Accepted | Rejected | None:
    kind = Accepted if topic.endswith("/accepted") else Rejected
    try:
        return kind.model_validate_json(payload[: MAX_MESSAGE_BYTES + 1])
    except ValidationError:
        return None
