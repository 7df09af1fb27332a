"""One connection of a simulated device: paho without a thread, driven by whoever has the selector.

paho connects and shakes hands while its caller waits. Here a thousand devices share one thread and must not wait for each other, so
TCP and TLS are made without blocking, and paho is handed a socket that is ready.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MQTTException, Properties  # type: ignore[attr-defined]  # 2.1 defines it here
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from provisioning.simulate.acts import Open, Publish
from provisioning.simulate.obey import Request

KEEPALIVE: Final = 30  # seconds, the default of a device
CONNECT_SECONDS: Final = 10.0
MAX_PACKET: Final = 64 * 1024  # bytes that may come down at once, as on a device
GARBLED: Final = (MQTTException, ValueError, LookupError, TypeError, struct.error)


@dataclass(frozen=True, slots=True)
class Stands:
    """The broker said yes, and the topics were asked for."""


@dataclass(frozen=True, slots=True)
class Came:
    """A message came down."""

    topic: str
    payload: bytes
    request: Request


@dataclass(frozen=True, slots=True)
class Taken:
    """The broker has a message."""

    token: int


Happening = Stands | Came | Taken


class _Client(paho.Client):
    """A paho client whose socket was made beforehand."""

    ready: ssl.SSLSocket

    def _create_socket(self) -> ssl.SSLSocket:
        return self.ready


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is: its name, by which its certificate is checked, and what that resolved to."""

    host: str
    family: int
    where: tuple[Any, ...]

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """The first address of a host that takes connections. Raises OSError when there is none."""
        with socket.create_connection((host, port), CONNECT_SECONDS) as probe:
            return cls(host, probe.family, probe.getpeername())


class Link:
    """A connection.

    Args:
        client_id: Its name.
        context: Whom to trust, and who this is.
        what: Topics and last will.

    Attributes:
        stood_since: When the broker said yes, on the monotonic clock; ``None`` when it has not.
        shaking: Whether there is no MQTT yet: TCP or TLS is being made.
    """

    def __init__(self, client_id: str, context: ssl.SSLContext, what: Open) -> None:
        self.stood_since: float | None = None
        self._began = time.monotonic()
        self._what, self._context = what, context
        self._happened: list[Happening] = []
        self._tokens: dict[int, int] = {}
        self.shaking, self._writes, self._host = True, True, ""
        self._wire: socket.socket | None = None
        self._client = _Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, reconnect_on_failure=False)
        self._client.suppress_exceptions = False
        if (will := what.will) is not None:
            self._client.will_set(will.topic, will.payload, 1, will.retain, _properties(will, PacketTypes.WILLMESSAGE))
        self._client.on_connect, self._client.on_publish = self._on_connect, self._on_publish
        self._client.on_message = self._on_message

    def connect(self, address: Address) -> bool:
        """Begin to connect; false when that is refused at once."""
        self._host, self._wire = address.host, socket.socket(address.family, socket.SOCK_STREAM)
        self._wire.setblocking(False)
        if self._wire.connect_ex(address.where) in (0, errno.EINPROGRESS):
            return True
        self.cut()
        return False

    @property
    def wire(self) -> socket.socket | None:
        """What is to be watched; None once the connection has ended."""
        return self._wire if self.shaking or self._client.socket() is not None else None

    @property
    def wants_to_write(self) -> bool:
        return self._writes if self.shaking else self._client.want_write()

    def read(self) -> list[Happening]:
        """Take what has come, all of it; returns what it was. While ``shaking``, go on with that: also for what can be written."""
        if self.shaking:
            self._shake_hands()
            return []
        try:
            while isinstance(wire := self.wire, ssl.SSLSocket):
                self._client.loop_read()
                if self.wire is None or not wire.pending():
                    break
        except GARBLED:
            self.cut()
        happened, self._happened = self._happened, []
        return happened

    def write(self) -> None:
        """Send what waits, as much as goes."""
        if not self.shaking and self._client.want_write():
            self._client.loop_write()

    def look_at_the_clock(self) -> None:
        """Ping when it is time; give up on a broker that does not answer."""
        if not self.shaking:
            self._client.loop_misc()
        if self.stood_since is None and time.monotonic() - self._began > CONNECT_SECONDS:
            self.cut()

    def publish(self, message: Publish) -> None:
        sent = self._client.publish(message.topic, message.payload, 1, message.retain, _properties(message, PacketTypes.PUBLISH))
        if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and message.token:
            self._tokens[sent.mid] = message.token

    def cut(self) -> None:
        """End it without a word: the last will speaks."""
        if self._wire is not None:
            self._wire.close()
        self._wire = None

    def close(self) -> None:
        """End it with DISCONNECT."""
        if not self.shaking:
            self._client.disconnect()
            self.write()
        self.cut()

    def _shake_hands(self) -> None:
        """Go on with TLS, as far as it goes; then say CONNECT."""
        if self._wire is None:
            return
        try:
            if not isinstance(self._wire, ssl.SSLSocket):
                if self._wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.cut()
                    return
                self._wire = self._context.wrap_socket(self._wire, server_hostname=self._host, do_handshake_on_connect=False)
            self._wire.do_handshake()
        except ssl.SSLWantReadError:
            self._writes = False
        except ssl.SSLWantWriteError:
            self._writes = True
        except OSError:
            self.cut()
        else:
            self.shaking = False
            self._client.ready = self._wire
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = MAX_PACKET
            self._client.connect(self._host, keepalive=KEEPALIVE, clean_start=True, properties=properties)

    # Called by paho

    def _on_connect(self, client: paho.Client, _: Any, __: Any, code: ReasonCode, ___: Any) -> None:
        if code.is_failure:
            client.disconnect()
            return
        self.stood_since = time.monotonic()
        client.subscribe([(name, SubscribeOptions(qos=1)) for name in self._what.topics])
        self._happened.append(Stands())

    def _on_publish(self, _: paho.Client, __: Any, mid: int, code: ReasonCode, ___: Any) -> None:
        if (token := self._tokens.pop(mid, None)) is not None and not code.is_failure:
            self._happened.append(Taken(token))

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        said: Callable[[str], Any] = lambda name: getattr(message.properties, name, None)  # noqa: E731
        request = Request(said("ResponseTopic"), said("CorrelationData"), said("MessageExpiryInterval"))
        self._happened.append(Came(message.topic, bytes(message.payload), request))


def _properties(message: Publish, packet: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    if message.expiry is not None:
        properties.MessageExpiryInterval = message.expiry
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    return properties
