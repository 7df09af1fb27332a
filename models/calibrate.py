"""Choose how the shipped emotion network is read: temperature, operating points, and the confusion matrix for the fleet.

    python -m models.calibrate --data ferplus-train.npz

Everything is measured on the held-out tenth of the training rows, through the code that runs on the device, and written into the
manifest. ``models.export`` does the same when it releases a network. Three choices:

Temperature: the least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599), shared by both points.

Offsets: ``-strength · log(prior)``, the logit adjustment of Menon et al. 2021 (arXiv 2007.07314); the prior is how often each label
occurs in the training rows. Point ``single`` has none: the best guess about a face takes into account how common an emotion is.
``count`` takes the strength whose counts have the least error in samples of 50 faces with random shares (the protocol of
``evaluate shares``); of equals, the weaker.

Unknown: a right answer is worth 1, a wrong one costs 1, unknown costs nothing; the threshold is the one with the highest sum. Point
``count`` weighs the emotions equally (but contempt, which hardly occurs), so that the common ones do not decide alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from device import durable
from device.contract import EMOTIONS
from device.manifest import FOLDER, Point, PointName, read_manifest
from device.nets import emotion, face
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from models import data, measures
from models.data import DataError, Rows
from models.errors import run, tell
from models.eval_emotion import read_all, scored
from models.measures import Labels, Probabilities

STRENGTHS: Final = np.linspace(0, 1, 21)
THRESHOLDS: Final = np.linspace(0.2, 0.7, 51)
SAMPLE, SAMPLES, SEED = 50, 2000, 1  # how many faces, how often, which ones: for the choice of the strength
SHARED: Final = len(EMOTIONS) - 1  # emotions whose shares are compared: all but contempt, the last


@dataclass(frozen=True, slots=True)
class Chosen:
    """What goes into the manifest, and figures to print."""

    points: dict[PointName, Point]
    confusion: npt.NDArray[np.int64]  # [emotions, emotions + 1], at point count
    strengths: dict[PointName, float]

    def entry(self) -> dict[str, Any]:
        """The fields of the manifest's entry."""
        return {
            "temperature": self.points["single"].temperature,
            "points": {name: point.model_dump(mode="json") for name, point in self.points.items()},
            "confusion": self.confusion.tolist(),
        }


def log_prior(labels: Labels) -> npt.NDArray[np.float64]:
    """Logarithm of how often each emotion occurs, by the labels of the training rows; one that never does counts as half a row."""
    return np.log(np.maximum(np.bincount(labels, minlength=len(EMOTIONS)), 0.5) / len(labels))


def count_error(
    probabilities: Probabilities, labels: Labels, size: int = SAMPLE, samples: int = SAMPLES, seed: int = SEED
) -> float:
    """Mean absolute error of a counted share, in samples with random true shares (flat Dirichlet) of the emotions but contempt."""
    rng = np.random.default_rng(seed)
    present = [k for k in range(SHARED) if (labels == k).any()]
    matrix = measures.confusion(probabilities, labels)[present]
    says = matrix / matrix.sum(axis=1, keepdims=True)
    people = rng.multinomial(size, rng.dirichlet(np.ones(len(present)), samples))
    said = rng.multinomial(people, says).sum(axis=1)  # [samples, emotions]
    return float(np.abs(said[:, present] - people).mean() / size)


def threshold(probabilities: Probabilities, labels: Labels, weights: npt.NDArray[np.float64]) -> float:
    """Below which probability a reading is unknown: right minus wrong answers, weighed, are the most; of equals, the lowest."""
    highest = probabilities.max(axis=1)
    worth = np.where(probabilities.argmax(axis=1) == labels, 1.0, -1.0) * weights[labels]
    sums = [round(float(worth[highest >= t].sum()), 9) for t in THRESHOLDS]
    return round(float(THRESHOLDS[int(np.argmax(sums))]), 2)


