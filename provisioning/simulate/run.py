"""A rehearsal, from the first key to the figures: workers, collector, and the broker's restart in between."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select

from provisioning import files, manage
from provisioning.authority import Authority
from provisioning.facts import device_name
from provisioning.keys import number_and_end
from provisioning.registry import opened
from provisioning.simulate import processes
from provisioning.simulate.employees import Employee, working
from provisioning.simulate.figures import Tally
from provisioning.simulate.habits import Habits
from provisioning.simulate.witness import Witness
from provisioning.simulate.worker import Share, many_files
from provisioning.simulate.world import World
from provisioning.tables import AuditRow

BATCH: Final = "simulated"
PATIENCE: Final = 180.0  # seconds for a fleet to come back, beyond the time that was asked for
LAST_ONES: Final = 10.0  # seconds for the last reports to reach the collector


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rehearsed.

    Attributes:
        devices: How many.
        seconds: How long, from the first switched on; longer when the fleet is still coming back.
        workers: Processes that they are spread over.
        restart: Whether the broker is restarted once all are enrolled.
        settle: Seconds between the two; a device whose connection has lasted for ten comes back at a moment of its own.
        habits: Of the devices.
        seed: Makes two rehearsals alike.
    """

    devices: int
    seconds: float
    workers: int
    restart: bool
    habits: Habits = field(default_factory=Habits)
    seed: int = 0
    settle: float = 15.0


@dataclass(frozen=True, slots=True)
class Picture:
    """How far it is, for a person."""

    phase: str
    seconds: float
    tally: Tally
    seen: int
    per_second: float
    service_mib: float
    broker_mib: float


Show = Callable[[Picture], None]


def rehearse(plan: Plan, world: World, show: Show) -> dict[str, Any]:
    """Run it; returns the figures, as they are printed.

    Raises:
        BrokerError: Broker or service do not work, or a worker ended.
        RegistryError: The registry cannot be used.
    """
    many_files()
    run = secrets.token_hex(2)
    serials = tuple(f"SIM-{run}-{number:05}" for number in range(plan.devices))
    names = {device_name(serial) for serial in serials}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-simulated-", dir=_memory())))
        _claim(world, folder, serials)
        shares = [_share(plan, world, folder, serials, number) for number in range(plan.workers)]
        workers = [stack.enter_context(working(share)) for share in shares]
        keys: dict[str, str | None] = {}
        for worker in workers:
            keys |= worker.line()["keys"]
        with opened(world.database) as registry:
            manage.add_batch(registry, BATCH, "research", "EU", keys)
        witness = stack.enter_context(Witness(world.fleet, world.port, names))
        return _Rehearsal(plan, world, workers, witness, show, name=run).figures()


