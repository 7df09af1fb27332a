"""MQTT 5 through paho-mqtt.

paho keeps its session in memory only and reconnects without jitter, so each connection here is a fresh client, and what was
not confirmed is published again from the spool. A 3.1.1 broker is refused: it reports success for a publish that its access
list has thrown away.
"""

from __future__ import annotations

import queue
import random
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from device.errors import BrokerError
from device.publishers import Connected, Delivered, Disconnected, Event, Message, Received, Refused
from device.settings import BrokerSettings

FIRST_WAIT: Final = 1.0  # seconds; doubles with each failure
CONNECT_TIMEOUT: Final = 10.0  # seconds for TCP, TLS and CONNACK
HEADER_BYTES: Final = 16  # of an MQTT PUBLISH beside topic, properties and payload
MAX_RECEIVED: Final = 100  # downward messages waiting to be read; beyond, they are dropped: what matters is retained


class MqttPublisher:
    """A connection that is made again and again, with full jitter between the attempts."""

    def __init__(self, settings: BrokerSettings, client_id: str, topics: tuple[str, ...], last_will: Message) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self._settings = settings
        self._client_id = client_id
        self._topics = topics
        self._last_will = last_will
        self._tls = _tls_context(settings) if settings.tls else None
        self._password = _first_line(settings.password_file) if settings.password_file else None
        self._closing = threading.Event()
        self._sending = threading.Lock()
        self._client: paho.Client | None = None
        self._tokens: dict[int, int] = {}  # of this connection: message id → token
        self._next_token = 1
        self._largest: int | None = None  # bytes in a packet, as the broker says
        self._thread = threading.Thread(target=self._keep_connected, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, message: Message) -> int:
        with self._sending:
            token, self._next_token = self._next_token, self._next_token + 1
            if self._client is None:
                return token  # Disconnected is in the queue: everything unconfirmed is published again
            size = HEADER_BYTES + len(message.topic) + len(message.payload)
            size += sum(len(name) + len(value) + 5 for name, value in message.attributes.items())
            if self._largest is not None and size > self._largest:
                self.events.put(Refused(token, f"the broker takes packets of {self._largest} bytes at most, this one has {size}"))
                return token
            sent = self._client.publish(message.topic, message.payload, 1, message.retain, _properties(message, PacketTypes.PUBLISH))
            if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._tokens[sent.mid] = token
            return token

    def close(self, farewell: Message | None, timeout: float) -> None:
        client = self._client
        if client is not None and farewell is not None:
            info = client.publish(farewell.topic, farewell.payload, 1, farewell.retain, _properties(farewell, PacketTypes.PUBLISH))
            try:
                info.wait_for_publish(timeout)
            except (ValueError, RuntimeError):  # the connection ended meanwhile: the last will speaks
                pass
        self._closing.set()
        if client is not None:
            client.disconnect()
        self._thread.join(timeout)

    # The network thread

    def _keep_connected(self) -> None:
        failures = 0
        while not self._closing.is_set():
            reason, was_connected = self._connect_once()
            failures = 0 if was_connected else failures + 1
            if self._closing.is_set():
                return
            # Full jitter: anywhere up to the limit, so that a fleet does not come back at once.
            limit = min(self._settings.longest_wait_seconds, FIRST_WAIT * 2 ** min(failures, 20))
            wait = random.uniform(0, limit)  # noqa: S311 (no secret)
            self.events.put(Disconnected(reason, wait))
            self._closing.wait(wait)

    def _connect_once(self) -> tuple[str, bool]:
        """Connect, stay connected, and return why that ended and whether it had begun."""
        outcome = _Outcome()
        client = self._make_client(outcome)
        try:
            client.connect(self._settings.host, self._settings.port, self._settings.keepalive_seconds, clean_start=True)
            client.loop_forever(timeout=0.5, retry_first_connection=False)
        except ssl.SSLCertVerificationError as error:
            outcome.reason = f"the broker's certificate is not to be trusted ({error.verify_message}); check ca_file and the url"
        except ssl.SSLError as error:
            outcome.reason = f"TLS failed ({error.reason or error}); does the broker speak TLS on this port?"
        except socket.gaierror as error:
            outcome.reason = f"no such host ({error.strerror}); check the url and the name server"
        except OSError as error:
            outcome.reason = f"cannot reach it ({error.strerror or error}); check the url and that the broker is running"
        finally:
            with self._sending:
                self._client = None
                self._tokens.clear()
            _close_socket(client)
        return f"{self._settings.url}: {outcome.explain()}", outcome.connected

    def _make_client(self, outcome: _Outcome) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.suppress_exceptions = False
        if self._settings.username:
            client.username_pw_set(self._settings.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        will = self._last_will
        client.will_set(will.topic, will.payload, 1, will.retain, _properties(will, PacketTypes.WILLMESSAGE))

        def on_connect(client: paho.Client, _: Any, __: Any, code: ReasonCode, properties: Properties | None) -> None:
            if code.is_failure:
                outcome.refused = str(code)
                client.disconnect()
                return
            outcome.connected = True
            self._largest = getattr(properties, "MaximumPacketSize", None)
            if self._topics:
                client.subscribe([(name, SubscribeOptions(qos=1)) for name in self._topics])
            with self._sending:
                self._client = client
            self.events.put(Connected())

        def on_disconnect(_: paho.Client, __: Any, ___: Any, code: ReasonCode, ____: Any) -> None:
            outcome.reason = outcome.reason or f"the connection ended ({code})"

        def on_publish(_: paho.Client, __: Any, mid: int, code: ReasonCode, ___: Any) -> None:
            with self._sending:
                token = self._tokens.pop(mid, None)
            if token is not None:
                self.events.put(Refused(token, str(code)) if code.is_failure else Delivered(token))

        def on_message(_: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
            if self.events.qsize() < MAX_RECEIVED:
                self.events.put(Received(message.topic, message.payload))

        client.on_connect, client.on_disconnect = on_connect, on_disconnect
        client.on_publish, client.on_message = on_publish, on_message
        return client


class _Outcome:
    """How one connection went."""

    def __init__(self) -> None:
        self.connected = False
        self.refused = ""
        self.reason = ""

    def explain(self) -> str:
        if self.refused == "Unsupported protocol version":
            return "the broker does not speak MQTT 5, which mien needs to know what was really taken; upgrade it or allow version 5"
        if self.refused:
            return f"the broker refuses this device ({self.refused}); check its username, password and certificate, and the broker's log"
        if not self.connected and self.reason.startswith("the connection ended"):
            return f"{self.reason.rstrip(')')} before the broker answered); does it speak MQTT 5, and TLS or not as the url says?"
        return self.reason or "the connection ended"


def _properties(message: Message, packet: int) -> Properties:
    properties = Properties(packet)
    properties.ContentType = "application/json"
    if message.expiry is not None:
        properties.MessageExpiryInterval = message.expiry
    if message.attributes:
        properties.UserProperty = list(message.attributes.items())
    return properties


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    what = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        what = settings.certificate_file
        if settings.certificate_file:
            context.load_cert_chain(settings.certificate_file, settings.key_file)
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None) or error.strerror
        raise BrokerError(f"{what}: cannot be used for TLS ({reason}); expected PEM, a certificate and its own key") from error
    return context


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise BrokerError(f"{path}: cannot read the password ({error}); expected it on the first line") from error


def _close_socket(client: paho.Client) -> None:
    connection = client.socket()
    if connection is not None:
        connection.close()


def open_publisher(settings: BrokerSettings, client_id: str, topics: tuple[str, ...], last_will: Message) -> MqttPublisher:
    """Start to connect, and go on for ever.

    Raises:
        BrokerError: A certificate, key or password file cannot be used.
    """
    return MqttPublisher(settings, client_id, topics, last_will)
