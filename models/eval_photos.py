"""``evaluate photos``: the whole way from a photo to an emotion, as people have labelled it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

import numpy as np

from device.contract import EMOTIONS
from device.manifest import PointName, read_manifest
from device.nets import emotion
from device.nets.emotion import EmotionNet
from device.types import Face
from models import measures
from models.data import DataError
from models.degrade import Kind
from models.detector import DEVICE
from models.pictures import load_picture, need_folder
from models.progress import track

COLUMNS: Final = ("path", "emotion")


def load_labels(path: Path) -> list[tuple[str, int]]:
    """Read a CSV with the columns ``path`` and ``emotion``: pictures, and the numbers of their labels.

    Raises:
        DataError: The file is missing, not such a file, or a label is not one of the eight.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise DataError(f"{path}: no column {missing[0]!r} in its first line; expected {','.join(COLUMNS)}")
            if twice := [name for name in COLUMNS if (reader.fieldnames or []).count(name) > 1]:
                raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one")
            rows = [(reader.line_num, row[COLUMNS[0]], row[COLUMNS[1]], None in row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot read the labels ({error.strerror}); give a .csv file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    labels: list[tuple[str, int]] = []
    known: dict[str, int] = {}
    for line, name, label, longer in rows:
        said = (label or "").strip().lower()
        if not name or said not in EMOTIONS:
            raise DataError(
                f"{path}: line {line}: {name or 'no path'!r}, {label!r}; expected a path and one of {', '.join(EMOTIONS)}"
            )
        if longer:
            raise DataError(f"{path}: line {line}: more cells than columns; put a path with a comma into quotes")
        if known.setdefault(name, EMOTIONS.index(said)) != EMOTIONS.index(said):
            raise DataError(f"{path}: line {line}: {name} is {said!r} here and {EMOTIONS[known[name]]!r} before; keep one")
        labels.append((name, EMOTIONS.index(said)))
    if not labels:
        raise DataError(f"{path}: it names no picture")
    return labels


def largest(faces: tuple[Face, ...], width: int, height: int) -> Face | None:
    """The face with the largest box, in pixels; ``None`` when there is none."""
    return max(faces, key=lambda f: (f.box[2] - f.box[0]) * width * (f.box[3] - f.box[1]) * height, default=None)


def evaluate(images: Path, labels: Path, name: PointName = "single", kind: Kind | None = None) -> dict[str, Any]:
    """Find the largest face of each photo and read it; a photo without a found face is wrong.

    Args:
        images: Folder that the paths start from.
        labels: CSV, see ``load_labels``.
        name: The operating point.
        kind: How the photos are made worse before anything sees them.

    Raises:
        DataError, ModelError: A file is missing, damaged or of another form.
    """
    named = load_labels(labels)
    need_folder(images, f"give the one with the pictures that {labels} names")
    manifest = read_manifest()
    point = manifest[emotion.NAME].point(name)
    find_faces = DEVICE.open()
    read = EmotionNet(manifest.file(emotion.NAME), temperature=point.temperature, offsets=point.offsets)
    truth = np.array([label for _, label in named], np.int64)
    said = np.full(len(named), -1, np.int64)
    for number, (path, _) in enumerate(track(named, "looking")):
        with load_picture(images / path, kind, number) as frame:
            found = largest(find_faces(frame), *frame.size)
            if found is not None:
                said[number] = int(np.argmax(read(frame, found).emotion))
    right = said == truth
    recall = {label: round(float(right[truth == k].mean()), 4) if (truth == k).any() else None for k, label in enumerate(EMOTIONS)}
    seen = said >= 0
    confusion = measures.counted_matrix(np.where(seen, said, len(EMOTIONS)), truth, len(EMOTIONS))
    return {
        "n": len(named),
        "accuracy": round(float(right.mean()), 4),
        "accuracy_found": round(float(right[seen].mean()), 4) if seen.any() else None,
        "missed": int((~seen).sum()),
        "recall": recall,
        "confusion": confusion.tolist(),
        "point": name,
        "degrade": kind,
        "sha256": read.model.sha256,
    }


def show(result: dict[str, Any]) -> str:
    """The figures as a small table."""
    found = result["accuracy_found"]
    lines = [
        f"{result['n']} photos, {result['missed']} without a found face" + (f", {result['degrade']}" if result["degrade"] else ""),
        f"accuracy                 {result['accuracy']:.2%}",
        f"where a face was found   {'–' if found is None else f'{found:.2%}'}",
        "",
        f"{'label':<11}{'recall':>8}  said: " + "".join(f"{name[:5]:>7}" for name in (*EMOTIONS, "missed")),
    ]
    for label, row in zip(EMOTIONS, result["confusion"], strict=True):
        recall = result["recall"][label]
        lines.append(f"{label:<11}{'–' if recall is None else f'{recall:.1%}':>8}        " + "".join(f"{n:>7}" for n in row))
    return "\n".join(lines)
