"""What paho is told about a packet of MQTT 5, and what it leaves behind."""

from __future__ import annotations

import sys
from typing import Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.publishers import Message

MAX_PACKET: Final = 64 * 1024  # bytes that may come down at once: what is longer, the broker keeps


def message_properties(message: Message, packet: int) -> Properties:
    """The MQTT 5 properties of a message, or of a last will."""
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    if message.expiry is not None:
        properties.MessageExpiryInterval = message.expiry
    if message.attributes:
        properties.UserProperty = list(message.attributes.items())
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    return properties


def packet_bytes(message: Message, properties: Properties) -> int:
    """Bytes of the PUBLISH packet, QoS 1: what a broker's maximum is about (MQTT 5.0, 2.1 and 3.3)."""
    packed: bytes = properties.pack()  # type: ignore[no-untyped-call]
    length = 2 + len(message.topic.encode()) + 2 + len(packed) + len(message.payload)
    digits = next(n for n in (1, 2, 3, 4) if length < 128**n)
    return 1 + digits + length


def forget_names() -> None:
    """Empty CPython's cache of attributes.

    paho looks for attributes by names that it puts together anew for each packet. Each takes a place in that cache, which has 4,096
    of them, so that for days memory would creep up.
    """
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()  # noqa: SLF001 (in the documentation)
    else:
        sys._clear_type_cache()  # noqa: SLF001 (in the documentation)


def connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = MAX_PACKET
    return properties
