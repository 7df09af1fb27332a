"""Make the mean faces of the composite camera: what many faces of one emotion have in common, and nobody's likeness.

Per emotion: the FER+ training faces that most taggers agree on, without repeats, laid over each other by their eyes, averaged.
``python -m models.composite --data ferplus-train.npz --out device/cameras/faces --picture docs/images/composite.png``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from device.cameras.composite import Painter
from device.contract import EMOTIONS
from device.errors import MienError
from device.manifest import read_manifest
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.scene import Scene
from device.types import Face, Frame, Pixels, Reading
from models import data

SIDE: Final = 96  # of a mean face, pixels
EYES: Final = ((33.0, 39.0), (63.0, 39.0))  # where they come to lie in it: the person's right and left
AGREEMENT: Final = (0.6, 0.5, 0.4, 0.3)  # share of the taggers, the first that leaves enough faces
LEAST: Final = 40  # faces in a mean: with fewer, one of them could be recognised
MOST: Final = 1000  # the surest; enough for a mean
SAME_PHOTO: Final = 0.93  # correlation above which two images are one photo
FRONTAL: Final = 0.22  # the nose is at most this far, in eye distances, from the middle between the eyes
LEAST_COVERED: Final = 0.25  # of the faces must reach a pixel for its mean to count
PICTURE: Final = (10, 259.0)  # seed and second of the scene that is painted for the documentation
MEAN, DEVIATION = 128.0, 46.0  # of a mean face, over the pixels that every face covers


@dataclass(frozen=True, slots=True)
class MeanFace:
    """``image: uint8[96, 96]``, how many faces it is the mean of, and the share of taggers that each has behind it."""

    image: Pixels
    faces: int
    agreement: float


def distinct(images: Pixels, limit: float = SAME_PHOTO) -> npt.NDArray[np.intp]:
    """The rows to keep so that no two correlate by more than ``limit``; of a pair the earlier stays.

    Args:
        images: ``uint8[N, height, width]``.
    """
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    keep = np.ones(len(flat), bool)
    for row in range(len(flat)):
        if keep[row]:
            keep[row + 1 :] &= flat[row + 1 :] @ flat[row] <= limit
    return np.flatnonzero(keep)


def eye_matrix(face: Face, width: int, height: int) -> npt.NDArray[np.float64] | None:
    """The turn, scale and shift that brings both eyes to ``EYES``; None for a face that is turned away.

    Args:
        face: Fractions of a picture of ``width`` x ``height`` pixels.
    """
    right, left, nose = (complex(x * width - 0.5, y * height - 0.5) for x, y in face.keypoints[:3])
    across = left - right
    if abs(across) < 4 or abs(((nose - (left + right) / 2) / across).real) > FRONTAL:
        return None
    turn = complex(EYES[1][0] - EYES[0][0], EYES[1][1] - EYES[0][1]) / across
    shift = complex(*EYES[0]) - turn * right
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def lay_over(images: Pixels, find_faces: Callable[[Frame], tuple[Face, ...]], note: str) -> tuple[Pixels, Pixels]:
    """Bring images to one place by their eyes; those with no frontal face are left out.

    Returns:
        ``uint8[M, 96, 96]`` and where each image reached, 0 or 255, of the same shape.
    """
    laid, reached, pad = [], [], data.PADDING
    for image in tqdm(images, desc=note, unit="face", leave=False):
        side = len(image) + 2 * pad
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=[float(image.mean())])
        faces = find_faces(Frame(cv2.cvtColor(padded, cv2.COLOR_GRAY2RGB), 0.0))
        matrix = eye_matrix(faces[0], side, side) if faces else None
        if matrix is None:
            continue
        matrix[:, 2] += matrix[:, :2] @ (pad, pad)
        laid.append(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        reached.append(cv2.warpAffine(np.full_like(image, 255), matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST))
    return np.array(laid, np.uint8).reshape(-1, SIDE, SIDE), np.array(reached, np.uint8).reshape(-1, SIDE, SIDE)


def mean_of(laid: Pixels, reached: Pixels) -> Pixels:
    """The mean of faces of one brightness and contrast; where few of them reach, it fades to grey.

    Returns:
        ``uint8[96, 96]``.
    """
    total, weight = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for image, where in zip(laid, reached > 0, strict=True):
        values = image[where].astype(np.float64)
        total += np.where(where, (image - values.mean()) / max(values.std(), 6.0), 0.0)
        weight += where
    mean = total / np.maximum(weight, 1)
    well = weight > 0.9 * len(laid)
    mean = (mean - mean[well].mean()) / mean[well].std()
    mean *= np.clip(weight / (LEAST_COVERED * len(laid)), 0, 1)
    return np.asarray(np.clip(mean * DEVIATION + MEAN, 0, 255).round(), np.uint8)


def mean_face(rows: data.Rows, label: int, find_faces: Callable[[Frame], tuple[Face, ...]]) -> MeanFace:
    """The mean face of one emotion.

    Raises:
        DataError: Even the lowest agreement leaves fewer than ``LEAST`` faces.
    """
    share = rows.votes[:, label] / np.maximum(rows.votes.sum(axis=1), 1)
    leading = rows.votes.argmax(axis=1) == label
    count = 0
    for agreement in AGREEMENT:
        chosen = np.flatnonzero(leading & (share >= agreement - 1e-9))
        chosen = chosen[np.argsort(-share[chosen], kind="stable")]
        images = rows.images[chosen[: MOST * 2]]
        images = images[distinct(images)]
        laid, reached = lay_over(images, find_faces, f"{EMOTIONS[label]}, {agreement:.0%} agree")
        once = distinct(laid)[:MOST] if len(laid) else np.empty(0, np.intp)  # the same photo in another crop
        count = len(once)
        if count >= LEAST:
            return MeanFace(mean_of(laid[once], reached[once]), count, agreement)
    raise data.DataError(
        f"{EMOTIONS[label]}: only {count} different faces in the data, at least {LEAST} are needed; use all of FER+"
    )


def read_back(
    image: Pixels, find_faces: Callable[[Frame], tuple[Face, ...]], read: Callable[[Frame, Face], Reading], side: int
) -> tuple[float, tuple[float, ...] | None]:
    """What the device's networks say about a mean face alone on grey: the detector's score, the emotion probabilities.

    Args:
        image: ``uint8[96, 96]``.
        side: Its size in the picture, pixels.
    """
    picture = np.full((480, 640, 3), 128, np.uint8)
    left, top = (640 - side) // 2, (480 - side) // 2
    picture[top : top + side, left : left + side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)[..., None]
    with Frame(picture, 0.0) as frame:
        faces = find_faces(frame)
        return (faces[0].score, read(frame, faces[0]).emotion) if faces else (0.0, None)


def table(folder: Path, find_faces: Callable[[Frame], tuple[Face, ...]], read: Callable[[Frame, Face], Reading]) -> str:
    """One line per mean face and size: what the networks make of it."""
    lines = []
    for name in EMOTIONS:
        image = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise data.DataError(f"{folder / name}.png: no such picture; make the faces with --data ferplus-train.npz")
        for side in (90, 140, 200):
            score, emotion = read_back(np.asarray(image, np.uint8), find_faces, read, side)
            if emotion is None:
                lines.append(f"{name:10} {side:4} px  not detected")
                continue
            first, second = np.argsort(emotion)[::-1][:2]
            verdict = "itself" if EMOTIONS[first] == name else "ANOTHER"
            said = f"{EMOTIONS[first]} {emotion[first]:.2f}, {EMOTIONS[second]} {emotion[second]:.2f}"
            lines.append(f"{name:10} {side:4} px  detected {score:.2f}  reads as {verdict}: {said}")
    return "\n".join(lines)


def save(path: Path, image: Pixels) -> None:
    """Write a picture: grey, or RGB.

    Raises:
        DataError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", image if image.ndim == 2 else image[..., ::-1])[1].tobytes())
    except OSError as error:
        raise data.DataError(f"{path}: cannot write the picture ({error.strerror})") from error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.composite", description=__doc__)
    parser.add_argument("--data", type=Path, help="ferplus-train.npz; without it, only read the faces that are there")
    parser.add_argument("--out", type=Path, required=True, help="folder of the mean faces")
    parser.add_argument("--picture", type=Path, help="also paint a moment of the scene (faces as installed), as PNG")
    args = parser.parse_args()
    try:
        manifest = read_manifest()
        find_faces = FaceNet(manifest.file("face"))
        if args.data:
            rows = data.load(args.data)
            for label, name in enumerate(EMOTIONS):
                made = mean_face(rows, label, find_faces)
                save(args.out / f"{name}.png", made.image)
                print(f"{name:10} mean of {made.faces:4} faces, each with at least {made.agreement:.0%} of the taggers", flush=True)
        point = manifest["emotion"].point("count")  # as the device reads
        read = EmotionNet(manifest.file("emotion"), temperature=point.temperature, offsets=point.offsets)
        print(table(args.out, find_faces, read))
        if args.picture:
            scene = Scene(PICTURE[0])
            save(args.picture, Painter(scene.width, scene.height, scene.seed).paint(scene.people_at(PICTURE[1])))
    except (data.DataError, MienError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
