"""``evaluate clips``: how many different people the tracker finds in recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import count, repeat
from pathlib import Path
from typing import Any, Final

from device import plug
from device.cameras import CameraOptions
from device.contract import EMOTIONS
from device.errors import EndOfFrames
from device.nets.face import FaceNet
from device.observe import observe
from device.tracks import Tracks
from device.types import Face, Frame, Reading
from models.data import DataError
from models.degrade import Kind, degrade
from models.detector import DEVICE, Which
from models.pictures import need_folder
from models.progress import track

_KINDS: Final = "3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"
ENDINGS: Final = frozenset(f".{kind}" for kind in _KINDS)
FPS: Final = 5.0  # the device's default


def _is_video(path: Path) -> bool:
    """By its ending; a hidden file is none (macOS leaves one beside each file on a stick)."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def _no_reading(_: Frame, found: Face) -> Reading:
    """People are told apart by place and motion alone: what they express plays no part here."""
    return Reading((1 / len(EMOTIONS),) * len(EMOTIONS), found.score)


def worsened(take: Callable[[], AbstractContextManager[Frame]], kind: Kind) -> Callable[[], AbstractContextManager[Frame]]:
    """A camera whose pictures are worse: new noise in each frame, but turned to one side all the time."""
    numbers = repeat(0) if kind == "rotate" else count()

    @contextmanager
    def worse() -> Iterator[Frame]:
        with take() as frame, Frame(degrade(frame.pixels, kind, next(numbers)), frame.taken_at) as shown:
            yield shown

    return worse


def count_people(path: Path, find_faces: FaceNet, fps: float = FPS, kind: Kind | None = None) -> int:
    """Watch one recording from start to end, as fast as possible, and count its people.

    Raises:
        CameraError: It is not a video, or breaks off.
    """
    tracks = Tracks()
    options = CameraOptions(fps=fps, fast=True)
    with closing(plug.find("device.cameras", "replay").open_camera(str(path), options)) as camera:
        take = camera.take if kind is None else worsened(camera.take, kind)
        while True:
            try:
                tracks.see(observe(take, find_faces, _no_reading))
            except EndOfFrames:
                return tracks.people


def evaluate(folder: Path, kind: Kind | None = None, which: Which = DEVICE) -> dict[str, Any]:
    """``{"people": {file name without its ending: count}}`` for every video in a folder; its frames made worse if a kind is given.

    Raises:
        DataError, ModelError: The folder is missing or holds no video, or the model cannot be used.
        CameraError: A file in it is not a video.
    """
    need_folder(folder, "give one with videos or GIFs in it")
    clips = sorted(path for path in folder.iterdir() if _is_video(path))
    if not clips:
        raise DataError(f"{folder}: no video in it; expected files ending in {', '.join(sorted(ENDINGS))}")
    names = [clip.stem for clip in clips]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{folder}: two videos are named {repeated[0]!r}; rename one, results go by that name")
    find_faces = which.open()
    return {"people": {clip.stem: count_people(clip, find_faces, kind=kind) for clip in track(clips, "watching")}}


def show(result: dict[str, Any]) -> str:
    """The counts as a small table."""
    people = result["people"]
    width = max(len("clip"), *map(len, people))
    return "\n".join([f"{'clip':<{width}}  people", *(f"{name:<{width}}  {count:>6}" for name, count in people.items())])
