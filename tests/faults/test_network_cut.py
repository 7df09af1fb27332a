"""Connections that die, silently or not: nothing is lost, and no id stands for two reports."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.faults.proxy import PUBACK, Proxy

pytestmark = pytest.mark.timeout(180)
Mien = Callable[..., Process]
Listen = Callable[..., Listener]
KEEPALIVE = 5  # seconds, the least that can be set


@pytest.fixture
def proxy(mosquitto: Mosquitto) -> Iterator[Proxy]:
    with Proxy(mosquitto.port) as made:
        yield made


def each_once(fleet: Listener, newest: int) -> None:
    """A consumer that drops repeated ids has every report once."""
    by_id = dict(zip(fleet.ids, fleet.seqs, strict=True))
    assert sorted(by_id.values()) == list(range(1, newest + 1))


def test_a_process_killed_between_publish_and_its_confirmation_sends_the_same_again(
    device: Device, mosquitto: Mosquitto, proxy: Proxy, mien: Mien, listen: Listen
) -> None:
    fleet = listen(mosquitto)
    proxy.hold = frozenset({PUBACK})
    send = mien("send", "--settings", device.write(proxy.url).put(5).settings)
    wait_for(lambda: fleet.seqs == [1, 2, 3, 4, 5], 60, why="the reports")
    wait_for(lambda: proxy.held >= 6, why="the confirmations of a status and five reports")
    assert device.held("new") == 5
    send.end(signal.SIGKILL)
    first = fleet.ids

    proxy.hold = frozenset()
    mien("send", "--settings", device.settings)

    wait_for(lambda: device.held("new") == 0, 60, why="the delivery")
    wait_for(lambda: fleet.seqs[5:] == [1, 2, 3, 4, 5], why="the same again")
    assert fleet.ids[5:] == first
    each_once(fleet, 5)


def test_a_connection_that_is_silently_dead_is_found_within_one_and_a_half_keepalives(
    device: Device, mosquitto: Mosquitto, proxy: Proxy, mien: Mien, listen: Listen
) -> None:
    fleet = listen(mosquitto)
    send = mien("send", "--settings", device.write(proxy.url, f"keepalive_seconds = {KEEPALIVE}").put(1).settings)
    wait_for(lambda: fleet.seqs == [1] and device.held("new") == 0, 60, why="the first report")

    proxy.silent, began = True, time.monotonic()
    device.put(2)
    wait_for(lambda: send.events("warning"), 60, why="that the silence is noticed")
    noticed = time.monotonic() - began
    proxy.silent = False

    print(f"noticed after {noticed:.1f} s with a keepalive of {KEEPALIVE} s")
    assert noticed < 1.5 * KEEPALIVE + 1.0  # a second for this busy machine
    assert "nothing was heard for 7 seconds, not even an answer to a ping" in send.events("warning")[0]
    wait_for(lambda: device.held("new") == 0, 60, why="the reports that waited")
    wait_for(lambda: fleet.seqs[-1] == 3, why="the last report")
    each_once(fleet, 3)


def test_a_quiet_connection_that_lives_is_left_alone(
    device: Device, mosquitto: Mosquitto, proxy: Proxy, mien: Mien, listen: Listen
) -> None:
    fleet = listen(mosquitto)
    send = mien("send", "--settings", device.write(proxy.url, f"keepalive_seconds = {KEEPALIVE}").settings)
    wait_for(lambda: fleet.statuses, 60, why="the birth")

    over = time.monotonic() + 3 * KEEPALIVE
    wait_for(lambda: time.monotonic() > over, 60, why="three times the keepalive")

    assert not send.events("warning")
    assert proxy.connections == 1


def test_a_slow_stalling_and_cutting_network_delivers_everything(
    device: Device, mosquitto: Mosquitto, proxy: Proxy, mien: Mien, listen: Listen
) -> None:
    fleet = listen(mosquitto, "-t", "mien/v1/shelf-7/up/report")
    proxy.delay, proxy.stall, proxy.rate, proxy.cut_after = 0.05, 0.02, 40_000, (60, 200)

    mien("send", "--settings", device.write(proxy.url).put(200).settings)

    wait_for(lambda: device.held("new") == 0, 150, why="the delivery")
    wait_for(lambda: 200 in fleet.seqs, why="the last report")
    assert proxy.cuts >= 2
    each_once(fleet, 200)


def test_the_last_will_is_set_again_with_each_connection(
    device: Device, mosquitto: Mosquitto, proxy: Proxy, mien: Mien, listen: Listen
) -> None:
    fleet = listen(mosquitto)
    send = mien("send", "--settings", device.write(proxy.url).settings)
    wait_for(lambda: fleet.statuses, 60, why="the birth")
    proxy.cut()
    wait_for(lambda: len(fleet.statuses) == 3, 60, why="the will of the first connection, and the second birth")

    send.end(signal.SIGKILL)

    wait_for(lambda: len(fleet.statuses) == 4, 60, why="the will of the second connection")
    assert [message["payload"]["state"] for message in fleet.statuses] == ["online", "lost", "online", "lost"]
    assert len({message["payload"]["session"] for message in fleet.statuses}) == 1
    late = listen(mosquitto)
    wait_for(lambda: late.statuses, why="the retained status")
    assert late.statuses[0]["payload"]["state"] == "lost"
