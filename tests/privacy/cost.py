"""What the protections of memory cost: ``python -m tests.privacy.cost [ROUNDS]``.

Two processes, one with the code as it is and one with every protection of ``protections.py`` taken out, take turns on the same
pictures, so that whatever else this machine does slows both. The blank invoke comes on top: it is timed alone, and counted as
often as it can come at five frames a second (half a second after a face, then the next look: once in three frames).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from device.proof.memory import HERE, answered
from tests.privacy.protections import PROTECTIONS, weakened

FRAMES = 20  # a turn
CHILD = """
import sys, time, statistics
from device.commands import bench
from device.process import protect
from device.watch import load_nets
protect(pixels=True)
nets, pictures = load_nets(bench.Settings(policy=bench.RESEARCH)), bench.drawn(bench.SCENES)
door, tracks, windows = bench.Door(nets.face, bench.Consent()), bench.Tracks(), bench.Windows(10, 0.2)
turn = number = 0
for line in sys.stdin:
    times = []
    for picture in pictures[: int(line)]:
        frame = bench.Frame(picture.copy(), number * 0.2)
        number += 1
        times.append(bench._timed(bench._process, frame, nets, door, tracks, windows)[0])
    scrub = bench._timed(nets.emotion.model.scrub)[0]
    print(1000 * statistics.mean(times), 1000 * scrub, flush=True)
"""


def main(rounds: int = 40) -> None:
    """Measure, and print medians over the turns."""
    with tempfile.TemporaryDirectory(prefix="mien-cost-") as name:
        bare = Path(name)
        for number, protection in enumerate(PROTECTIONS):
            bare = weakened(protection, Path(name) / str(number), bare / "device" if number else None)
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=name,
                env={**os.environ, "PYTHONPATH": str(code)},
            )
            for code in (HERE, bare)
        ]  # fmt: skip
        turns = []
        for number in range(rounds):
            pair = []
            for child in children[:: 1 if number % 2 else -1]:
                assert child.stdin is not None
                print(FRAMES, file=child.stdin, flush=True)
                pair.append([float(word) for word in answered(child).split()])
            turns.append(pair[:: 1 if number % 2 else -1])
        for child in children:
            child.kill()
            child.communicate()
    with_all, without, scrub = (statistics.median(column) for column in zip(*((a[0], b[0], a[1]) for a, b in turns), strict=True))
    share = statistics.median(a[0] / b[0] for a, b in turns) - 1
    print(f"a frame {with_all:.2f} ms with all protections, {without:.2f} ms without: {100 * share:+.1f} %")
    part = 100 * scrub / 3 / without
    print(f"a blank invoke of the emotion model {scrub:.2f} ms, once in three frames at most: {part:.1f} %")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
