"""Ways out of the device, one per module, behind one port.

A publisher works in its own thread and tells what happens as events on a queue, in order; ``send`` decides what they mean.
The module named in the settings has one function, ``open_publisher(settings, client_id, topics, last_will)``.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import Protocol

from device.settings import BrokerSettings


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish.

    Attributes:
        topic: The full topic.
        payload: JSON, in UTF-8.
        retain: Whether the broker keeps it for later subscribers.
        expiry: Seconds after which the broker may throw it away undelivered; ``None`` keeps it.
        attributes: CloudEvents attributes, sent as user properties.
        correlation: Repeated from the request that this answers, so that whoever asked knows which it was.
    """

    topic: str
    payload: bytes
    retain: bool = False
    expiry: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """Messages can be published."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or could not be made. What was unconfirmed is unknown.

    Attributes:
        reason: Why, and what to do.
        retry_in: Seconds until the next attempt.
        taken_over: Another connection with the name of this one has taken its place.
    """

    reason: str
    retry_in: float
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker has taken the message published as ``token``."""

    token: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker, or its limits, refuse the message published as ``token``.

    Attributes:
        alone: Because of what this message is, such as too large; others may be taken.
    """

    token: int
    reason: str
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A message came down.

    Attributes:
        topic: The full topic.
        payload: As it came: not checked, and perhaps much longer than the contract allows.
        response_topic: Where whoever sent it wants the answer; not checked either.
        correlation: What the answer is to repeat.
        expires_in: Seconds after which it is not to be acted on any more, counted by the broker down to now; ``None``: never.
    """

    topic: str
    payload: bytes
    response_topic: str | None = None
    correlation: bytes | None = None
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class NotListening:
    """The broker does not let this device listen to ``topic``."""

    topic: str
    reason: str


Event = Connected | Disconnected | Delivered | Refused | Received | NotListening


class Publisher(Protocol):
    """A way out."""

    events: queue.Queue[Event]

    def publish(self, message: Message) -> int:
        """Hand over a message; returns the token by which ``Delivered`` or ``Refused`` will name it.

        At least once: until ``Delivered``, nobody knows whether it arrived.
        """
        ...

    def close(self, farewell: Message | None, timeout: float) -> None:
        """Wait at most ``timeout`` seconds until all that was handed over is delivered, and after it a last message; disconnect.

        Without a connection, or when the time is over, the last will speaks instead.
        """
        ...


class OpenPublisher(Protocol):
    """The one function of a publisher's module.

    Args:
        settings: Where to and as whom.
        client_id: The name of the connection.
        topics: What to listen to.
        last_will: What the broker publishes when the connection is lost.

    Raises:
        BrokerError: A file that the settings name cannot be used.
    """

    def __call__(self, settings: BrokerSettings, client_id: str, topics: tuple[str, ...], last_will: Message) -> Publisher: ...
