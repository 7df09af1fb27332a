"""``kill -9`` of either process at any moment: nothing that reached the spool is lost, and no id stands for two reports."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Callable
from operator import itemgetter

import pytest

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for

LIVES = pytest.mark.parametrize(
    "lives", [20, pytest.param(200, marks=(pytest.mark.system, pytest.mark.timeout(600)))]
)  # of each process
LONGEST_LIFE = 0.25  # seconds

# Forks one life after the other and kills each at a random moment; what is expensive is imported once.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path

{imports}

settings, folder, seed, lives, longest = Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:6])
dice = random.Random(seed)
for life in range(int(lives)):
    child = os.fork()
    if child == 0:
        {live}
        os._exit(1)
    time.sleep(dice.uniform(0, longest))
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        sys.exit(f"life {{life}} ended by itself: {{status}}")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""

WATCH_IMPORTS = """
import device.watch
from device import log
from device.clock import this_boot
from device.settings import load
from device.spool import Spool
from tests.build import envelope

def put_for_ever():
    spool = Spool(folder / "spool", "watch")
    done = os.open(folder / "put.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        report = envelope(spool.next_seq)
        spool.put(report)
        os.write(done, f"{report.seq} {report.id}\\n".encode())
        time.sleep(0.004)

def watch_for_ever():
    device.watch.watch(load(settings), this_boot(), log.set_up("watch", "error"), lambda: False)
"""

SEND_IMPORTS = """
import device.publishers.mqtt
from device import log
from device.clock import this_boot
from device.send import send
from device.settings import load

def send_for_ever():
    send(load(settings), this_boot(), log.set_up("send", "error"), lambda: False)
"""


@pytest.fixture
def storm(device: Device, start: Callable[..., Process]) -> Callable[..., Process]:
    """A function that starts lives of a process and kills each."""

    def begin(imports: str, live: str, seed: int, lives: int, longest: float = LONGEST_LIFE) -> Process:
        code = KILLER.format(imports=imports, live=live)
        return start(sys.executable, "-c", code, device.settings, device.folder, *map(str, (seed, lives, longest)))

    return begin


@LIVES
def test_reports_put_and_sent_under_a_storm_of_kills_all_arrive_and_each_id_once(
    device: Device,
    start_mosquitto: Callable[..., Mosquitto],
    mien: Callable[..., Process],
    listen: Callable[..., Listener],
    storm: Callable[..., Process],
    lives: int,
) -> None:
    broker = start_mosquitto("max_queued_messages 0\n")
    device.write(broker.url)
    fleet = listen(broker, "-t", "mien/v1/shelf-7/up/report")

    storms = storm(WATCH_IMPORTS, "put_for_ever()", 1, lives), storm(SEND_IMPORTS, "send_for_ever()", 2, lives)
    for one in storms:
        assert one.wait(40 + lives) == 0, one.err.read_text()
    ended = mien("send", "--settings", device.settings, "--once").wait(60)

    put = dict(line.split() for line in (device.folder / "put.txt").read_text().splitlines())
    assert len(put) > lives
    wait_for(lambda: set(map(int, put)) <= set(fleet.seqs), 60, why="every report that was put")
    assert ended == 0
    each_arrived_once(device, fleet)
    by_id = dict(zip(fleet.ids, fleet.seqs, strict=True))
    assert {put[str(seq)]: seq for seq in map(int, put)}.items() <= by_id.items()


@LIVES
def test_the_whole_of_watch_and_send_killed_at_any_moment_lose_nothing_and_tell_nothing_unpaid(
    device: Device,
    start_mosquitto: Callable[..., Mosquitto],
    mien: Callable[..., Process],
    listen: Callable[..., Listener],
    storm: Callable[..., Process],
    lives: int,
) -> None:
    """From the camera to the broker, models, ledger and all: windows follow each other as fast as frames can be drawn."""
    broker = start_mosquitto("max_queued_messages 0\n")
    device.write(broker.url, top='noise = "discrete-laplace"\nepsilon_window = 0.01\nepsilon_day = 400.0')
    fleet = listen(broker, "-t", "mien/v1/shelf-7/up/report")

    storms = storm(WATCH_IMPORTS, "watch_for_ever()", 3, lives, 2.0), storm(SEND_IMPORTS, "send_for_ever()", 4, lives, 2.0)
    for one in storms:
        assert one.wait(60 + 4 * lives) == 0, one.err.read_text()
    watch = mien("watch", "--settings", device.settings)
    wait_for(lambda: "report" in watch.events() or not watch.running, 40, why="a report after all")
    assert watch.end() == 0, watch.err.read_text()
    ended = mien("send", "--settings", device.settings, "--once").wait(60)

    assert ended == 0
    newest = max(device.seqs("sent"))
    wait_for(lambda: newest in fleet.seqs, why="the newest report")
    each_arrived_once(device, fleet)
    told = {
        made["seq"]: made["privacy"]["windows"]
        for made in map(itemgetter("payload"), fleet.reports)
        if made["withheld"] in (None, "k")
    }
    paid = json.loads((device.folder / "state" / "ledger.json").read_text())["page"]["spent"]
    assert 10_000 * sum(told.values()) <= paid
    assert watch.events("error") == []


def each_arrived_once(device: Device, fleet: Listener) -> None:
    """For a consumer that drops repeated ids: each number once, and no gap."""
    assert device.held("new") == device.held("bad") == 0
    by_id = dict(zip(fleet.ids, fleet.seqs, strict=True))
    assert sorted(by_id.values()) == list(range(1, len(by_id) + 1))


def test_the_real_processes_killed_at_random_lose_nothing(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    device.write(mosquitto.url)
    fleet = listen(mosquitto, "-t", "mien/v1/shelf-7/up/report")
    dice = random.Random(3)

    for life in range(3):
        before = max([0, *fleet.seqs])
        processes = mien("watch", "--settings", device.settings), mien("send", "--settings", device.settings)
        wait_for(lambda at_least=before + 1: max([0, *fleet.seqs]) >= at_least, why=f"reports of life {life}")  # type: ignore[misc]
        time.sleep(dice.uniform(0, 0.5))  # a random moment is the point
        for process in processes:
            assert process.running, process.complaints
            process.end(signal.SIGKILL)
    left = device.seqs("new")
    ended = mien("send", "--settings", device.settings, "--once").wait()

    newest = max([*left, *device.seqs("sent")])
    wait_for(lambda: newest in fleet.seqs, why="the newest report")
    assert ended == 0
    by_id = dict(zip(fleet.ids, fleet.seqs, strict=True))
    assert sorted(by_id.values()) == list(range(1, newest + 1))
