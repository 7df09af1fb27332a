"""A full spool whose watching process is killed at any moment, while reports are taken out of it: each report is accounted for."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from device.spool import Spool, seq_of
from tests.conftest import Process
from tests.faults.test_kill import KILLER

LIVES = 40
FULL = """
import device.watch
from device.spool import Limits, Spool
from tests.build import envelope

def put_into_a_full_spool():
    spool = Spool(folder, "watch", Limits(files=4))
    while True:
        spool.put(envelope(spool.next_seq))
"""


def test_each_report_was_delivered_or_waits_or_is_counted_as_dropped(tmp_path: Path, start: Callable[..., Process]) -> None:
    code, folder, dice = KILLER.format(imports=FULL, live="put_into_a_full_spool()"), tmp_path / "spool", random.Random(5)
    delivered = newest = 0
    with closing(Spool(folder, "send")) as sending:
        storm = start(sys.executable, "-c", code, folder, folder, "5", str(LIVES), "0.15")
        while storm.running:
            waiting = sending.waiting()
            before, newest = newest, max([0, *map(seq_of, waiting)])
            if newest > before and dice.random() < 0.5:  # slower than it is filled
                path = dice.choice(waiting)
                sending.sent(path)  # a broker has taken it, also when it was dropped meanwhile
                delivered += 1
                sending.acknowledge(seq_of(path))
        assert storm.wait() == 0, storm.err.read_text()

        with closing(Spool(folder, "watch")) as watching:
            made = watching.next_seq - 1
        assert made == delivered + len(sending.waiting()) + sending.dropped()
        assert delivered > 0
        assert sending.dropped() > 0
