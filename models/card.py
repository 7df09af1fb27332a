"""The card of the emotion model, measured and written by one command.

    python -m models.card --data ferplus-valid.npz --held ferplus-train.npz [--photos DIR LABELS.csv]

It reads the shipped file through the code that runs on the device, once for each kind of worse pictures, and writes what it finds
between two marks in ``models/emotion.md`` and into ``docs/images/reliability.svg``. The words around the marks stay as they are.
Probabilities are read at temperature 1; both operating points follow from them, and give the figures of ``models.evaluate``.
The time of one face is measured before anything else starts: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from device.contract import EMOTIONS
from device.errors import ModelError
from device.manifest import FOLDER, read_manifest
from device.nets import emotion
from device.nets.emotion import EmotionNet
from device.types import Face, Frame
from models import card_text, data, eval_photos, eval_shares, graph, measures
from models.calibrate import split
from models.card_text import Found, Read
from models.data import DataError, Rows
from models.degrade import KINDS, Kind
from models.errors import run
from models.eval_emotion import read_rows, scored
from models.measures import Labels
from models.plot import reliability_plot
from models.progress import track

CARD: Final = FOLDER / "emotion.md"
PLOT: Final = FOLDER.parent / "docs" / "images" / "reliability.svg"
SIZES: Final = (50, 200)  # faces in the samples of which shares are taken
SAMPLES: Final = 1000  # of each size
RUNS: Final = 300  # timed, of which the median counts
LEVEL: Final = ((0.45, 0.45), (0.55, 0.45), (0.5, 0.5), (0.5, 0.55), (0.4, 0.47), (0.6, 0.47))
NEAR: Final = Face((0.4, 0.37, 0.6, 0.63), LEVEL, 1.0)  # 128 pixels wide in a frame of 640 × 480


def read(rows: Rows, kind: Kind | None) -> Read:
    """What the shipped network says about rows; the pictures made worse first if a kind is given."""
    net = EmotionNet(read_manifest().file(emotion.NAME))
    probabilities, aligned = read_rows(rows, net, kind)
    return Read(probabilities, data.majority(rows.votes), aligned)


def shares(cells: Labels, labels: Labels, confusion: npt.NDArray[np.int64], size: int, samples: int) -> dict[str, float]:
    """As ``evaluate shares`` measures them."""
    return eval_shares.measure(cells, labels, confusion, size, samples=samples, seed=1)


def speed(runs: int = RUNS) -> tuple[str, float, float]:
    """Runtime, and the medians in milliseconds of one invoke and of one face cut out of a 640 × 480 frame; one thread."""
    net = EmotionNet(read_manifest().file(emotion.NAME))
    rng = np.random.default_rng(1)
    with Frame(rng.integers(0, 256, (480, 640, 3), np.uint8), 0.0) as frame:
        works: tuple[Callable[[], object], ...] = (net.model.invoke, lambda: net(frame, NEAR))
        bare, whole = (_median(work, runs) for work in works)
    return f"{net.model.runtime} {version(net.model.runtime)}", bare, whole


def _median(work: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000


def silence() -> None:
    """In a worker: its progress lines would be written over each other."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)


def run_all(jobs: int, works: list[tuple[Callable[..., Any], tuple[Any, ...]]], what: str) -> list[Any]:
    """Call each function with its arguments, in so many processes at once; results in order."""
    if jobs == 1:
        return [work(*words) for work, words in works]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=silence) as pool:
        waiting = [pool.submit(work, *words) for work, words in works]
        return [future.result() for future in track(waiting, what)]