def choose(probabilities: Probabilities, labels: Labels, prior: npt.NDArray[np.float64]) -> Chosen:
    """Choose both operating points.

    Args:
        probabilities: ``float64[N, 8]`` of held-out rows, at temperature 1 without offsets.
        labels: ``int64[N]``.
        prior: ``log_prior`` of the training rows.
    """
    temperature = measures.fit_temperature(probabilities, labels)
    read = [measures.tempered(probabilities, temperature, -s * prior) for s in STRENGTHS]
    best = {"single": 0, "count": int(np.argmin([round(count_error(p, labels), 6) for p in read]))}
    rows = np.bincount(labels, minlength=len(EMOTIONS))
    equal = np.where(np.arange(len(EMOTIONS)) < SHARED, 1 / np.maximum(rows, 1), 0.0)
    weights = {"single": np.ones(len(EMOTIONS)), "count": equal}
    points: dict[PointName, Point] = {}
    for name in ("single", "count"):
        offsets = tuple(round(float(value), 4) for value in -STRENGTHS[best[name]] * prior + 0.0)
        unknown = threshold(measures.tempered(probabilities, temperature, offsets), labels, weights[name])
        points[name] = Point(temperature=temperature, offsets=offsets, unknown_below=unknown)
    at_count = measures.tempered(probabilities, temperature, points["count"].offsets)
    cells = measures.counted(at_count, points["count"].unknown_below)
    strengths: dict[PointName, float] = {name: round(float(STRENGTHS[best[name]]), 2) for name in points}
    return Chosen(points, measures.counted_matrix(cells, labels, len(EMOTIONS)), strengths)


def report(chosen: Chosen, probabilities: Probabilities, labels: Labels) -> str:
    """The points as a small table, with their figures on the rows that chose them."""
    heads = (("strength", 9), ("unknown below", 15), ("abstained", 11), ("accuracy", 10), ("kept", 8), ("ECE", 7), ("macro 7", 9))
    lines = [f"{'point':<8}" + "".join(f"{head:>{width}}" for head, width in (*heads, ("share", 8)))]
    for name, point in chosen.points.items():
        read = measures.tempered(probabilities, point.temperature, point.offsets)
        kept = read.max(axis=1) >= point.unknown_below
        right = f"{measures.accuracy(read[kept], labels[kept]):.2%}" if kept.any() else "–"
        recalls = [value for value in measures.recalls(measures.confusion(read, labels))[:SHARED] if value is not None]
        lines.append(
            f"{name:<8}{chosen.strengths[name]:>9.2f}{point.unknown_below:>15.2f}{1 - kept.mean():>11.2%}"
            f"{measures.accuracy(read, labels):>10.2%}{right:>8}"
            f"{measures.calibration_error(read, labels):>7.3f}{np.mean(recalls):>9.3f}{count_error(read, labels):>8.4f}"
        )
    return "\n".join([f"temperature {chosen.points['single'].temperature}, {len(labels)} held-out rows", *lines])


def split(rows: Rows) -> tuple[Rows, Labels]:
    """The held-out rows that have a label, and the labels of all the others.

    Raises:
        DataError: There are none of one kind.
    """
    aside, labels = data.held_out(rows.names), data.majority(rows.votes)
    if not aside.any() or aside.all():
        raise DataError("no row is held out, or no other is left; give the training rows of FER+ or a file with many names")
    if (labels[aside] >= SHARED).all():
        raise DataError(
            f"every held-out row is labelled {EMOTIONS[-1]}, which shares leave out; give rows of other emotions as well"
        )
    return rows[aside], labels[~aside]


def calibrate(path: Path, folder: Path) -> str:
    """Measure the emotion network of a folder of models, and write its points into the manifest there; returns what to print.

    Raises:
        DataError, ModelError: A file is missing, damaged or of another format.
    """
    held, others = split(scored(data.load(path), path))
    manifest = read_manifest(folder)
    faces = data.find_faces(held.images, FaceNet(manifest.file(face.NAME)))
    probabilities, labels = read_all(EmotionNet(manifest.file(emotion.NAME)), held, faces), data.majority(held.votes)
    chosen = choose(probabilities, labels, log_prior(others))
    file = folder / "manifest.json"
    known = json.loads(file.read_text())
    known["models"][emotion.NAME].update(chosen.entry())
    try:
        durable.write(file, (json.dumps(known, indent=2, sort_keys=True) + "\n").encode())
    except OSError as error:
        raise DataError(f"{file}: cannot write the manifest ({error.strerror})") from error
    return report(chosen, probabilities, labels)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.calibrate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="ferplus-train.npz: the rows of the training")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="folder of the manifest (default: models/)")
    args = parser.parse_args()
    return run("calibrate", lambda: tell(calibrate(args.data, args.out)))


if __name__ == "__main__":
    sys.exit(main())
