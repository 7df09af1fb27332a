"""``mien-fleet serve``: from the broker to the registry, and back. What it serves is listed in ``provisioning/subjects.py``.

Any number of these share the work through a shared subscription, which gives each request to one of them. Sessions are not kept:
Mosquitto would go on queueing requests for one that has died. A request that dies with its process is sent again by the device,
and gets the answer that was stored. One thread does everything, so a request is acknowledged after its answer has left. What has
arrived waits in a queue of our own: paho hands over all that it can read before it writes anything, so the answers to a thousand
requests would leave after the last of them; and there it is seen what a device has asked again (``waiting.py``).
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from provisioning.authority import Authority
from provisioning.certificates import SERVICE
from provisioning.errors import BrokerError, FleetError
from provisioning.fleet import Fleet
from provisioning.registry import Registry
from provisioning.routes import Answer, Context
from provisioning.routes import Properties as Arrived
from provisioning.subjects import SUBJECTS
from provisioning.waiting import Waiting

KEEPALIVE: Final = 30  # seconds
TICK: Final = 0.5  # seconds between two looks at the clock
AT_ONCE: Final = 1000  # messages that the broker may hand over unacknowledged; Mosquitto 2.0.11 hands over more
MOST: Final = 20_000  # messages that wait here; the rest waits in the socket
MAX_PACKET: Final = 16 * 1024  # bytes; no request of the contract is larger
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
        subjects = [make(Context(fleet, authority, registry)) for make in SUBJECTS]
        self._routes = [route for one in subjects for route in one.routes]
        self._ticks = [(0.0, tick) for one in subjects for tick in one.ticks]
        self._log = structlog.get_logger(process="serve")
        self._arrived: Waiting[paho.MQTTMessage] = Waiting()
        self._client = self._make_client()
        self._refusal = ""
        self._troubles: dict[int, str] = {}  # what each tick has complained about last
        self.connected = False

    def run(self, stopping: Callable[[], bool]) -> None:
        """Serve until told to stop.

        Raises:
            BrokerError: The broker does not let this service in, or does not let it listen.
        """
        wait = 1.0
        while not stopping():
            self._tick(connected=self.connected)
            if self._client.socket() is None:
                wait = 1.0 if self.connected else min(LONGEST_WAIT, wait * 2)
                self.connected = False
                if not self._connect():
                    self._pause(wait, stopping)
                    continue
            self._read()
            if self._refusal:
                raise BrokerError(self._refusal)
            if self._arrived:
                self._handle(self._arrived.take())
        self._client.disconnect()
        self._client.loop(TICK)

    def _read(self) -> None:
        """Take all that has come: in a socket nobody sees that it is asked again. Waits ``TICK`` seconds at most."""
        came = -1
        while came != self._arrived.came and len(self._arrived) < MOST:
            came = self._arrived.came
            self._client.loop(0 if self._arrived else TICK)

    def _tick(self, *, connected: bool) -> None:
        """Do the work whose time has come."""
        for number, (due, tick) in enumerate(self._ticks):
            if time.monotonic() < due or not (connected or tick.offline):
                continue
            self._ticks[number] = (time.monotonic() + tick.every, tick)
            trouble = ""
            try:
                self._publish(tick.work(self._registry.now()))
            except FleetError as error:
                trouble = str(error)
                if trouble != self._troubles.get(number):
                    self._log.error(trouble)
            self._troubles[number] = trouble

    def _publish(self, answers: Iterable[Answer], began: float | None = None) -> bool:
        """Hand messages to the broker; returns False when the connection has ended."""
        for answer in answers:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = "application/json"
            said = {
                "MessageExpiryInterval": answer.expiry,
                "CorrelationData": answer.correlation,
                "ResponseTopic": answer.response_topic,
            }
            for name, value in said.items():
                if value is not None:
                    setattr(properties, name, value)
            sent = self._client.publish(answer.topic, answer.payload, answer.qos, answer.retain, properties)
            if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
            if answer.log:
                took = {} if began is None else {"milliseconds": round(1000 * (time.monotonic() - began))}
                self._log.info(**{"event": "sent", "topic": answer.topic, **answer.log, **took})
        return True

    def _handle(self, message: paho.MQTTMessage) -> None:
        """Answer one message, then acknowledge it."""
        properties, payload, began = _properties(message), bytes(message.payload), time.monotonic()
        for route in self._routes:
            if not paho.topic_matches_sub(route.filter, message.topic):
                continue
            try:
                answers = route.handle(message.topic, payload, properties)
                if not self._publish(answers, began):
                    return  # the connection has ended: the device asks again
            except FleetError as error:
                self._log.error(str(error), topic=message.topic)
                continue
            if any(one.settles for one in answers):
                for again in self._arrived.take_all(message.topic):
                    self._client.ack(again.mid, again.qos)
        self._client.ack(message.mid, message.qos)

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
        self._arrived.clear()  # of a connection before: they come again
        wanted = dict.fromkeys(f"$share/{SERVICE}/{one.filter}" if one.shared else one.filter for one in self._routes)
        client.subscribe([(one, SubscribeOptions(qos=1)) for one in wanted])

    def _on_subscribe(self, _: paho.Client, __: Any, ___: int, codes: list[ReasonCode], ____: Any) -> None:
        if any(code.is_failure for code in codes):
            self._refusal = f"the broker does not let this service listen ({codes[0]}); its access list is in broker/acl"
            return
        self.connected = True
        self._log.info("serving", broker=self._fleet.broker, registry=str(self._registry))

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        self._arrived.put(message.topic, message)


def _properties(message: paho.MQTTMessage) -> Arrived:
    said = message.properties
    names = ("CorrelationData", "ResponseTopic", "MessageExpiryInterval")
    correlation, response, expiry = (getattr(said, name, None) for name in names)
    return Arrived(message.retain, correlation, response, expiry)