def measure(valid: Path, train: Path, photos: tuple[Path, Path] | None, jobs: int, samples: int = SAMPLES) -> Found:
    """Measure the shipped emotion network.

    Args:
        valid: Rows that nothing was chosen by.
        train: The training rows; their held-out tenth is measured.
        photos: Folder of photos and their labels, see ``evaluate photos``.
        jobs: Processes at once.
        samples: How many samples shares are taken of.

    Raises:
        DataError, ModelError: A file is missing, damaged or of another format.
    """
    rows = scored(data.load(valid), valid)
    held, _ = split(scored(data.load(train), train))
    labels = data.majority(rows.votes)
    eval_shares.need_every_emotion(labels, valid)
    manifest = read_manifest()
    entry, file = manifest[emotion.NAME], manifest.file(emotion.NAME)
    if entry.points is None or entry.confusion is None:
        raise ModelError(
            f"{manifest.folder / 'manifest.json'}: no operating points; run python -m models.calibrate --data ferplus-train.npz"
        )
    took = speed()
    on_photos = eval_photos.evaluate(*photos) if photos else None
    kinds: tuple[Kind | None, ...] = (None, *KINDS)
    *worse, at_held = run_all(jobs, [*((read, (rows, kind)) for kind in kinds), (read, (held, None))], "reading")
    clean: Read = worse[0]
    cells = measures.counted(clean.at(entry, "count"), entry.point("count").unknown_below)
    confusion = np.array(entry.confusion, np.int64)
    errors = run_all(jobs, [(shares, (cells, labels, confusion, size, samples)) for size in SIZES], "sampling")
    return Found(
        entry=entry,
        size=file.path.stat().st_size,
        multiply_adds=graph.multiply_adds(file.path),
        speed=took,
        valid=dict(zip(kinds, worse, strict=True)),
        images=rows.images,
        held=at_held,
        shares=dict(zip(SIZES, errors, strict=True)),
        photos=on_photos,
    )


def write(found: Found, card: Path, plot: Path) -> None:
    """Write the figures into the card, and the plot.

    Raises:
        DataError: The card lacks the marks, or a file cannot be written.
    """
    text = card_text.between_marks(card, card_text.figures(found, Path(os.path.relpath(plot, card.parent)).as_posix()))
    clean = found.valid[None]
    panels = {
        f"point {name}, error {measures.calibration_error(clean.at(found.entry, name), clean.labels):.3f}": measures.reliability(
            clean.at(found.entry, name), clean.labels
        )
        for name in card_text.POINTS
    }
    for path, content in ((plot, reliability_plot(panels)), (card, text)):
        try:
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot write it ({error.strerror}); give another place") from error


class Parser(argparse.ArgumentParser):
    """Wrong words end with one line, like any other bad input."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"card: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = Parser(prog="python -m models.card", description=(__doc__ or "").splitlines()[0])
    words.add_argument("--data", type=Path, required=True, metavar="FER_VALID.npz", help="rows that nothing was chosen by")
    words.add_argument(
        "--held", type=Path, required=True, metavar="FER_TRAIN.npz", help="training rows: their held-out tenth is read"
    )
    words.add_argument(
        "--photos", type=Path, nargs=2, metavar=("DIR", "LABELS.csv"), help="whole photos too, as in evaluate photos"
    )
    words.add_argument("--card", type=Path, default=CARD, metavar="FILE.md", help="default: models/emotion.md")
    words.add_argument("--plot", type=Path, default=PLOT, metavar="FILE.svg", help="default: docs/images/reliability.svg")
    words.add_argument("--samples", type=int, default=SAMPLES, help=f"samples that shares are taken of (default: {SAMPLES})")
    words.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: one for each core)")
    return words


def main(words: list[str] | None = None) -> int:
    """Measure and write; returns the exit code: 0, or 2 for bad input (one line on stderr says what)."""
    args = parser().parse_args(words)

    def work() -> None:
        for name in ("samples", "jobs"):
            if getattr(args, name) < 1:
                raise DataError(f"--{name} {getattr(args, name)}: expected at least 1")
        card_text.between_marks(args.card, "")  # before minutes of work
        write(measure(args.data, args.held, args.photos, args.jobs, args.samples), args.card, args.plot)
        print(f"{args.card}, {args.plot}: written for {len(EMOTIONS)} emotions")

    return run("card", work)


if __name__ == "__main__":
    sys.exit(main())
