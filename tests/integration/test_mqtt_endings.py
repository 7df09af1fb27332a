"""What a broker says when it ends a connection, in the device's words; here the test is the broker."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest

from device.publishers import Connected, Delivered, Disconnected, Event, Message, Refused
from device.publishers.mqtt import MqttPublisher
from tests.integration.test_mqtt import by_hand

TAKEN_OVER = b"\xe0\x02\x8e\x00"
TOO_LARGE = b"\xe0\x02\x95\x00"
NOT_MQTT_5 = b"\x40\x03\x00\x02\x95"  # how Mosquitto 2.0.11 refuses the second message for its size
SHUTTING_DOWN = b"\xe0\x02\x8b\x00"


def events(publisher: MqttPublisher) -> list[Event]:
    """All up to the end of the connection."""
    happened: list[Event] = []
    while not (happened and isinstance(happened[-1], Disconnected)):
        try:
            happened.append(publisher.events.get(timeout=20))
        except queue.Empty:
            raise AssertionError(happened) from None
    return happened


@pytest.mark.parametrize(("said", "taken_over"), [(TAKEN_OVER, True), (SHUTTING_DOWN, False), (b"", False)])
def test_a_connection_that_a_copy_took_over_is_told_from_others(
    connect: Callable[..., MqttPublisher],
    said: bytes,
    taken_over: bool,
) -> None:
    with by_hand(connect) as (publisher, wire):
        wire.sendall(b"\x20\x03\x00\x00\x00" + said)
        if not said:
            wire.close()

        first, end = events(publisher)

    assert first == Connected()
    assert isinstance(end, Disconnected)
    assert end.taken_over == taken_over
    assert ("somebody runs a copy of this device" in end.reason) == taken_over


@pytest.mark.parametrize("said", [TOO_LARGE, NOT_MQTT_5])
def test_the_message_for_which_a_broker_ends_the_connection_is_refused_alone(
    connect: Callable[..., MqttPublisher],
    said: bytes,
) -> None:
    with by_hand(connect) as (publisher, wire):
        wire.sendall(b"\x20\x03\x00\x00\x00")
        assert publisher.events.get(timeout=20) == Connected()
        good, bad, after = (publisher.publish(Message("up", b"report %d" % n)) for n in range(3))
        wire.recv(4096)
        wire.sendall(b"\x40\x02\x00\x01" + said)  # PUBACK of the first

        delivered, refused, end = events(publisher)

    assert delivered == Delivered(good)
    assert isinstance(refused, Refused)
    assert (refused.token, refused.alone) == (bad, True)
    assert refused.token != after
    assert "larger" in refused.reason
    assert isinstance(end, Disconnected)


def test_a_bug_while_connected_ends_the_connection_and_not_all_connections(
    connect: Callable[..., MqttPublisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, left = MqttPublisher._serve, ["first"]

    def broken(publisher: MqttPublisher, *args: Any) -> None:
        if left:
            raise KeyError(left.pop())
        serve(publisher, *args)

    monkeypatch.setattr(MqttPublisher, "_serve", broken)
    with by_hand(connect) as (publisher, _):
        (end,) = events(publisher)

        assert isinstance(end, Disconnected)
        assert "KeyError while connected or connecting ('first'); report this bug" in end.reason
        assert publisher._thread.is_alive()
