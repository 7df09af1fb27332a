"""Ask every contestant in turn: what the faces express, and how long everything takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from device.cameras import CameraOptions
from device.cameras.composite import FACES, open_camera, read_faces
from device.types import Pixels
from models import data
from models.data import Rows
from models.eval_emotion import scored
from models.peers.catalogue import Contestant, Scratch, meaning
from models.peers.port import Answer, PeerError, Worker
from models.progress import track

WARM_UP: Final = 3  # rounds that are not counted: caches fill, and Node compiles
FACES_A_ROUND: Final = 16
GREY: Final = 128.0  # around the faces, levels
FRAMES: Final = 8  # different ones, one a round
AT_ONCE: Final = 64  # faces in one request when scoring


def frames() -> list[Pixels]:
    """Pictures of the composite scene, ``uint8[480, 640, 3]`` each: nobody's likeness, the same every time."""
    pictures = []
    with closing(open_camera("", CameraOptions(fps=0.5, fast=True))) as camera:
        for _ in range(FRAMES):
            with camera.take() as frame:
                pictures.append(frame.pixels.copy())
    return pictures


def crops() -> npt.NDArray[np.uint8]:
    """The faces of the composite scene, on grey, as crops to be timed on: ``uint8[16, 48, 48]``.

    Raises:
        CameraError: They are missing.
    """
    blends = list(read_faces(FACES).values())
    small = [cv2.resize(blend, (data.SIDE, data.SIDE), interpolation=cv2.INTER_AREA) for blend in blends]
    faces = [np.clip(face[..., 0] + GREY * (1 - face[..., 1]), 0, 255).astype(np.uint8) for face in small]
    return np.stack([faces[number % len(faces)] for number in range(FACES_A_ROUND)])


def framed(images: npt.NDArray[np.uint8], border: int) -> Pixels:
    """Crops as a contestant wants them: ``uint8[N, 48, 48]`` to ``uint8[N, 48 + 2 border, 48 + 2 border, 1]``."""
    return np.pad(images, ((0, 0), (border, border), (border, border)), mode="edge")[..., None]


def score(rows: Rows, border: int, ask: Callable[[Pixels], Answer], name: str = "scoring") -> float:
    """The share of the rows whose label a contestant says, under the protocol of FER+ (``models/README.md``).

    Args:
        rows: Rows that have a label.
        border: For ``framed``.
        ask: What the contestant says about ``uint8[N, side, side, 1]``.
        name: Of the progress line.

    Raises:
        PeerError: It said another number of words, or a word that is not known.
    """
    said: list[int] = []
    for start in track(range(0, len(rows), AT_ONCE), name):
        answer = ask(framed(rows.images[start : start + AT_ONCE], border))
        said += [meaning(str(word)) for word in answer.said]
    if len(said) != len(rows):
        raise PeerError(f"{name}: {len(said)} answers about {len(rows)} faces")
    return float((np.array(said) == data.majority(rows.votes)).mean())


@dataclass(slots=True)
class Entrant:
    """A contestant that runs, and its answers so far."""

    contestant: Contestant
    worker: Worker
    read: list[Answer] = field(default_factory=list)
    searched: list[Answer] = field(default_factory=list)


def measure(
    contestants: Sequence[Contestant], scratch: Scratch, rows: Rows | None, rounds: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure all of them in one run, in turn, so that whatever else the machine does meets all alike.

    Args:
        contestants: Installed.
        scratch: Where.
        rows: Rows to score, or none.
        rounds: In each, every contestant reads 16 faces and searches one frame.

    Returns:
        One dictionary for each that could be measured (``docs/peers.md`` says what is in it), and the reasons for the others.
    """
    reasons: list[str] = []
    results: list[dict[str, Any]] = []
    accuracies: dict[str, float] = {}
    with ExitStack() as stack:
        entrants: list[Entrant] = []
        for contestant in contestants:
            with _noted(reasons):
                entrants.append(Entrant(contestant, stack.enter_context(Worker(contestant.name, contestant.command(scratch)))))
        _time(entrants, rounds, reasons)
        for entrant in entrants:
            with _noted(reasons):
                found = figures(entrant.contestant, scratch, entrant.read, entrant.searched)
                ask = partial(entrant.worker.ask, "faces")
                if rows and entrant.contestant.name not in accuracies:  # with another detector it reads faces alike
                    accuracies[entrant.contestant.name] = score(rows, entrant.contestant.border, ask, entrant.contestant.name)
                found["accuracy"] = accuracies.get(entrant.contestant.name)
                found["memory_mb"], found["runtime"] = entrant.worker.peak_mb(), entrant.worker.runtime
                results.append(found)
    return results, reasons


def _time(entrants: list[Entrant], rounds: int, reasons: list[str]) -> None:
    """Let all of them work in turn; one that fails is taken off the list."""
    faces, scenes = crops(), frames()
    for number in track(range(-WARM_UP, rounds), "timing"):
        for entrant in list(entrants):
            try:
                read = entrant.worker.ask("faces", framed(faces, entrant.contestant.border))
                searched = entrant.worker.ask("frames", scenes[number % FRAMES][None])
            except PeerError as error:
                reasons.append(str(error))
                entrants.remove(entrant)
                continue
            if number >= 0:
                entrant.read.append(read)
                entrant.searched.append(searched)


@contextmanager
def _noted(reasons: list[str]) -> Iterator[None]:
    """Note why a contestant cannot be measured, and go on without it."""
    try:
        yield
    except PeerError as error:
        reasons.append(str(error))


def figures(contestant: Contestant, scratch: Scratch, read: Sequence[Answer], searched: Sequence[Answer]) -> dict[str, Any]:
    """Medians over the rounds, in milliseconds, and the sizes of the models.

    Raises:
        PeerError: A model file is missing.
    """
    try:
        emotion, detector = (
            sum(path.stat().st_size for path in files(scratch)) for files in (contestant.emotion_files, contestant.detector_files)
        )
    except OSError as error:
        raise PeerError(f"{contestant.name}: {error.filename}: {error.strerror}") from error
    return {
        "name": contestant.name,
        "detector": contestant.detector,
        "face_ms": _median(ms for answer in read for ms in answer.wall),
        "face_cpu_ms": _median(ms for answer in read for ms in answer.cpu),
        "frame_ms": _median(ms for answer in searched for ms in answer.wall),
        "frame_cpu_ms": _median(ms for answer in searched for ms in answer.cpu),
        "faces_found": round(statistics.mean(count for answer in searched for count in answer.said), 1),
        "emotion_bytes": emotion,
        "detector_bytes": detector,
    }


def load_rows(path: Path) -> Rows:
    """The rows to score: ``ferplus-valid.npz`` in a folder, or a file of that format.

    Raises:
        DataError: There is none, or it is not such a file.
    """
    return scored(data.load(path / "ferplus-valid.npz" if path.is_dir() else path))


def _median(values: Iterable[float]) -> float:
    return round(float(statistics.median(values)), 3)
