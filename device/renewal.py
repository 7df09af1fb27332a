"""Renewal in the sending process: the table of ``device/renew.py``, with files, keys and a second connection.

Beside ``broker.certificate_file`` lie, while a renewal goes on and no longer::

    renewal.key    the next key: made here, never leaves
    renewal.pem    the next certificate, kept aside until a connection with it has succeeded
    renewal.json   how far it is: what this says counts, whatever else is there

The key and the certificate in use are two files, and no file system replaces two at once. So ``installing`` is stored first: when
power is lost between the two, both are put in place when this process starts again, before it connects.
"""

from __future__ import annotations

import queue
import random
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from device import durable, identity
from device.contract import dump, topic
from device.contract_enroll import Accepted, ConfirmRequest, Rejected, RenewRequest, enroll_topic
from device.contract_read import read
from device.dialogue import Ask, Connect, Effect, Finish, Install, Say, Store
from device.downward import Context, Handler
from device.errors import BrokerError, IdentityError
from device.publishers import Connected, Disconnected, Event, Message, NotListening, Received, Refused
from device.publishers.mqtt import MqttPublisher, open_publisher
from device.renew import Progress, Renewal, renew_at
from device.settings import BrokerSettings

LOOK_EVERY: Final = 60.0  # seconds between two looks at the certificate's end
STANDS: Final = 2.0  # seconds: this is asked for messages several times in one, while there is a connection
EXPIRY: Final = 300  # seconds for which a request is worth something


def can_renew(broker: BrokerSettings) -> bool:
    """Whether this device's certificate is one of a fleet, which renews them; others are somebody else's business."""
    own = identity.own(broker.certificate_file) if broker.certificate_file and broker.ca_file else None
    return own is not None and own.fleet


