"""Whom the sending process may talk to: the broker's addresses and the name servers, for systemd's ``IPAddressAllow``.

The kernel then drops every other packet of that process, whatever it has become. Settings and name servers alone say what is
allowed, never anything that the sending process has written. An address that a name had within a day stays allowed, because a name
may have more of them than one answer tells.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from device import durable
from device.errors import BrokerError, OutputError
from device.settings import Settings

RESOLV_CONF: Final = Path("/etc/resolv.conf")
KEPT: Final = 86_400.0  # seconds that an address stays allowed after it was last found
MOST: Final = 64  # addresses
MAX_BYTES: Final = 16_384  # of a file


class Known(BaseModel):
    """What earlier looks have found.

    Attributes:
        hosts: That were looked up; what was found for others does not count.
        seen: Each address, and when it was last found, seconds on the monotonic clock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: tuple[str, ...] = ()
    seen: dict[str, float] = {}

    @classmethod
    def read(cls, path: Path | None) -> Known:
        """From a file; empty where there is none, or none that can be read."""
        with suppress(OSError, ValidationError):
            content = None if path is None else durable.read_regular(path, MAX_BYTES)
            return cls() if content is None else cls.model_validate_json(content)
        return cls()

    def write(self, path: Path) -> None:
        """Into a file.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            durable.write(path, self.model_dump_json().encode(), mode=0o600)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); run as root, or leave --known out") from None


def hosts(settings: Settings, also: str = "") -> tuple[str, ...]:
    """The broker's host, if there is a broker, and those in a text with one host a line; ``#`` begins a comment."""
    broker = (settings.broker.host,) if settings.broker.publisher == "mqtt" else ()
    further = (line.partition("#")[0].strip() for line in also.splitlines())
    return tuple(dict.fromkeys((*broker, *filter(None, further))))


def name_servers(resolv_conf: str) -> tuple[str, ...]:
    """The addresses in the text of a resolv.conf(5)."""
    words = (line.split() for line in resolv_conf.splitlines())
    return tuple(filter(None, (_address(found[1]) for found in words if found[:1] == ["nameserver"] and len(found) > 1)))


def later(known: Known, wanted: tuple[str, ...], found: Iterable[str], now: float) -> Known:
    """What is known after a look: what was found now, and what was found for the same hosts within a day; the newest 64."""
    old: Mapping[str, float] = known.seen if known.hosts == wanted else {}
    kept = {address: at for address, at in old.items() if 0 <= now - at < KEPT}
    newest = sorted({**kept, **dict.fromkeys(found, now)}.items(), key=lambda one: (-one[1], one[0]))
    return Known(hosts=wanted, seen=dict(newest[:MOST]))


def is_address(host: str) -> bool:
    """Whether a host is an address already, so that no name server is needed."""
    return _address(host) is not None


def look_up(host: str) -> tuple[str, ...]:
    """All IPv4 and IPv6 addresses of a host.

    Raises:
        BrokerError: It has none, or no name server answers.
    """
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a possible name"
        raise BrokerError(f"{host}: has no address ({reason}); check broker.url, and the name server") from None
    return tuple(dict.fromkeys(filter(None, (_address(str(answer[4][0])) for answer in answers))))


def _address(text: str) -> str | None:
    """An address as systemd writes it, without the interface of a link-local one; ``None`` if it is none."""
    try:
        return str(ipaddress.ip_address(text.strip("[]").partition("%")[0]))
    except ValueError:
        return None
