"""What a rehearsal measures: what happened in, figures out. Pure; times are seconds on one monotonic clock."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

ALL_ENROLLED: Final = 300.0  # seconds; what 1,000 devices must reach on two cores
ALL_BACK: Final = 120.0  # seconds
LARGEST_SHARE: Final = 0.05  # of the reconnects, in any one second
SERVICE_MIB: Final = 200.0
POINTS: Final = 60  # of a curve


@dataclass(frozen=True, slots=True)
class Restart:
    """The broker's restart: when it was stopped, when it listened again."""

    stopped: float
    listening: float


@dataclass(slots=True)
class Tally:
    """What has happened so far."""

    devices: int
    began: float
    restart: Restart | None = None
    counts: Counter[str] = field(default_factory=Counter)
    cut_before: int = 0  # connections that ended before the restart
    enrolled: list[float] = field(default_factory=list)  # seconds each took
    growth: list[tuple[float, int]] = field(default_factory=list)  # when → how many were enrolled
    back: list[float] = field(default_factory=list)  # when each was connected again after its connection had been cut

    def add(self, now: float, counts: Mapping[str, int], stamps: Mapping[str, Sequence[float]]) -> None:
        """A line of a worker."""
        self.counts.update(counts)
        self.back += stamps.get("back", ())
        if stamps.get("enrolled"):
            self.enrolled += stamps["enrolled"]
            self.growth.append((now, len(self.enrolled)))

    @property
    def enrolled_at(self) -> float:
        """When the last one was enrolled."""
        return self.growth[-1][0] if self.growth else self.began

    @property
    def connected(self) -> int:
        """Devices that are at work and have a connection."""
        gone = self.counts["cut"] + self.counts["failed"]
        return self.counts["connected"] + self.counts["back"] - gone

    @property
    def all_back(self) -> bool:
        """Whether every connection that the restart has cut stands again."""
        return self.restart is None or (bool(self._cut) and len(self._back) >= self._cut)

    @property
    def _cut(self) -> int:
        return self.counts["cut"] - self.cut_before

    @property
    def _back(self) -> list[float]:
        stopped = self.restart.stopped if self.restart else 0.0
        return sorted(at for at in self.back if at >= stopped)

    def of_the_restart(self) -> dict[str, Any] | None:
        """How the fleet came back."""
        if self.restart is None:
            return None
        back = self._back
        return {
            "broker_away_seconds": _round(self.restart.listening - self.restart.stopped),
            "cut_off": self._cut,
            "back": len(back),
            "seconds_until_all_back": _round(back[-1] - self.restart.listening) if back and self.all_back else None,
            "largest_share_in_one_second": _round(largest_share(back), 4),
            "curve": thinned([(at - self.restart.listening, number) for number, at in enumerate(back, 1)]),
        }

    def of_enrolment(self) -> dict[str, Any]:
        """How the fleet enrolled."""
        done = len(self.enrolled) >= self.devices
        return {
            "enrolled": len(self.enrolled),
            "seconds_to_enrol_all": _round(self.enrolled_at - self.began) if done else None,
            "median_seconds": _round(quantile(self.enrolled, 0.5)),
            "p99_seconds": _round(quantile(self.enrolled, 0.99)),
            "curve": thinned([(at - self.began, number) for at, number in self.growth]),
            "requests_sent": self.counts["asked"],
            "rejected": {
                kind.removeprefix("rejected "): n for kind, n in sorted(self.counts.items()) if kind.startswith("rejected ")
            },
        }


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest of the values that so large a share of them does not exceed; None of no values."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)] if values else None


def largest_share(times: Sequence[float], seconds: float = 1.0) -> float | None:
    """The largest share of these sorted times that lies within so many seconds, wherever they begin."""
    if not times:
        return None
    return max(bisect_left(times, at + seconds) - first for first, at in enumerate(times)) / len(times)


def thinned(curve: Sequence[tuple[float, int]]) -> list[list[float]]:
    """At most ``POINTS`` points of a curve of seconds and devices, the first and the last among them."""
    step = max(1, ceil(len(curve) / (POINTS - 1)))
    return [[round(at, 1), number] for at, number in [*curve[:-1:step], *curve[-1:]]]


def missed(figures: Mapping[str, Any]) -> list[str]:
    """What was not as it must be, in words: bounds are for 1,000 devices on two cores, losses for any number."""
    said = []
    enrolment, restart, reports = figures["enrolment"], figures["restart"], figures["reports"]
    if enrolment["seconds_to_enrol_all"] is None:
        said.append(f"{figures['devices'] - enrolment['enrolled']} devices did not enrol: {enrolment['rejected'] or 'no answer'}")
    if reports["lost"]:
        said.append(f"{reports['lost']} reports were lost")
    if restart is not None and restart["seconds_until_all_back"] is None:
        said.append(f"{restart['cut_off'] - restart['back']} devices did not come back after the broker's restart")
    if figures["devices"] > 1000:
        return said
    if (took := enrolment["seconds_to_enrol_all"]) is not None and took > ALL_ENROLLED:
        said.append(f"enrolment took {took:.0f} s; expected {ALL_ENROLLED:.0f} at most")
    if restart is not None and (took := restart["seconds_until_all_back"]) is not None and took > ALL_BACK:
        said.append(f"all were back after {took:.0f} s; expected {ALL_BACK:.0f} at most")
    crowded = restart is not None and restart["cut_off"] >= 1000  # of ten devices, each is a tenth
    if crowded and (restart["largest_share_in_one_second"] or 0) > LARGEST_SHARE:
        said.append(f"{restart['largest_share_in_one_second']:.1%} came back in one second; expected {LARGEST_SHARE:.0%} at most")
    large = [size for size in figures["service"]["peak_mib"] if size > SERVICE_MIB]
    return [*said, *(f"a service took {size:.0f} MiB; expected {SERVICE_MIB:.0f} at most" for size in large)]


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