class RenewalHandler(Handler):
    """Asks for the next certificate in time, tries it, and puts it in place.

    Raises:
        IdentityError: What was begun before cannot be ended: a file cannot be written.
    """

    listens = ("down/renew/+",)

    def __init__(self, context: Context) -> None:
        broker = context.settings.broker
        assert broker.certificate_file is not None
        assert broker.key_file is not None
        self._context, self._broker, self._log = context, broker, context.log
        self._device = context.settings.device
        self._files = broker.certificate_file, broker.key_file
        self._next, self._next_key, self._stored = (
            broker.certificate_file.with_name(f"renewal.{kind}") for kind in ("pem", "key", "json")
        )
        self._beside: MqttPublisher | None = None
        self._out: Message | None = None
        self._asked_at = float("-inf")  # when this was last asked for messages: only while connected
        self._look = self._due = 0.0
        self._reason = ""
        self._dialogue = self._begun()
        self._resume = True  # with what is stored, instead of what is in memory
        self._replaced = False
        if self._dialogue is not None:
            self._act(self._dialogue.begin)
        self._replaced = False  # nobody has connected yet

    @property
    def busy(self) -> bool:
        return self._dialogue is not None

    def connected(self) -> None:
        self._out = None
        if self._dialogue is not None and not self._dialogue.done and self._dialogue.row.who == "device":
            self._act(self._dialogue.connected)

    def receive(self, name: str, message: Received) -> None:
        if self._dialogue is not None and not self._dialogue.done and self._dialogue.row.who == "device":
            self._answer(name, message)

    def due(self, now: float) -> list[Message]:
        self._asked_at = now
        message, self._out = self._out, None
        return [message] if message else []

    def tick(self, now: float) -> bool:
        if self._dialogue is None:
            if now >= self._look:
                self._look = now + LOOK_EVERY
                self._consider(self._context.clock.utc(now))
            return False
        self._dialogue.session = now - self._asked_at < STANDS
        while (event := _next(self._beside)) is not None:
            self._heard(event)
        if now >= self._due and self._dialogue is not None:  # an event may have ended it
            self._act(self._dialogue.begin if self._resume else self._dialogue.due)
        replaced, self._replaced = self._replaced, False
        return replaced

    def close(self) -> None:
        if self._beside is not None:
            self._beside.close(None, 1.0)
            self._beside = None

    def _consider(self, now: datetime) -> None:
        """Begin when it is time. A clock that is wrong makes every certificate one that is yet to come, and waits."""
        own = identity.own(self._files[0])
        if own is None or now < own.valid_from:
            return
        if now >= own.valid_to:
            ended = f"this device's certificate has ended on {own.valid_to:%Y-%m-%d}, and cannot be renewed any more; give the "
            self._say(Say(f"{ended}device a claim and run mien enroll --again"))
        elif now >= renew_at(own.valid_from, own.valid_to, own.spread):
            self._act(self._begin)

    def _begin(self) -> tuple[Effect, ...]:
        durable.remove(self._next_key)  # of a renewal that ended, or never began
        identity.Key.open(self._next_key)
        identity.write(self._stored, Progress().model_dump_json().encode())
        self._log.info("renewal", state="asking")
        self._dialogue = self._begun()
        assert self._dialogue is not None
        return (*self._dialogue.begin(), *self._dialogue.due())

    def _begun(self) -> Renewal | None:
        """The renewal that is stored, if any."""
        try:
            if (content := durable.read(self._stored, identity.MAX_BYTES)) is None:
                return None
            progress = Progress.model_validate_json(content)
        except (OSError, ValidationError):
            self._log.warning(f"{self._stored}: cannot be read, so the renewal begins anew")
            return None
        if self._keyless(progress):
            self._log.warning(f"{self._next_key}: not the key that the next certificate is for, so the renewal begins anew")
            return None
        return Renewal(progress, nonce=lambda: secrets.token_hex(16), jitter=random.random, fits=self._fits)

    def _keyless(self, progress: Progress) -> bool:
        """Whether the next key is damaged, or gone after there was a certificate for it."""
        certificate = progress.certificate
        try:
            if not (content := durable.read(self._next_key, identity.MAX_BYTES)):
                return content is not None or certificate is not None
            identity.Key.open(self._next_key)
            return certificate is not None and not self._fits(self._device, certificate)
        except IdentityError:
            return True
        except OSError:
            return False  # the disk may be well again

    def _act(self, what: Callable[[], tuple[Effect, ...]]) -> None:
        """Do what follows. If a file cannot be written, nothing is lost: what is stored is tried again later."""
        try:
            effects = what()
            self._resume = False
            self._do(effects)
            if not effects:
                return
        except (IdentityError, BrokerError, OSError) as error:
            self._log.error(f"the renewal waits: {error}", again_in=LOOK_EVERY)
            self.close()
            self._dialogue, self._resume = self._begun(), True
        if self._dialogue is not None:
            self._due = self._context.clock.now() + self._dialogue.wait

    def _do(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Store(progress):
                    identity.write(self._stored, progress.model_dump_json().encode())
                    self._log.info("renewal", state=progress.state)
                case Connect(who):
                    self.close()
                    if who == "renewed":
                        self._try()
                case Ask(step, nonce):
                    self._ask(step, nonce)
                case Install(certificate):
                    identity.write(self._files[1], self._next_key.read_bytes())
                    identity.write(self._files[0], certificate.encode(), mode=0o644)
                    self._replaced = True
                case Finish():
                    self.close()
                    self._stored.unlink(missing_ok=True)
                    durable.sync_folder(self._stored.parent)  # it must not come back without the others in a power cut
                    for path in (self._next_key, self._next):
                        path.unlink(missing_ok=True)
                    self._dialogue = None
                    self._log.info("renewed", certificate=str(self._files[0]))
                case Say():
                    self._say(effect)

    def _try(self) -> None:
        assert self._dialogue is not None
        identity.write(self._next, (self._dialogue.progress.certificate or "").encode())
        key = identity.Key.open(self._next_key).sha256
        answers = tuple(enroll_topic(self._device, key, last) for last in ("accepted", "rejected"))
        with_it = self._broker.model_copy(update={"certificate_file": self._next, "key_file": self._next_key})
        self._beside = open_publisher(with_it, f"renew-{secrets.token_hex(8)}", answers, None)

    def _ask(self, step: str, nonce: str) -> None:
        assert self._dialogue is not None
        key = identity.Key.open(self._next_key)
        if step == "renew":
            request = RenewRequest(schema=1, nonce=nonce, csr=key.csr(self._device), box=identity.hardware())
            self._out = Message(topic(self._device, "up/renew"), dump(request), expiry=EXPIRY)
            return
        token = self._dialogue.progress.token or ""
        confirm = ConfirmRequest(schema=1, nonce=nonce, token=token, signature=key.sign("confirm", self._device, nonce, token))
        if self._beside is not None:
            self._beside.publish(Message(enroll_topic(self._device, key.sha256, "confirm"), dump(confirm), expiry=EXPIRY))

    def _heard(self, event: Event) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        match event:
            case Connected():
                self._act(dialogue.connected)
            case Disconnected(reason):
                self._act(lambda: dialogue.disconnected(f"with the next certificate: {reason}"))
            case Received():
                self._answer(event.topic, event)
            case Refused(_, reason) | NotListening(_, reason):
                self._say(Say(f"the broker does not let this device confirm its next certificate: {reason}"))

    def _answer(self, name: str, message: Received) -> None:
        dialogue = self._dialogue
        assert dialogue is not None
        payload = message.payload
        answer = read(Accepted, payload) if name.endswith("/accepted") else read(Rejected, payload)
        if isinstance(answer, str):
            self._log.warning(f"an answer that cannot be read was ignored: {answer}")
        else:
            self._act(lambda: dialogue.answered(answer))

    def _fits(self, device: str, chain: str) -> bool:
        assert self._broker.ca_file is not None
        return device == self._device and identity.Key.open(self._next_key).fits(device, chain, self._broker.ca_file.read_bytes())

    def _say(self, said: Say) -> None:
        tell = self._log.warning if said.reason != self._reason else self._log.debug
        tell(said.reason, **({"code": said.code} if said.code else {}))
        self._reason = said.reason


def _next(publisher: MqttPublisher | None) -> Event | None:
    try:
        return None if publisher is None else publisher.events.get_nowait()
    except queue.Empty:
        return None
