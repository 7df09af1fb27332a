"""How a subject (enrolment, commands, twins, rollouts) takes part in ``mien-fleet serve``: routes, and ticks.

Any number of processes serve. A route that is shared gives each message to one of them; whichever it is, it stores its decision
in the registry before the answer leaves, and any of them may die before that: whoever asked asks again. A tick is called by all
of them, and the registry decides who does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from provisioning.authority import Authority
from provisioning.fleet import Fleet
from provisioning.registry import Registry


@dataclass(frozen=True, slots=True)
class Properties:
    """What MQTT 5 says about a message that has arrived.

    Attributes:
        retained: It was there before this process came.
        correlation, response_topic, expires_in: As its sender, or the broker, says.
    """

    retained: bool = False
    correlation: bytes | None = None
    response_topic: str | None = None
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A message to publish.

    Attributes:
        qos: 0 for the answer to a device that asks again until it has one. Mosquitto 2.0.11 hands all requests that wait to one
            service, whatever that permits; at QoS 1 each answer would wait for an acknowledgement that comes behind all of them.
        payload: JSON; empty and retained removes what the broker keeps.
        expiry: Seconds after which the broker may throw it away; ``None`` keeps it.
        settles: Whether this answers all that was asked on the topic until now: what else waits there is not handled any more.
        log: What the service's log says about it, with ``event`` as its first word; nothing when empty.
    """

    topic: str
    payload: bytes
    retain: bool = False
    expiry: int | None = None
    correlation: bytes | None = None
    response_topic: str | None = None
    qos: int = 1
    settles: bool = False
    log: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """Messages that a subject answers.

    Attributes:
        filter: Of topics, with ``+`` and ``#``.
        handle: Topic, payload and properties in, answers out. Stores what it decides first. Raises nothing but ``FleetError``,
            after which the message is lost: its sender repeats it.
        shared: Whether one of all processes gets each message. If not, each gets all, and what is retained too when it connects.
    """

    filter: str
    handle: Callable[[str, bytes, Properties], list[Answer]]
    shared: bool = True


@dataclass(frozen=True, slots=True)
class Tick:
    """Work that comes with time.

    Attributes:
        work: Called with seconds since 1970; returns what to publish. May raise ``FleetError``, which is logged.
        every: Seconds between two calls, at least.
        offline: Called also without a connection; what it then wants to publish is lost.
    """

    work: Callable[[int], list[Answer]]
    every: float
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """All that one subject does in the service."""

    routes: tuple[Route, ...] = ()
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What a subject may use."""

    fleet: Fleet
    authority: Authority
    registry: Registry
