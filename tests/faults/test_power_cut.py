"""The power is cut at any moment: what was stored is there, what is published was paid for, and nothing needs a human."""

from __future__ import annotations

import json
import re
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from device.contract import Envelope
from device.ledger import Ledger
from device.noise import MICRO, Budget
from device.spool import Spool, seq_of
from tests.build import SetClock, envelope
from tests.conftest import ROOT
from tests.faults.replay import after_every_power_cut
from tests.faults.strace import Log, Name, parse, record

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: sudo apt install strace"),
]

# Both processes of a device, whose windows follow each other as fast as they can be written. "put" is said once a report is stored;
# what the sending process publishes is said as it is. FIRST is done to the code before: it must be found.
BOTH = """
import os, signal, sys, time
from pathlib import Path

from device import durable, log, spool
from device.clock import Clock, this_boot
from device.ledger import Ledger
from device.outbox import Outbox
from device.send import send
from device.settings import BrokerSettings, PolicySettings, Settings, SpoolSettings
from device.spool import Limits, Spool
from device.watcher import Watcher
from tests.build import HASHES, window

class Fast(Clock):
    def now(self):
        return time.monotonic() * 1_000_000

folder, windows = Path(sys.argv[1]), int(sys.argv[2])
settings = Settings(k=3, max_hold=1, state_folder=folder / "state", run_folder=folder.parent / "run",
    send_folder=folder / "send", inbox_folder=folder / "inbox", spool=SpoolSettings(folder=folder / "spool"),
    policy=PolicySettings(setting="research", jurisdiction="EU"), broker=BrokerSettings(publisher="stdout"))
logger = log.set_up("watch", "error")
exec(sys.argv[3])

sending = os.fork()
if sending == 0:
    try:
        send(settings, this_boot(), logger, lambda: (folder.parent / "stop").exists())
    finally:
        os._exit(0)
clock = Fast(this_boot().boot)
spool = Spool(settings.spool.folder, "watch", Limits(files=4))
ledger = Ledger(settings.state_folder, settings.budget, clock)
outbox = Outbox(spool, logger)
watcher = Watcher(settings, HASHES, clock, outbox, logger, ledger=ledger)
for n in range(windows):
    while n == 3 and len(spool.waiting()) == n:
        time.sleep(0.01)  # until the other one has begun
    over = window({}, settings.window_seconds)
    over.start = clock.now() - settings.window_seconds
    time.sleep(0.01)  # so that the other one has its turns
    watcher._publish(over)
    os.write(1, b"put %d\\n" % (outbox.next_seq - 1))
(folder.parent / "stop").touch()
os.waitpid(sending, 0)
"""
SLOW_DISK = "sync = durable.sync_folder; durable.sync_folder = lambda folder: (time.sleep(0.4), sync(folder))\n"
HASTY = """
class Hasty(Spool):
    _durable = property(lambda self: 99, lambda self, _: None)
sys.modules["device.send"].Spool = Hasty
"""
BROKEN = {
    "nothing is synced": ("os.fsync = lambda handle: None", "the ledger is damaged"),
    "names are not synced": (
        "durable.sync_folder = lambda folder: None",
        "that was stored is lost|published without being paid for",  # whichever comes first
    ),
    "a report is not paid for": ("Ledger.charge = lambda self: True", "published without being paid for"),
    "a report is sent before its name is durable": (SLOW_DISK + HASTY, "given twice"),
}


def written(tmp_path: Path, windows: int, first: str = "") -> Log:
    root = tmp_path / "device"
    root.mkdir()
    return record([sys.executable, "-c", BOTH, root, str(windows), first], root, tmp_path / "strace.txt", ROOT)


def look(folder: Path, said: list[str]) -> None:
    """Start on what is left, as both processes would."""
    lines = [line for text in said for line in text.splitlines()]
    put = {int(line.split()[1]) for line in lines if line.startswith("put")}
    published: dict[int, Any] = {made["seq"]: made for line in lines if line.startswith("{") for made in [json.loads(line)]}
    with closing(Ledger(folder / "state", Budget(900, MICRO, 100 * MICRO), SetClock())) as ledger:
        assert not ledger.damage, "the ledger is damaged"
        paid = ledger.spent
    with closing(Spool(folder / "spool", "send")) as sending:
        waiting = sending.waiting()
        kept: list[Envelope | None] = [sending.read(path) for path in (*waiting, *sending.unacknowledged())]
        assert sending.set_aside() == 0
    there = {one.seq: json.loads(one.payload()) for one in kept if one is not None}
    assert len(there) == len(set(there)) == len({seq_of(path) for path in waiting} | set(there))
    dropped = {seq for seq in put if seq <= max([0, *put, *there]) - 4}  # the spool holds four
    assert put <= there.keys() | published.keys() | dropped, "a report that was stored is lost"
    assert all(there.get(seq, made) == made for seq, made in published.items()), "a number stands for two reports"
    told = [made for made in {**there, **published}.values() if made["withheld"] in (None, "k")]
    assert sum(made["privacy"]["windows"] for made in told) * MICRO <= paid, "published without being paid for"
    gone = set(range(1, max([0, *published, *there]) + 1)) - there.keys()
    with closing(Spool(folder / "spool", "watch")) as watching:
        assert len(gone - published.keys()) <= watching.dropped() <= len(gone), "what was dropped is counted wrongly"
        assert watching.next_seq > max([0, *published, *there]), "a number will be given twice"
        watching.put(envelope(watching.next_seq))
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    allowed = (
        "spool/new/report-",
        "spool/sent/report-",
        "spool/.",
        "spool/dropped.json",
        "state/ledger.json",
        "state/.ledger.lock",
        "send/",
    )
    assert not [path for path in left if not path.startswith(allowed)], "a file that nobody will ever remove"


@pytest.mark.parametrize("disk", ["", SLOW_DISK], ids=["fast disk", "slow disk"])
def test_nothing_that_was_stored_is_lost_in_any_power_cut_and_nothing_is_published_unpaid(tmp_path: Path, disk: str) -> None:
    log = written(tmp_path, windows=4 if disk else 8, first=disk)

    count = after_every_power_cut(log, look)

    said = "".join(text for _, text in log.marks)
    assert (said.count("put"), "{" in said) == (4 if disk else 8, True)
    assert count > 100


@pytest.mark.parametrize("wrong", BROKEN)
def test_the_replay_finds_what_is_written_in_the_wrong_order(tmp_path: Path, wrong: str) -> None:
    first, finding = BROKEN[wrong]
    log = written(tmp_path, windows=3, first=first)

    with pytest.raises(AssertionError, match="power cut") as caught:
        after_every_power_cut(log, look)

    assert re.search(finding, str(caught.value.__cause__))


def test_a_folder_may_be_used_by_one_process_before_the_call_of_the_other_that_made_it_returns(tmp_path: Path) -> None:
    def hexed(path: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in f"{tmp_path}/{path}".encode())

    lines = [
        f'1 mkdir("{hexed("spool")}", 0777 <unfinished ...>',
        f'2 mkdir("{hexed("spool/new")}", 0777) = 0',
        "1 <... mkdir resumed>) = 0",
    ]

    log = parse(lines, tmp_path)

    assert [step.name for _, step in log.steps if isinstance(step, Name)] == ["spool", "new"]
