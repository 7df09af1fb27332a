"""What paho leaves behind in the interpreter."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("paho.mqtt")

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.publishers._packets import forget_names


def references(names: list[str]) -> int:
    return sum(sys.getrefcount(name) for name in names)


def test_names_that_were_asked_for_once_are_forgotten() -> None:
    names = [f"Name {number}".replace(" ", "") for number in range(1000)]  # made anew, as paho does
    forget_names()
    alone = references(names)
    assert not any(hasattr(Properties(PacketTypes.PUBLISH), name) for name in names)  # type: ignore[no-untyped-call]
    held = references(names)

    forget_names()

    assert held > alone
    assert references(names) == alone