class _Rehearsal:
    """From "go" to the figures."""

    def __init__(self, plan: Plan, world: World, workers: list[Employee], witness: Witness, show: Show, *, name: str) -> None:
        self._plan, self._world, self._workers, self._witness, self._show = plan, world, workers, witness, show
        self._name = name
        self._tally = Tally(plan.devices, time.monotonic())
        self._peak = [0.0] * len(world.service_pids)
        self._broker_peak = self._rate = 0.0
        self._made: dict[str, list[Any]] = {}
        self._waiting_for = set(range(len(workers)))

    def figures(self) -> dict[str, Any]:
        for worker in self._workers:
            worker.tell('"go"\n')
        while not self._over():
            self._tick(self._phase())
            if self._plan.restart and self._tally.restart is None and self._settled():
                self._tick("the broker restarts")
                self._tally.cut_before = self._tally.counts["cut"]
                self._tally.restart = self._world.restart_broker()
        took = time.monotonic() - self._tally.began
        for worker in self._workers:
            worker.tell('"stop"\n')
        while self._waiting_for:
            self._tick("the last reports")
        made = {name: count for name, (count, _) in self._made.items()}
        deadline = time.monotonic() + LAST_ONES
        while self._witness.lost(made) and time.monotonic() < deadline:
            time.sleep(0.1)
        return self._result(made, took)

    def _phase(self) -> str:
        if len(self._tally.enrolled) < self._plan.devices:
            return "enrolling"
        return "reporting" if self._tally.all_back else "coming back"

    def _settled(self) -> bool:
        done = len(self._tally.enrolled) >= self._plan.devices
        return done and time.monotonic() - self._tally.enrolled_at > self._plan.settle

    def _over(self) -> bool:
        seconds = time.monotonic() - self._tally.began
        coming = self._tally.restart is not None and not self._tally.all_back
        return seconds > self._plan.seconds + (PATIENCE if coming else 0.0)

    def _tick(self, phase: str) -> None:
        """Hear what the workers say for a second or so, measure, and show it."""
        before, began = self._witness.messages, time.monotonic()
        for number, worker in enumerate(self._workers):
            if number in self._waiting_for:
                line = worker.line()
                if "devices" in line:
                    self._made |= line["devices"]
                    self._waiting_for.discard(number)
                else:
                    self._tally.add(time.monotonic(), line["counts"], line["stamps"])
        sizes = [processes.memory(pid) for pid in self._world.service_pids]
        self._peak = [max(pair) for pair in zip(self._peak, (peak for _, peak in sizes), strict=True)]
        broker = processes.memory(self._world.broker_pid)[0] if self._world.broker_pid else 0.0
        self._broker_peak = max(self._broker_peak, broker)
        now = time.monotonic()
        if now - began > 0.5:  # else it is a line that came at once
            self._rate = (self._witness.messages - before) / (now - began)
        seen = sum(map(len, self._witness.seen.values()))
        largest = max((size for size, _ in sizes), default=0.0)
        self._show(Picture(phase, now - self._tally.began, self._tally, seen, self._rate, largest, broker))

    def _result(self, made: dict[str, int], took: float) -> dict[str, Any]:
        tally, witness, pids = self._tally, self._witness, self._world.service_pids
        counts = tally.counts
        return {
            "devices": self._plan.devices,
            "seconds": round(took, 1),
            "processes": self._plan.workers,
            "registry": self._world.database.partition(":")[0].partition("+")[0],
            "enrolment": {**tally.of_enrolment(), "requests_handled": self._handled()},
            "restart": tally.of_the_restart(),
            "reports": {
                "made": sum(made.values()),
                "arrived": sum(map(len, witness.seen.values())),
                "twice": witness.twice,
                "lost": witness.lost(made),
            },
            "messages": {"upward": witness.messages, "per_second": round(witness.messages / took, 1)},
            "power_cuts": counts["failed"],
            "service": {
                "peak_mib": [round(size, 1) for size in self._peak],
                "processor_seconds": [round(processes.seconds(pid), 1) for pid in pids],
            },
            "broker": {"peak_mib": round(self._broker_peak, 1)},
            "machine": {"cores": os.cpu_count(), "load": [round(one, 1) for one in os.getloadavg()]},
        }

    def _handled(self) -> int:
        """How many requests for enrolment the services have handled, by their audit log: three for each device at least."""
        wanted = select(func.sum(AuditRow.times)).where(AuditRow.serial.startswith(f"SIM-{self._name}-"))
        with opened(self._world.database) as registry:
            return registry.transact(lambda session: int(session.scalar(wanted) or 0))


def _share(plan: Plan, world: World, folder: Path, serials: tuple[str, ...], number: int) -> Share:
    """What worker number so and so does."""
    identities, mine = files.private_folder(folder / f"identities-{number}"), serials[number :: plan.workers]
    host, claim = world.fleet.host, str(folder / "claim")
    return Share(mine, host, world.port, BATCH, claim, str(identities), plan.habits, plan.seed + number)


def _claim(world: World, folder: Path, serials: tuple[str, ...]) -> None:
    """Put the batch on the list, without keys for now, and make a claim that is good for a day."""
    authority = Authority.open(world.fleet.folder, world.passphrase)
    key, chain = authority.issue_claim(BATCH, 1)
    number, end = number_and_end(chain)
    with opened(world.database) as registry:
        manage.add_batch(registry, BATCH, "research", "EU", dict.fromkeys(serials))
        manage.add_claim(registry, BATCH, BATCH, number, end, single=False)
    to = files.private_folder(folder / "claim")
    files.write(to / "claim.key", key)
    files.write(to / "claim.pem", chain)
    files.write(to / "ca.pem", authority.ca_pem)


def _memory() -> str | None:
    """A folder in memory, for keys that are worth nothing and written once; None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (inside, a folder of our own)
