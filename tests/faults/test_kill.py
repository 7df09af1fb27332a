"""``kill -9`` of either process at any moment: nothing that reached the spool is lost, and no id stands for two reports."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for

LIVES = 40  # of each process
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


def test_reports_put_and_sent_under_a_storm_of_kills_all_arrive_and_each_id_once(
    device: Device, start_mosquitto: Callable[..., Mosquitto], mien: Callable[..., Process], listen: Callable[..., Listener],
    start: Callable[..., Process],
) -> None:  # fmt: skip
    broker = start_mosquitto("max_queued_messages 0\n")
    device.write(broker.url)
    fleet = listen(broker, "-t", "mien/v1/shelf-7/up/report")

    def storm(imports: str, live: str, seed: int) -> Process:
        code = KILLER.format(imports=imports, live=live)
        words = (device.settings, device.folder, *map(str, (seed, LIVES, LONGEST_LIFE)))
        return start(sys.executable, "-c", code, *words)

    storms = storm(WATCH_IMPORTS, "put_for_ever()", 1), storm(SEND_IMPORTS, "send_for_ever()", 2)
    for one in storms:
        assert one.wait(45) == 0, one.err.read_text()
    ended = mien("send", "--settings", device.settings, "--once").wait()

    put = dict(line.split() for line in (device.folder / "put.txt").read_text().splitlines())
    assert len(put) > LIVES
    wait_for(lambda: set(map(int, put)) <= set(fleet.seqs), why="every report that was put")
    assert ended == 0
    assert device.held("new") == device.held("bad") == 0
    by_id = dict(zip(fleet.ids, fleet.seqs, strict=True))  # a consumer that drops repeated ids
    assert sorted(by_id.values()) == list(range(1, len(by_id) + 1))  # each number once, and no gap
    assert {put[str(seq)]: seq for seq in map(int, put)}.items() <= by_id.items()


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
