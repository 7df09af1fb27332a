"""Lives on a disk that fails at one call after the other: ``python -m tests.faults.bad_disk STORE ERRNO FOR EVERY FOLDER``.

Runs under ``failing.c``. Each life is a fork: at its Nth call on the disk this one begins to fail, for FOR calls (0: until there is
room again), then it is good again; only every EVERYth number is tried. A store may end its life with an error of ours, and begins
another one then. Prints how many lives there were, and how many of them had to begin again. What is expensive is imported once.
"""

from __future__ import annotations

import ctypes
import errno
import io
import json
import os
import shutil
import sys
import time
import traceback
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

from device import inbox
from device.clock import Clock
from device.errors import MienError
from device.ledger import Ledger
from device.model_store import Models
from device.noise import MICRO
from device.outbox import Outbox
from device.send import send
from device.settings import BrokerSettings, Settings, SpoolSettings
from device.settings_policy import PolicySettings
from device.spool import Spool, seq_of
from device.watcher import Watcher
from tests.build import HASHES, put_reports, recorded, window
from tests.model_device import Device as ModelDevice
from tests.repository import vectors_of
from tests.twins import Device as TwinDevice
from tests.watching import Watching


class Fast(Clock):
    """So fast that windows of 900 s follow each other as quickly as they can be written."""

    def now(self) -> float:
        return time.monotonic() * 1_000_000


def settings_in(folder: Path) -> Settings:
    return Settings(
        k=3,
        max_hold=1,
        state_folder=folder / "state",
        run_folder=folder / "run",
        send_folder=folder / "send",
        inbox_folder=folder / "inbox",
        spool=SpoolSettings(folder=folder / "spool"),
        policy=PolicySettings(setting="research", jurisdiction="EU"),
        broker=BrokerSettings(publisher="stdout"),
    )


class Watched:
    """The watching process from its windows on; ``numbers`` are those of the reports that it has made."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_in(folder)
        self.numbers: set[int] = set()

    def life(self) -> None:
        clock, (log, said) = Fast("5f0c1a2b"), recorded()
        with (
            closing(Spool(self.settings.spool.folder, "watch")) as spool,
            closing(Ledger(self.settings.state_folder, self.settings.budget, clock)) as ledger,
        ):
            assert not ledger.damage or "FAIL_READS" in os.environ
            outbox = Outbox(spool, log)
            watcher = Watcher(self.settings, HASHES, clock, outbox, log, ledger=ledger)
            for _ in range(3):
                over = window({}, self.settings.window_seconds)
                over.start = clock.now() - self.settings.window_seconds
                watcher._publish(over)
                self.numbers.add(outbox.next_seq - 1)
            os.environ["FAIL_AT"] = "0"  # there is room
            if outbox.stuck:
                assert any("cannot store report" in entry["event"] for entry in said)
            outbox.put()
            assert not outbox.stuck

    def end(self) -> None:
        folder = self.settings.spool.folder
        there = sorted((folder / "new").iterdir())
        assert {seq_of(path) for path in there} == self.numbers
        told = [json.loads(path.read_text())["report"] for path in there]
        paid = json.loads((self.settings.state_folder / "ledger.json").read_text())["page"]["spent"]
        assert sum(made["withheld"] in (None, "k") for made in told) * MICRO <= paid
        assert not list((folder / "tmp").iterdir())


class Sent:
    """The sending process, which prints what it sends."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_in(folder)
        self.out = io.StringIO()
        at, os.environ["FAIL_AT"] = os.environ.get("FAIL_AT", "0"), "0"
        put_reports(self.settings.spool.folder, 3)
        os.environ["FAIL_AT"] = at

    def life(self) -> None:
        log, _ = recorded()
        with redirect_stdout(self.out):
            send(self.settings, Fast("5f0c1a2b"), log, lambda: False, once=True)

    def end(self) -> None:
        self.life()  # what could not be read is read when it is tried again
        assert {json.loads(line)["seq"] for line in self.out.getvalue().splitlines()} == {1, 2, 3}
        with closing(Spool(self.settings.spool.folder, "watch")) as spool:
            assert spool.next_seq == 4


