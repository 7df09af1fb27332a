"""What it costs to protect pictures and to look for cards: the same frames with and without, in turns.

Three processes take turns on the same pictures: one as it is; one that protects memory and looks for no cards; and one whose
code has every protection of ``device/proof/protections.py`` taken out, and that looks for no cards. Processor time is compared, in
which waiting does not count, and of each picture the shortest time: whatever else this machine does makes it longer only. Those
that protect add a quarter of a blank invoke of the emotion model to each frame, which is as often as it can come at five frames a
second (``tflite.IDLE``).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final, Literal

from device import process
from device.errors import MienError
from device.proof.protections import PROTECTIONS, weakened

Kind = Literal["all", "memory", "nothing"]  # what is protected: all, memory without cards, nothing
KINDS: Final[tuple[Kind, ...]] = ("all", "memory", "nothing")
FRAMES: Final = 4  # in a turn, with one blank invoke
PICTURES: Final = 20
WARM_UP: Final = 2  # turns
LEAST_TURNS: Final = PICTURES // FRAMES  # so that each picture is shown
HERE: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the frame time, over different pictures.

    Attributes:
        share: The median; 0.05 is five percent.
        low, high: Between these the median lies with a confidence of 95 %.
        first_quarter, last_quarter: Half of all pictures lie between these.
    """

    share: float
    low: float
    high: float
    first_quarter: float
    last_quarter: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Share:
        """Of at least two ratios; the interval is that of order statistics, so it asks nothing of how they are spread."""
        ordered, middle, reach = sorted(ratios), len(ratios) / 2, 1.96 * sqrt(len(ratios)) / 2
        low, high = ordered[max(0, int(middle - reach))], ordered[min(len(ordered) - 1, int(middle + reach))]
        first, median, last = statistics.quantiles(ordered, n=4)
        return cls(median, low, high, first, last)

    def as_json(self) -> dict[str, float | list[float]]:
        return {
            "share": round(self.share, 4),
            "interval_95": [round(self.low, 4), round(self.high, 4)],
            "quartiles": [round(self.first_quarter, 4), round(self.last_quarter, 4)],
        }


@dataclass(frozen=True, slots=True)
class Cost:
    """What everything costs, and how much of that is looking for cards; milliseconds are processor time of one frame."""

    everything: Share
    cards: Share
    ms_protected: float
    ms_bare: float
    turns: int

    def as_json(self) -> dict[str, object]:
        return {
            **self.everything.as_json(),
            "cards": self.cards.as_json(),
            "ms_protected": round(self.ms_protected, 3),
            "ms_bare": round(self.ms_bare, 3),
            "turns": self.turns,
        }


def measure(turns: int, runtime: str) -> Cost:
    """Let the three take turns.

    Args:
        turns: Of four frames each; 5 at least, so that each picture is shown.
        runtime: Which one to time.

    Raises:
        MienError: A process ends by itself, or this code has been changed.
    """
    turns = max(turns, LEAST_TURNS)
    times: dict[Kind, list[list[float]]] = {kind: [[] for _ in range(PICTURES)] for kind in KINDS}
    blank: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="mien-cost-") as name:
        bare = weakened(Path(name), PROTECTIONS)
        with ExitStack() as stack:
            children = {kind: stack.enter_context(_running(kind, bare if kind == "nothing" else HERE, runtime)) for kind in KINDS}
            for turn in range(-WARM_UP, turns):
                first = turn % len(KINDS)
                for kind in (*KINDS[first:], *KINDS[:first]):
                    *frames, scrub = _asked(children[kind])
                    if turn >= 0:
                        blank[kind].append(scrub)
                        for number, took in enumerate(frames, turn * FRAMES):
                            times[kind][number % PICTURES].append(took)
    least = {kind: [min(shown) + min(blank[kind]) / FRAMES for shown in times[kind]] for kind in KINDS}
    everything, memory, nothing = (least[kind] for kind in KINDS)
    return Cost(
        everything=Share.of([one / other - 1 for one, other in zip(everything, nothing, strict=True)]),
        cards=Share.of([(one - two) / other for one, two, other in zip(everything, memory, nothing, strict=True)]),
        ms_protected=statistics.median(everything),
        ms_bare=statistics.median(nothing),
        turns=turns,
    )


@contextmanager
def _running(kind: Kind, code: Path, runtime: str) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for turns."""
    tunables = [one for one in os.environ.get("GLIBC_TUNABLES", "").split(":") if one and one != process.NO_CACHE]  # not ours
    ours = {name: value for name, value in os.environ.items() if name != process.ALLOCATOR[0]}
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, kind, runtime],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=code,
        env={**ours, "PYTHONPATH": str(code), "GLIBC_TUNABLES": ":".join(tunables)},
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _asked(child: subprocess.Popen[str]) -> list[float]:
    """Let it have a turn; returns the milliseconds of each frame, and those of the blank invoke."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        print(file=child.stdin, flush=True)
        answer = child.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        raise MienError(f"a process that was timed ended by itself with {child.wait()}; see what it said above")
    return [float(word) for word in answer.split()]


def main(kind: str, runtime: str) -> None:
    """Have a turn for each line; answer with the processor time of each frame, and of the blank invoke after them, milliseconds."""
    if kind != "nothing":
        process.protect(pixels=True)
    from device.commands import bench  # only now: it has much to import, and protect starts the process again

    scene = bench.Scene(bench.load(runtime), bench.drawn(PICTURES), cards=kind == "all")
    blank = scene.nets.emotion.model.scrub if kind != "nothing" else lambda: 0.0
    for _ in sys.stdin:
        print(*(_timed(lambda: scene.look(scene.draw())) for _ in range(FRAMES)), _timed(blank), flush=True)


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except MienError as error:
        sys.exit(str(error))
