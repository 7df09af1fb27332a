"""``kill -9`` at any moment between the ledger and the spool: what is published was paid for before."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device.ledger import Ledger
from device.noise import MICRO, Budget
from tests.build import SetClock
from tests.conftest import Process

KILLS = 200
LONGEST_LIFE = 0.12  # seconds: a few windows, where nothing else wants the processor

# Forks one watching process after the other and kills each at a random moment. Time runs a million times as fast, so that windows
# of 900 s follow each other as quickly as ledger and spool can be written. With "late", the report is stored before it is paid for.
KILLER = """
import os, random, signal, sys, time
from contextlib import closing
from pathlib import Path

from device import log
from device.clock import this_boot, Clock
from device.ledger import Ledger
from device.settings import PolicySettings, Settings, SpoolSettings
from device.spool import Spool
from device.tracks import Tracks
from device.outbox import Outbox
from device.watcher import Watcher
from tests.build import HASHES, window

class Fast(Clock):
    def now(self):
        return time.monotonic() * 1_000_000

class Late(Ledger):
    def charge(self):
        return self.left >= 1_000_000

folder, kills, longest, late = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "late"
settings = Settings(k=3, max_hold=1, state_folder=folder / "state", run_folder=folder / "run",
    spool=SpoolSettings(folder=folder / "spool"), policy=PolicySettings(setting="research", jurisdiction="EU"))
logger, dice = log.set_up("watch", "error"), random.Random(1)

def live():
    clock = Fast(this_boot().boot)
    spool = Spool(settings.spool.folder, "watch")
    ledger = (Late if late else Ledger)(settings.state_folder, settings.budget, clock)
    watcher = Watcher(settings, HASHES, clock, Outbox(spool, logger), logger, ledger=ledger)
    while True:
        over = window({}, settings.window_seconds)
        over.start = clock.now() - settings.window_seconds
        watcher._publish(over)
        if late:
            Ledger.charge(ledger)

for life in range(kills + 1):
    child, began = os.fork(), time.monotonic()
    if child == 0:
        live()
        os._exit(1)
    if life == 0:  # how long a few windows take on this machine now
        while len(list(folder.glob("spool/new/*"))) < 5 and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.002)
        longest = max(longest, time.monotonic() - began)
    else:
        time.sleep(dice.uniform(0, longest))
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        sys.exit(f"life {life} ended by itself: {status}")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def reports(folder: Path) -> list[Any]:
    return [json.loads(path.read_text())["report"] for path in sorted((folder / "spool" / "new").iterdir())]


def windows_told(folder: Path) -> int:
    """How many noised windows the spool tells anything about, be it only that they were too few."""
    return sum(made["privacy"]["windows"] for made in reports(folder) if made["withheld"] in (None, "k"))


def windows_paid(folder: Path) -> int:
    page = json.loads((folder / "state" / "ledger.json").read_text())["page"]
    return int(page["spent"]) // MICRO


@pytest.mark.timeout(170)
def test_two_hundred_kills_between_ledger_and_spool_never_publish_more_than_was_charged(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    storm = start(sys.executable, "-c", KILLER, tmp_path, str(KILLS), str(LONGEST_LIFE), "first")

    assert storm.wait(160) == 0, storm.err.read_text()

    told, paid = windows_told(tmp_path), windows_paid(tmp_path)
    assert 20 < told < paid  # some were paid for, and then killed before they were told
    numbers = [made["seq"] for made in reports(tmp_path)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not Ledger(tmp_path / "state", Budget(900, MICRO, 100 * MICRO), SetClock()).damage


def test_a_ledger_that_is_charged_late_is_caught_by_the_same_count(tmp_path: Path, start: Callable[..., Process]) -> None:
    storm = start(sys.executable, "-c", KILLER, tmp_path, str(KILLS // 4), str(LONGEST_LIFE), "late")

    assert storm.wait(50) == 0, storm.err.read_text()

    assert windows_told(tmp_path) > windows_paid(tmp_path)
