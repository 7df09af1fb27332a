"""``evaluate shares``: how right the published shares are, counted and corrected, whatever the true shares may be.

The artificial-prevalence protocol (Forman 2008): true shares of the emotions but contempt are drawn from a flat Dirichlet, so many
faces of each emotion are drawn with replacement, counted as the device counts, and corrected as the fleet corrects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from device.contract import EMOTIONS
from device.errors import ModelError
from device.manifest import read_manifest
from device.nets import emotion
from device.nets.emotion import EmotionNet
from models import data, measures
from models.data import DataError
from models.degrade import Kind
from models.eval_emotion import read_rows, scored
from models.measures import Labels
from models.progress import track
from provisioning.shares import correct

LEFT_OUT: Final = "contempt"  # too rare in any data to draw samples from
MOST: Final = 1_000_000  # faces in a sample, and samples


def sample(
    cells: Labels, labels: Labels, size: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """One sample: how many were counted in each cell, and the true shares among them, over all emotions."""
    drawn = [k for k, name in enumerate(EMOTIONS) if name != LEFT_OUT]
    people = np.zeros(len(EMOTIONS), np.int64)
    people[drawn] = rng.multinomial(size, rng.dirichlet(np.ones(len(drawn))))
    counted = np.concatenate([rng.choice(cells[labels == k], people[k]) for k in drawn])
    return np.bincount(counted, minlength=len(EMOTIONS) + 1), people / size


def measure(cells: Labels, labels: Labels, confusion: npt.ArrayLike, size: int, *, samples: int, seed: int) -> dict[str, float]:
    """Errors of a share and coverage of its interval, means over the samples and the seven emotions.

    Args:
        cells: ``int64[N]``, where the device counts each face.
        labels: ``int64[N]``; each emotion but contempt occurs.
        confusion: ``[8, 9]``, of the classifier, from other faces.
        size: Faces in a sample.
        samples: How many samples.
        seed: Which ones.
    """
    rng = np.random.default_rng(seed)
    matrix = np.asarray(confusion).tolist()
    compared = [k for k, name in enumerate(EMOTIONS) if name != LEFT_OUT]
    counted, corrected, covered = np.zeros((3, samples))
    for number in track(range(samples), "sampling"):
        counts, true = sample(cells, labels, size, rng)
        shares = correct(counts.tolist(), matrix, seed=number)
        plain, better, low, high = (np.array(values) for values in (shares.counted, shares.corrected, shares.low, shares.high))
        counted[number] = np.abs(plain - true)[compared].mean()
        corrected[number] = np.abs(better - true)[compared].mean()
        covered[number] = ((low <= true + 1e-9) & (true <= high + 1e-9))[compared].mean()
    return {"mae_counted": counted.mean(), "mae_corrected": corrected.mean(), "coverage_90": covered.mean()}


def need_every_emotion(labels: Labels, path: Path) -> None:
    """Samples can be drawn only when each emotion but contempt occurs.

    Raises:
        DataError: One does not.
    """
    missing = [name for k, name in enumerate(EMOTIONS) if name != LEFT_OUT and not (labels == k).any()]
    if missing:
        raise DataError(f"{path}: no row is labelled {missing[0]}; samples need every emotion but {LEFT_OUT}")


def evaluate(path: Path, size: int, samples: int, seed: int, kind: Kind | None = None) -> dict[str, Any]:
    """Measure the shares that the shipped model leads to, on a ``.npz`` in the format of FER+.

    Raises:
        DataError, ModelError: A file is missing, damaged or of another format; the file lacks an emotion; a number is too small.
    """
    for name, number, least in (("--size", size, 1), ("--samples", samples, 1), ("--seed", seed, 0)):
        if number < least:
            raise DataError(f"{name} {number}: expected at least {least}")
        if name != "--seed" and number > MOST:
            raise DataError(f"{name} {number}: expected at most {MOST}")
    rows = scored(data.load(path), path)
    labels = data.majority(rows.votes)
    need_every_emotion(labels, path)
    manifest = read_manifest()
    entry, point = manifest[emotion.NAME], manifest[emotion.NAME].point("count")
    if entry.confusion is None:
        where = manifest.folder / "manifest.json"
        raise ModelError(f"{where}: no confusion matrix; run python -m models.calibrate --data ferplus-train.npz")
    net = EmotionNet(manifest.file(emotion.NAME), temperature=point.temperature, offsets=point.offsets)
    probabilities, _ = read_rows(rows, net, kind)
    cells = measures.counted(probabilities, point.unknown_below)
    figures = measure(cells, labels, entry.confusion, size, samples=samples, seed=seed)
    return {
        "n": len(rows),
        "size": size,
        "samples": samples,
        "seed": seed,
        "degrade": kind,
        "unknown": round(float((cells == len(EMOTIONS)).mean()), 4),
        **{name: round(float(value), 4) for name, value in figures.items()},
        "sha256": net.model.sha256,
    }


def show(result: dict[str, Any]) -> str:
    """The figures as a small table."""
    return "\n".join(
        [
            f"{result['samples']} samples of {result['size']} faces out of {result['n']}"
            + (f", {result['degrade']}" if result["degrade"] else ""),
            f"mean error of a share, counted     {result['mae_counted']:.4f}",
            f"mean error of a share, corrected   {result['mae_corrected']:.4f}",
            f"true share inside its 90 % interval {result['coverage_90']:.1%}",
            f"faces counted as unknown           {result['unknown']:.1%}",
        ]
    )