class Wished:
    """Settings of the fleet."""

    def __init__(self, folder: Path) -> None:
        self.device = TwinDevice(folder)

    def life(self) -> None:
        self.device.start()
        for version, k in ((1, 5), (2, 6)):
            inbox.put_slot(self.device.settings.inbox_folder, "twin", json.dumps(wish(version, k)).encode())
            keeper = self.device.keeper
            keeper.wants(1.0)
            assert keeper.before(self.device.settings).k in (4, 5, 6)
            keeper.works()
            keeper.wants(2.0)
        os.environ["FAIL_AT"] = "0"
        keeper.wants(3.0)

    def end(self) -> None:
        self.device.start()
        assert self.device.keeper.before(self.device.settings).k == 6


def wish(version: int, k: int) -> dict[str, Any]:
    return {"epoch": 1, "version": version, "desired": {"k": k}}


class Commanded:
    """Commands of the fleet, which repeats them until they are answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def life(self) -> None:
        watching = Watching(self.folder)
        watching.left("a1", "pause", 600)
        watching.look()
        os.environ["FAIL_AT"] = "0"
        watching.left("a1", "pause", 600)
        watching.look()
        assert watching.paused
        answer = watching.answer("a1")
        assert answer is not None
        assert answer[0] == "succeeded"

    def end(self) -> None:
        assert Watching(self.folder).paused


class Installed:
    """A model that comes by a rollout."""

    def __init__(self, folder: Path) -> None:
        at, os.environ["FAIL_AT"] = os.environ.get("FAIL_AT", "0"), "0"
        self.device = ModelDevice(folder)
        self.device.shop.stage(
            self.device.settings.inbox_folder, self.device.shop.job(self.device.shop.publish(), timeout_seconds=86_400)
        )
        os.environ["FAIL_AT"] = at

    def life(self) -> None:
        device = self.device
        device.models = Models(device.settings, device.clock, device.log)
        for _ in range(4):
            device.run()
            device.clock.move(61)
            device.models.wants(device.clock.now())
            at, os.environ["FAIL_AT"] = os.environ["FAIL_AT"], "0"  # it is not this look that is tried
            assert device.in_force
            os.environ["FAIL_AT"] = at
        device.models.close()

    def end(self) -> None:
        self.device.models = Models(self.device.settings, self.device.clock, self.device.log)
        for _ in range(3):
            self.device.run()
            self.device.clock.move(61)
            self.device.models.wants(self.device.clock.now())
        state = self.device.state
        if "FAIL_READS" in os.environ:  # what cannot be read is not there, or damaged
            assert state[0] in ("committed", "rejected", "rolled_back"), state
        else:
            assert state in (("committed", None), ("rejected", "disk_full"), ("rejected", "invalid")), state
        assert self.device.in_force


KINDS = {"watch": Watched, "send": Sent, "twin": Wished, "commands": Commanded, "models": Installed}


def life(kind: str, folder: Path) -> int:
    """One life, and another one where it takes one. Returns 1 in that case."""
    store: Any = KINDS[kind](folder)
    again = 0
    try:
        store.life()
    except MienError as error:
        if str(folder) not in str(error):
            raise ValueError("it does not say where") from error
        os.environ["FAIL_AT"], again = "0", 1
        store.life()
    os.environ["FAIL_AT"] = "0"
    store.end()
    return again


def main() -> None:
    kind, what, lasts, every, place = sys.argv[1:]
    vectors_of()  # once for all lives
    os.environ["FAIL_ERRNO"] = str(getattr(errno, what))
    lives = again = 0
    for at in range(1, 2000, int(every)):
        folder = Path(place, str(at))
        child = os.fork()
        if child == 0:
            os.environ.update(FAIL_UNDER=str(folder), FAIL_FOR=lasts, FAIL_AT=str(at))
            try:
                folder.mkdir(parents=True)
            except OSError:
                os._exit(0)
            try:
                code = life(kind, folder)
            except BaseException:
                traceback.print_exc()
                sys.stderr.write(f"{kind}, {what} from call {at} on\n")
                os._exit(3)
            os._exit(code if ctypes.CDLL(None).failing_calls() >= at else 2)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 3:
            sys.exit(1)
        shutil.rmtree(folder, ignore_errors=True)
        lives, again = lives + 1, again + (code == 1)
        if code == 2:
            break
    print(json.dumps({"lives": lives, "again": again}))


if __name__ == "__main__":
    main()
