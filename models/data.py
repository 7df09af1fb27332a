"""FER+ rows: images, votes, the scoring protocol, and the alignment that the device uses."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from device.contract import EMOTIONS
from device.manifest import read_manifest
from device.nets import emotion
from device.nets.face import FaceNet
from device.types import Face, Frame, Point
from models.errors import DataError
from models.pictures import open_regular
from models.progress import track

__all__ = ["DataError", "Rows"]

SIDE: Final = 48  # of a FER+ image
PADDING: Final = 36  # grey border around it for the detector: found to detect the most (models/RUNS.md)

# What NumPy and zipfile raise for files that are damaged, or that claim to hold more than any memory.
UNREADABLE: Final = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, MemoryError, RuntimeError, OverflowError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """``images: uint8[N, 48, 48]``, ``votes: uint8[N, 10]`` (eight emotions, unknown, not a face), ``names: str[N]``."""

    images: npt.NDArray[np.uint8]
    votes: npt.NDArray[np.uint8]
    names: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: npt.NDArray[np.generic]) -> Rows:
        return Rows(self.images[rows], self.votes[rows], self.names[rows])


def load(path: Path) -> Rows:
    """Read a ``ferplus-*.npz`` file.

    Raises:
        DataError: It is missing, not such a file, or an array has the wrong type or shape.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            images, votes, names = (_array(archive, name) for name in ("images", "votes", "names"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the path of a FER+ .npz") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder; give the path of a FER+ .npz") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read it ({error.strerror or error}); give the path of a FER+ .npz") from error
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a FER+ .npz with images, votes and names ({reason})") from error
    n = images.shape[0] if images.ndim else 0
    for name, array, dtype, shape in (("images", images, np.uint8, (n, SIDE, SIDE)), ("votes", votes, np.uint8, (n, 10))):
        if array.dtype != dtype or array.shape != shape:
            advice = ""
            if name == "images" and array.shape[1:] != shape[1:]:
                advice = f"; scale each picture to {SIDE} x {SIDE}, grey"
            elif array.shape == shape:
                first = "multiply by 255 if it goes from 0 to 1, " if name == "images" else ""
                advice = f"; {first}round to whole numbers and convert: .astype(np.uint8)"
            raise DataError(f"{path}: {name} is {array.dtype}{list(array.shape)}, expected {np.dtype(dtype)}{list(shape)}{advice}")
    if names.dtype.kind != "U" or names.shape != (n,):
        raise DataError(f"{path}: names is {names.dtype}{list(names.shape)}, expected text, one for each of the {n} images")
    if not n:
        raise DataError(f"{path}: it holds no rows; give a file with images, votes and names")
    return Rows(images, votes, names)


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """One array of a ``.npz``, never unpickled."""
    try:
        member = archive.open(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no array {name!r}") from None
    with member:
        try:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise ValueError(f"{name} holds Python objects; save it as an array of numbers, or of text: .astype(str)") from error


def majority(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The label of each row under the "majority" protocol of Barsoum et al. 2016 (arXiv 1608.01041), -1 where it has none.

    Single votes count as noise and become 0; the largest count must be more than half of what remains, and an emotion.
    """
    kept = np.where(votes > 1, votes, 0).astype(np.int64)
    best = kept.argmax(axis=1)
    sure = 2 * kept.max(axis=1) > kept.sum(axis=1)
    return np.where(sure & (best < len(EMOTIONS)), best, -1)


def expressive(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Rows to learn from beside those with a majority: six votes or more, single ones left out, for the eight emotions."""
    kept = np.where(votes > 1, votes, 0)[:, : len(EMOTIONS)]
    return np.asarray(kept.sum(axis=1) >= 6, np.bool_)


def soft_labels(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The vote distribution over the eight emotions, single votes left out; rows sum to 1."""
    kept = np.where(votes[:, : len(EMOTIONS)] > 1, votes[:, : len(EMOTIONS)], 0).astype(np.float32)
    return np.asarray(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1), np.float32)


def held_out(names: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """A fixed tenth of the rows, chosen by a hash of the name: for model selection and calibration, never trained on."""
    return np.array([zlib.crc32(str(name).encode()) % 10 == 0 for name in names], bool)


def find_faces(
    images: npt.NDArray[np.uint8], detector: FaceNet, padding: int = PADDING, *, what: str = "aligning"
) -> list[Face | None]:
    """The surest face in each image, as fractions of the image itself; ``None`` where the detector finds none.

    The detector sees the image with a border of its mean grey around it: faces that fill the picture are missed without.

    Args:
        images: ``uint8[N, 48, 48]``.
        detector: The face detector of the device.
        padding: Width of the border, pixels.
        what: Name of the progress line.
    """
    side = SIDE + 2 * padding

    def inside(point: Point) -> Point:
        return (point[0] * side - padding) / SIDE, (point[1] * side - padding) / SIDE

    found: list[Face | None] = []
    for image in track(list(images), what):
        padded = cv2.copyMakeBorder(image, padding, padding, padding, padding, cv2.BORDER_CONSTANT, value=(float(image.mean()),))
        with Frame(np.asarray(cv2.cvtColor(padded, cv2.COLOR_GRAY2RGB), np.uint8), 0.0) as frame:
            faces = detector(frame)
        if not faces:
            found.append(None)
            continue
        face = faces[0]
        (x0, y0), (x1, y1) = inside(face.box[:2]), inside(face.box[2:])
        eyes_to_ears = [inside(point) for point in face.keypoints]
        found.append(Face((x0, y0, x1, y1), tuple(eyes_to_ears), face.score))  # type: ignore[arg-type]  # six in, six out
    return found


def whole_image() -> Face:
    """The face whose crop is the whole image: for images in which the detector finds none."""
    half = 0.5 / emotion.CROP_SIDE
    middle = 0.5 + emotion.CROP_UP * 2 * half
    level = ((0.5 - half / 2, middle), (0.5 + half / 2, middle))
    return Face((0.5 - half, middle - half, 0.5 + half, middle + half), (*level, *[(0.5, middle)] * 4), 0.0)  # type: ignore[arg-type]


def align(images: npt.NDArray[np.uint8], detector: FaceNet) -> npt.NDArray[np.float64]:
    """How the device would cut each image: where the detector finds a face by its matrix, else the whole image.

    Returns:
        ``float64[N, 2, 3]``: maps from a 48 x 48 image to a crop, see ``nets.emotion.crop_matrix``.
    """
    faces = [face or whole_image() for face in find_faces(images, detector)]
    return np.array([emotion.crop_matrix(face, SIDE, SIDE) for face in faces]).reshape(-1, 2, 3)


def to_train(path: Path, cache: Path) -> tuple[Rows, npt.NDArray[np.float64]]:
    """The rows to learn from, the held-out tenth among them, and how the device would cut each.

    Args:
        path: ``ferplus-train.npz``.
        cache: Where the cuts are kept for the next time (``.npy``); looking for all faces takes minutes.

    Raises:
        DataError: The data file is missing or damaged.
    """
    rows = load(path)
    rows = rows[(majority(rows.votes) >= 0) | expressive(rows.votes)]
    try:
        with cache.open("rb") as stream:
            kept = np.load(stream)
    except UNREADABLE:  # there is none, or what was cut off in the middle of writing it
        kept = np.empty(0)
    if kept.shape == (len(rows), 2, 3):
        return rows, kept
    matrices = align(rows.images, FaceNet(read_manifest().file("face")))
    unfinished = cache.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.save(file, matrices)
    unfinished.replace(cache)
    return rows, matrices
