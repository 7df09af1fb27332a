"""``evaluate emotion``: how often the emotion model is right about faces that people have labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.contract import EMOTIONS
from device.errors import ModelError
from device.manifest import Point, PointName, read_manifest
from device.nets import emotion, face
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.tflite import ModelFile
from device.types import Face, Frame
from models import data, measures
from models.data import DataError, Rows
from models.degrade import Kind, degrade
from models.pictures import open_regular
from models.progress import track


def pick(path: Path | None, name: PointName) -> tuple[ModelFile, Point]:
    """The shipped model, or the one in a file; and its operating point: that of the manifest when it lists this very file.

    Raises:
        ModelError: The file or the manifest cannot be read.
    """
    manifest = read_manifest()
    if path is None:
        return manifest.file(emotion.NAME), manifest[emotion.NAME].point(name)
    try:
        with open_regular(path) as content:
            model = content.read()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model ({error.strerror}); give the path of a .tflite file") from error
    if not model:
        raise ModelError(f"{path}: the model is empty; give the path of a .tflite file")
    sha256 = hashlib.sha256(model).hexdigest()
    known = [entry.point(name) for entry in manifest.entries.values() if entry.sha256 == sha256]
    return ModelFile(path, sha256), known[0] if known else Point()


def scored(rows: Rows, path: Path | None = None) -> Rows:
    """The rows that have a label under the protocol; ``path`` is for the error.

    Raises:
        DataError: None has.
    """
    kept = rows[data.majority(rows.votes) >= 0]
    if not len(kept):
        where = f"{path}: " if path else ""
        single = "; a single vote counts as noise: give a label that is certain 10" if (rows.votes <= 1).all() else ""
        raise DataError(f"{where}no row has a majority label; see the protocol in models/README.md{single}")
    return kept


def read_all(read: Callable[[Frame, Face], Any], rows: Rows, faces: list[Face | None]) -> measures.Probabilities:
    """What the device reads in each image: ``float64[N, 8]``. An image without a detected face is taken whole."""
    out = np.empty((len(rows), len(EMOTIONS)))
    for row, (image, found) in enumerate(track(list(zip(rows.images, faces, strict=True)), "reading")):
        with Frame(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), 0.0) as frame:
            out[row] = read(frame, found or data.whole_image()).emotion
    return out


def read_rows(rows: Rows, net: EmotionNet, kind: Kind | None = None) -> tuple[measures.Probabilities, int]:
    """What the device reads in each row, and how many of them it could align; the pictures made worse first if a kind is given."""
    if kind is not None:
        worse = [degrade(image, kind, number) for number, image in enumerate(rows.images)]
        rows = Rows(np.stack(worse), rows.votes, rows.names)
    faces = data.find_faces(rows.images, FaceNet(read_manifest().file(face.NAME)))
    return read_all(net, rows, faces), sum(found is not None for found in faces)


def evaluate(path: Path, model: Path | None, name: PointName = "single", kind: Kind | None = None) -> dict[str, Any]:
    """Measure a model on a ``.npz`` in the format of FER+, through the device's own path.

    Args:
        path: The rows.
        model: Another network than the shipped one.
        name: The operating point.
        kind: How the pictures are made worse before anything sees them.

    Returns:
        Figures, see ``models/README.md``.

    Raises:
        DataError, ModelError: A file is missing, damaged or of another format.
    """
    rows = scored(data.load(path), path)
    file, point = pick(model, name)
    net = EmotionNet(file, temperature=point.temperature, offsets=point.offsets)
    labels = data.majority(rows.votes)
    probabilities, aligned = read_rows(rows, net, kind)
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{file.path}: it answers with values that are not numbers; train or convert it anew")
    matrix = measures.confusion(probabilities, labels)
    recall = dict(zip(EMOTIONS, measures.recalls(matrix), strict=True))
    present = [value for value in recall.values() if value is not None]
    shared = [recall[name] for name in EMOTIONS if name != "contempt"]
    without = [value for value in shared if value is not None]
    kept = probabilities.max(axis=1) >= point.unknown_below
    return {
        "n": len(rows),
        "aligned": aligned,
        "point": name,
        "degrade": kind,
        "accuracy": round(measures.accuracy(probabilities, labels), 4),
        "macro_recall": round(float(np.mean(present)), 4),
        "macro_recall_7": round(float(np.mean(without)), 4) if without else None,
        "recall": {name: None if value is None else round(value, 4) for name, value in recall.items()},
        "ece": round(measures.calibration_error(probabilities, labels), 4),
        "abstained": round(float(1 - kept.mean()), 4),
        "accuracy_kept": round(measures.accuracy(probabilities[kept], labels[kept]), 4) if kept.any() else None,
        "accuracy_85": round(measures.accuracy_of_surest(probabilities, labels), 4),
        "temperature": point.temperature,
        "confusion": matrix.tolist(),
        "model": file.path.name,
        "sha256": file.sha256,
    }


def show(result: dict[str, Any]) -> str:
    """The figures as a small table."""
    short = [name[:5] for name in EMOTIONS]
    kept = result["accuracy_kept"]
    lines = [
        f"{result['model']}  sha256 {result['sha256'][:12]}  point {result['point']}, temperature {result['temperature']}",
        f"{result['n']} faces, {result['aligned']} of them aligned" + (f", {result['degrade']}" if result["degrade"] else ""),
        f"accuracy      {result['accuracy']:.2%}",
        f"macro recall  {result['macro_recall']:.2%}",
        f"calibration error (ECE, {measures.BINS} bins)  {result['ece']:.3f}",
        f"unknown       {result['abstained']:.2%}, accuracy on the others {'–' if kept is None else f'{kept:.2%}'}",
        f"accuracy on the 85 % it is surest of  {result['accuracy_85']:.2%}",
        "",
        f"{'label':<11}{'recall':>8}  said: " + "".join(f"{name:>7}" for name in short),
    ]
    for name, row in zip(EMOTIONS, result["confusion"], strict=True):
        recall = result["recall"][name]
        lines.append(f"{name:<11}{'–' if recall is None else f'{recall:.1%}':>8}        " + "".join(f"{n:>7}" for n in row))
    return "\n".join(lines)
