"""``evaluate faces``: which faces the detector finds in photos whose heads people have boxed."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from device.nets.face import MIN_SCORE
from device.types import Face
from models.data import DataError
from models.degrade import Kind, turned
from models.detector import DEVICE, Which
from models.pictures import load_picture, need_folder
from models.progress import track

Box = npt.NDArray[np.float64]  # left, top, right, bottom in pixels
IOU: Final = 0.4  # a detection that overlaps a head at least so much is a hit
LARGE: Final = 60.0  # pixels: heads whose shorter side is at least this count in recall_60px
FARTHEST: Final = 1e6  # pixels: a box farther away is a mistake
RANKED_FROM: Final = 0.05  # average precision ranks detections down to this score

# From the detector's face box (brows to chin) to a head box (hair to chin), in units of the face box's own width and height.
# Medians over 224 faces of the FDDB subset, which is also what recall is measured on: three numbers that change which box is
# compared, not what the detector finds (with the face box itself, recall at IoU 0.4 is 88.7 %).
HEAD_WIDTH: Final = 0.95
HEAD_HEIGHT: Final = 1.43
HEAD_UP: Final = 0.14  # the head's centre lies this far above the face's

_BOXES: Final = TypeAdapter(
    dict[str, list[Annotated[list[Annotated[float, Field(strict=True)]], Field(min_length=4, max_length=4)]]]
)


def load_boxes(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Read ``{"file name": [[x0, y0, x1, y1], …]}``, pixels.

    Raises:
        DataError: The file is missing, not JSON, or of another form.
    """
    try:
        content = path.read_bytes().removeprefix(BOM_UTF8)
        named = _BOXES.validate_json(content)
    except OSError as error:
        raise DataError(f"{path}: cannot read the boxes ({error.strerror}); give a .json file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f'{path}: {where}: {first["msg"]}; expected {{"file name": [[x0, y0, x1, y1], …]}}') from error
    times = Counter(name for name, _ in json.loads(content, object_pairs_hook=list))
    if twice := [name for name, count in times.items() if count > 1]:
        raise DataError(f"{path}: {twice[0]} is named twice; put all its boxes into one list")
    boxes = {name: np.array(rows, np.float64).reshape(-1, 4) for name, rows in named.items()}
    for name, rows in boxes.items():
        if not ((np.abs(rows) <= FARTHEST).all() and (rows[:, 2:] > rows[:, :2]).all()):
            raise DataError(
                f"{path}: {name}: a box is empty, upside down or nowhere near; expected [left, top, right, bottom] in pixels"
            )
        if not (rows[:, 2:] - rows[:, :2] >= 1).all():
            raise DataError(f"{path}: {name}: a box is less than a pixel wide or high; expected pixels, not shares of the picture")
    if not boxes:
        raise DataError(f"{path}: it names no image")
    return boxes


def head_box(found: Face, width: int, height: int) -> Box:
    """The head box that belongs to a detected face, in pixels."""
    x0, y0, x1, y1 = np.array(found.box) * (width, height, width, height)
    w, h = x1 - x0, y1 - y0
    x, y = (x0 + x1) / 2, (y0 + y1) / 2 - HEAD_UP * h
    return np.array([x - HEAD_WIDTH * w / 2, y - HEAD_HEIGHT * h / 2, x + HEAD_WIDTH * w / 2, y + HEAD_HEIGHT * h / 2])


def overlap(box: Box, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of one box with each of ``boxes``."""
    sides = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    shared = sides.prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    return np.asarray(shared / union)


def match(found: list[Box], truth: npt.NDArray[np.float64]) -> list[int | None]:
    """For each detection, the surest first, the head that it hits (each head once), or ``None``."""
    free = np.ones(len(truth), bool)
    hits: list[int | None] = []
    for box in found:
        overlaps = np.where(free, overlap(box, truth), 0)
        best = int(overlaps.argmax()) if len(truth) else -1
        hit = len(truth) > 0 and overlaps[best] >= IOU
        hits.append(best if hit else None)
        if hit:
            free[best] = False
    return hits


def average_precision(scores: list[float], hits: list[bool], truths: int) -> float:
    """Area under precision over recall, precision made monotonic (all-point interpolation of PASCAL VOC 2010)."""
    if not scores or not truths:
        return 0.0
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.array(hits, bool)[order].cumsum()
    precision = np.maximum.accumulate((right / np.arange(1, len(order) + 1))[::-1])[::-1]
    return float(np.diff(right / truths, prepend=0.0) @ precision)


def evaluate(images: Path, boxes: Path, kind: Kind | None = None, which: Which = DEVICE) -> dict[str, Any]:
    """Measure a detector: recall and false positives at its own threshold, average precision over all scores.

    Args:
        images: Folder of pictures.
        boxes: Heads in each of them.
        kind: How the pictures are made worse before the detector sees them.
        which: The detector; the device's own if nothing is said.

    Raises:
        DataError, ModelError: A file is missing, damaged or of another form.
    """
    truth = load_boxes(boxes)
    need_folder(images, f"give the one with the pictures that {boxes} names")
    net = which.open()
    found_large, large, found_all, false = 0, 0, 0, 0
    scores: list[float] = []
    hits: list[bool] = []
    for number, (name, upright) in enumerate(track(sorted(truth.items()), "looking")):
        with load_picture(images / name, kind, number) as frame:
            size = frame.size
            if not ((upright[:, :2] < size) & (upright[:, 2:] > 0)).all():
                raise DataError(f"{boxes}: {name}: a box lies outside the picture, which is {size[0]} x {size[1]} pixels")
            seen = net.hits(frame, RANKED_FROM)
        at_threshold, all_scores = net.merge(*seen, MIN_SCORE), net.merge(*seen, RANKED_FROM)
        heads = turned(upright, *size, number) if kind == "rotate" else upright
        matches = match([head_box(found, *size) for found in at_threshold], heads)
        is_large = (upright[:, 2:] - upright[:, :2]).min(axis=1, initial=np.inf) >= LARGE
        large += int(is_large.sum())
        hit = [index for index in matches if index is not None]
        found_all += len(hit)
        found_large += int(is_large[hit].sum())
        false += len(matches) - len(hit)
        scores += [found.score for found in all_scores]
        hits += [index is not None for index in match([head_box(found, *size) for found in all_scores], heads)]
    faces = sum(len(heads) for heads in truth.values())
    return {
        "images": len(truth),
        "faces": faces,
        "degrade": kind,
        "recall": round(found_all / faces, 4) if faces else None,
        "recall_60px": round(found_large / large, 4) if large else None,
        "faces_60px": large,
        "false_positives": false,
        "average_precision": round(average_precision(scores, hits, faces), 4) if faces else None,
        "detector": which.detector,
        "tiles": which.tiles,
        "sha256": net.model.sha256,
    }


def show(result: dict[str, Any]) -> str:
    """The figures as a small table."""
    precision = result["average_precision"]

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    return "\n".join(
        [
            f"detector {result['detector']}, tiles = {result['tiles']}, sha256 {result['sha256'][:12]}",
            f"{result['images']} images, {result['faces']} faces, hit at IoU {IOU}"
            + (f", {result['degrade']}" if result["degrade"] else ""),
            f"recall, all             {percent(result['recall']):>7}",
            f"recall, 60 px or more   {percent(result['recall_60px']):>7}  ({result['faces_60px']} faces)",
            f"false positives         {result['false_positives']:>7}",
            f"average precision       {'–' if precision is None else f'{precision:.3f}':>7}",
        ]
    )
