"""A broker that answers to pings and confirms nothing, as one whose disk or plugin hangs: a new connection is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.faults.proxy import PUBACK, SUBACK, Proxy

pytestmark = pytest.mark.timeout(180)
KEEPALIVE = 5  # seconds, the least that can be set


@pytest.fixture
def proxy(mosquitto: Mosquitto) -> Iterator[Proxy]:
    with Proxy(mosquitto.port) as made:
        yield made


def test_a_broker_that_answers_to_pings_and_confirms_nothing_is_connected_to_anew(
    device: Device, mosquitto: Mosquitto, proxy: Proxy, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    fleet = listen(mosquitto)
    proxy.lose = frozenset({PUBACK})
    send = mien("send", "--settings", device.write(proxy.url, f"keepalive_seconds = {KEEPALIVE}").put(30).settings)
    wait_for(lambda: proxy.held >= 20, 60, why="as many reports on their way as may be")

    proxy.lose = frozenset()  # those that were lost never come: only what is published again can be confirmed

    wait_for(lambda: device.held("new") == 0, 90, why="the delivery over a new connection")
    wait_for(lambda: 30 in fleet.seqs, why="the last report")
    assert any("has confirmed nothing" in said for said in send.events("warning")), send.events("warning")
    by_id = dict(zip(fleet.ids, fleet.seqs, strict=True))
    assert sorted(by_id.values()) == list(range(1, 31))


def test_a_broker_that_never_answers_whether_this_device_may_listen_is_connected_to_anew(
    device: Device, proxy: Proxy, mien: Callable[..., Process]
) -> None:
    proxy.lose = frozenset({SUBACK})
    more = f"keepalive_seconds = {KEEPALIVE}\ncommands = true"
    send = mien("send", "--settings", device.write(proxy.url, more).put(1).settings)
    wait_for(lambda: proxy.held == 1, 60, why="the answer that is lost")

    wait_for(lambda: send.events("warning"), 60, why="that this is noticed")
    proxy.lose = frozenset()

    assert "has confirmed nothing" in send.events("warning")[0]
    wait_for(lambda: proxy.connections > 1, 60, why="a new connection")
    assert device.held("new") == 0
