"""Sixty hours without a network at one report a minute; then it is back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from device.settings import SpoolSettings, parse
from tests.build import Device, put_reports, settings_text
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.timeout(300)
WEEKEND = 60 * 60  # reports: one a minute for 60 hours
MINUTE = 60.0


def test_the_spool_holds_a_weekend_of_minutes_by_default(device: Device) -> None:
    settings = parse(settings_text(device.folder, top="window_seconds = 60").replace("window_seconds = 5\n", ""), "settings.toml")

    assert settings.spool == SpoolSettings(folder=settings.spool.folder)  # as it comes
    assert settings.spool_files >= 2 * WEEKEND
    assert settings.spool.megabytes * 1e6 >= 2 * WEEKEND * 4096


def test_a_weekend_without_network_is_there_in_order_within_a_minute_and_live_reports_do_not_wait_for_it(
    device: Device, start_mosquitto: Callable[..., Mosquitto], mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    broker = start_mosquitto("max_queued_messages 0\n")
    fleet = listen(broker, "-t", "mien/v1/shelf-7/up/report")
    waited = put_reports(device.folder / "spool", WEEKEND)
    new = device.folder / "spool" / "new"
    with Proxy(broker.port) as proxy:
        proxy.refusing = True
        proxy.delay = 0.02  # a round trip of 40 ms: a home's line far from its broker
        send = mien("send", "--settings", device.write(proxy.url).settings)
        wait_for(lambda: send.events("warning"), 60, why="a first attempt without a network")

        proxy.refusing = False
        wait_for(lambda: "connected" in send.events(), 60, why="the connection")
        began = time.monotonic()
        lives, delays = [], []
        for left in range(WEEKEND - 400, 200, -800):
            wait_for(lambda left=left: len(os.listdir(new)) <= left, 60, why="progress")  # type: ignore[misc]
            asked = time.monotonic()
            lives += put_reports(device.folder / "spool", 1)
            wait_for(lambda newest=lives[-1].id: newest in fleet.out.read_text(), 60, why="a live report")  # type: ignore[misc]
            delays.append(time.monotonic() - asked)
        wait_for(lambda: not os.listdir(new), 60, why="the rest")
        took = time.monotonic() - began
        print(f"{WEEKEND} reports in {took:.1f} s; {len(delays)} live ones, the slowest after {max(delays):.2f} s")

    live_ids = {one.id for one in lives}
    wait_for(lambda: len(fleet.seqs) >= WEEKEND + len(lives), 60, why="the last ones, read")
    arrived = list(zip(fleet.seqs, fleet.ids, strict=True))
    assert [one for one in arrived if one[1] not in live_ids] == [(one.seq, one.id) for one in waited]  # all, in order, each once
    assert [one for one in arrived if one[1] in live_ids] == [(one.seq, one.id) for one in lives]
    assert took < MINUTE
    assert len(delays) == 4
    assert max(delays) < 10
