"""What a simulated device wants done. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from device.enroll import Who


@dataclass(frozen=True, slots=True)
class Publish:
    """A message, QoS 1; ``token`` comes back when the broker has it.

    Attributes:
        expiry: Seconds; ``None`` for ever.
        correlation: Of the request that this answers.
    """

    topic: str
    payload: bytes
    token: int = 0
    retain: bool = False
    expiry: int | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """Connect as the claim or as the device, listen to these topics, and leave a last will."""

    who: Who
    topics: tuple[str, ...]
    will: Publish | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection; ``abrupt``: without a word, as when the power goes."""

    abrupt: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """Something that is counted. ``value`` depends on what it is."""

    kind: str
    value: float = 0.0


Act = Publish | Open | Close | Tell
