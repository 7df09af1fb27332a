"""``mien-fleet serve``: requests from the broker to the registry, answers back.

Any number of these share the work through a shared subscription, which gives each request to one of them. Sessions are not kept:
Mosquitto would go on queueing requests for one that has died. A request that dies with its process is sent again by the device,
and gets the answer that was stored. One thread does everything, so a request is acknowledged after its answer has left.
"""

from __future__ import annotations

import datetime as dt
import secrets
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from device.contract_enroll import ENROLL_ROOT, REQUESTS
from provisioning import fleet as fleets
from provisioning import manage
from provisioning.authority import Authority
from provisioning.certificates import SERVICE
from provisioning.errors import BrokerError, FleetError
from provisioning.fleet import Fleet
from provisioning.intake import Intake
from provisioning.registry import Registry

KEEPALIVE: Final = 30  # seconds
TICK: Final = 0.5  # seconds between two looks at the clock
HOUSEKEEPING: Final = 30.0  # seconds between two looks for certificates that have ended
AT_ONCE: Final = 50  # requests that the broker may hand over unacknowledged: the rest is for the other processes
MAX_PACKET: Final = 16 * 1024  # bytes; no request of the contract is larger
ANSWER_EXPIRY: Final = 300  # seconds that an answer is worth something
LONGEST_WAIT: Final = 15.0  # seconds between two attempts to connect


class Service:
    """One process of the fleet's side.

    Args:
        fleet: The folder, for the service's identity.
        authority: Who signs.
        registry: Where everything is stored.
        port: Of the broker, when it is not that of the fleet's URL.
    """

    def __init__(self, fleet: Fleet, authority: Authority, registry: Registry, *, port: int | None = None) -> None:
        self._fleet, self._authority, self._registry = fleet, authority, registry
        self._port = port or fleet.port
        self._intake = Intake(registry, authority)
        self._log = structlog.get_logger(process="serve")
        self._client = self._make_client()
        self._refusal = ""
        self.connected = False

    def run(self, stopping: Callable[[], bool]) -> None:
        """Serve until told to stop.

        Raises:
            BrokerError: The broker does not let this service in, or does not let it listen.
        """
        next_look, wait = 0.0, 1.0
        while not stopping():
            if self._client.socket() is None:
                wait = 1.0 if self.connected else min(LONGEST_WAIT, wait * 2)
                self.connected = False
                if not self._connect():
                    self._pause(wait, stopping)
                    continue
            self._client.loop(TICK)
            if self._refusal:
                raise BrokerError(self._refusal)
            if time.monotonic() >= next_look:
                self.look_after_certificates()
                next_look = time.monotonic() + HOUSEKEEPING
        self._client.disconnect()
        self._client.loop(TICK)

    def look_after_certificates(self) -> None:
        """Put what has ended on the revocation list, and renew the list before it ends; several processes may do so at once."""
        try:
            if numbers := manage.ended(self._registry):
                for number, end in numbers.items():
                    self._authority.revoke(int(number, 16), dt.datetime.fromtimestamp(end, dt.timezone.utc))
                manage.on_the_list(self._registry, numbers)
                self._log.info("revoked", certificates=len(numbers))
            fleets.renew_crl(self._fleet, self._authority)
        except FleetError as error:
            self._log.error(str(error))

    def _connect(self) -> bool:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum, properties.MaximumPacketSize = AT_ONCE, MAX_PACKET
        try:
            self._client.connect(self._fleet.host, self._port, KEEPALIVE, clean_start=True, properties=properties)
        except ssl.SSLError as error:
            self._log.warning(
                f"the broker and this service do not trust each other ({error.reason}); check {self._fleet.folder}/service"
            )
        except OSError as error:
            self._log.warning(f"the broker at {self._fleet.broker} cannot be reached ({error.strerror or error}); is it running?")
        else:
            return True
        return False

    def _pause(self, seconds: float, stopping: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not stopping():
            time.sleep(min(TICK, max(0.0, end - time.monotonic())))

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{SERVICE}-{secrets.token_hex(6)}",
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        certificate, key = self._fleet.service
        try:
            context = ssl.create_default_context(cafile=str(self._fleet.ca))
            context.load_cert_chain(certificate, key, password="")
        except OSError as error:
            raise BrokerError(f"{certificate}: cannot be used ({error}); run mien-fleet renew {self._fleet.folder}") from None
        client.tls_set_context(context)
        client.on_connect, client.on_message, client.on_subscribe = self._on_connect, self._on_message, self._on_subscribe
        return client

    # Called by paho

    def _on_connect(self, client: paho.Client, _: Any, __: Any, code: ReasonCode, ___: Any) -> None:
        if code.is_failure:
            self._refusal = f"the broker refuses this service ({code}); check its access list and {self._fleet.folder}/service"
            return
        shared = [(f"$share/{SERVICE}/{ENROLL_ROOT}/+/+/{step}", SubscribeOptions(qos=1)) for step in REQUESTS]
        client.subscribe(shared)

    def _on_subscribe(self, _: paho.Client, __: Any, ___: int, codes: list[ReasonCode], ____: Any) -> None:
        if any(code.is_failure for code in codes):
            self._refusal = f"the broker does not let this service listen ({codes[0]}); its access list is in broker/acl"
            return
        self.connected = True
        self._log.info("serving", broker=self._fleet.broker, registry=str(self._registry))

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        began = time.monotonic()
        answer = self._intake.handle(message.topic, bytes(message.payload))
        if answer is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType, properties.MessageExpiryInterval = "application/json", ANSWER_EXPIRY
            if client.publish(answer.topic, answer.payload, 1, False, properties).rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return  # the connection has ended: the device asks again
            decision = answer.decision
            self._log.info(
                message.topic.rsplit("/", 1)[1],
                topic=message.topic,
                code=decision.code or "accepted",
                message=decision.message,
                device=decision.device,
                milliseconds=round(1000 * (time.monotonic() - began)),
            )
        client.ack(message.mid, message.qos)
