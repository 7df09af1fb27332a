"""The process that is searched: canary pictures go through the real cameras, models, tracks, windows, rules and spool.

It runs as ``python -m device.proof.pipeline FOLDER`` and is driven by lines on its standard input, one answer each:

    run|STAGE|FRAMES    let so many pictures through; in every third of them, the stage fails after it has done its work
    now|STAGE|FRAMES    the same, without the second's wait before the answer
    plant|FORM          keep a picture in this form, as a mistake in the code would: the search must find it
    forget              let go of what was planted

Only the faces are prescribed: the detector looks at each picture, but sees no face in stripes.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, TextIO

import cv2
import numpy as np
import numpy.typing as npt

from device import log, process
from device.cameras import Camera, CameraOptions, replay
from device.cameras.picamera2 import PiCamera
from device.clock import this_boot
from device.consent import Consent
from device.errors import EndOfFrames, MienError
from device.nets import emotion
from device.nets._letterbox import half
from device.nets.cards import Door
from device.observe import observe
from device.outbox import Outbox
from device.proof.canary import FACES, HEIGHT, WIDTH
from device.settings import Settings, SpoolSettings
from device.settings_policy import PolicySettings
from device.spool import Spool
from device.types import Observation, Pixels
from device.watch import load_nets
from device.watcher import Watcher

LARGE: Final = 40  # width of a layer in which a picture could be recognised, pixels
SECOND: Final = 1.0  # after the last face, until which intermediate tensors may still hold it
FORMS: Final[dict[str, Callable[[Pixels], object]]] = {
    "RGB": lambda rgb: rgb.copy(),
    "BGR": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
    "grey": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY),
    "NV12": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420),  # its luma is that of NV12
    "float32": lambda rgb: rgb.astype(np.float32) / np.float32(127.5) - np.float32(1),
    "int8": lambda rgb: (np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8) ^ 0x80).view(np.int8),
    "rows": lambda rgb: [row.tobytes() for row in cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[100:150]],  # small blocks of memory
}


class BrokenError(Exception):
    """A stage fails because it was told to."""


class FakeLibcamera:
    """The part of ``Picamera2`` that the real adapter uses; its two buffers are shared memory, filled from a file of NV12."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)
        self.buffers = {name: np.frombuffer(mmap.mmap(-1, WIDTH * HEIGHT * 3 // 2), np.uint8) for name in ("main", "lores")}

    def camera_configuration(self) -> dict[str, Any]:
        return {name: {"format": "NV12", "size": (WIDTH, HEIGHT), "stride": WIDTH} for name in self.buffers}

    def capture_request(self, wait: float) -> SimpleNamespace:
        del wait
        for buffer in self.buffers.values():
            self._file.seek(0)
            self._file.readinto(buffer.data)
        return SimpleNamespace(release=lambda: None, get_metadata=dict)

    @contextmanager
    def mapped(self, _: object, stream: str, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(array=self.buffers[stream])


class Pictures:
    """One picture from a folder, one from a driver's buffer, and so on."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._options = CameraOptions(fps=5, fast=True)
        self._pictures: Camera = replay.open_camera(str(folder / "pictures"), self._options)
        driver = FakeLibcamera(folder / "picture.nv12")
        self._driver = PiCamera(driver, driver.mapped, "driver", CameraOptions(fps=1e6))

    def take(self) -> Any:
        self._number += 1
        if self._number % 2:
            return self._driver.take()
        try:
            return self._pictures.take()
        except EndOfFrames:
            self._pictures = replay.open_camera(str(self._folder / "pictures"), self._options)
            return self._pictures.take()

    def stamped(self, seen: Observation) -> Observation:
        return replace(seen, taken_at=float(self._number))  # a window every five pictures


class Subject:
    """The pipeline of ``mien watch``, driven by hand."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.settings = Settings(
            noise="off",
            window_seconds=5,
            run_folder=folder / "run",
            spool=SpoolSettings(folder=folder / "spool"),
            policy=PolicySettings(setting="research", jurisdiction="EU"),
        )
        self.spool = stack.enter_context(closing(Spool(self.settings.spool.folder, "watch")))
        self.nets = load_nets(self.settings)
        stack.enter_context(self.nets.scrubber())
        self.pictures = Pictures(folder)
        logger = log.set_up("proof", "error")
        self.door = Door(self._faces, Consent(opt_in=False, lasts=1.0), by_card=True)  # looks for cards everywhere, and near faces
        self.watcher = Watcher(self.settings, self.nets.hashes, this_boot(), Outbox(self.spool, logger), logger)
        self.kept: list[BaseException] = []  # with their tracebacks, as a crash report would
        self.held: list[npt.NDArray[Any]] = []
        self.planted: list[object] = []
        self.greedy = False

    def tensors(self) -> str:
        """What the models hold of pictures, as JSON: model, width, channels and type of each input and large layer."""
        kinds = {
            (name, *(int(n) for n in detail["shape"][2:]), np.dtype(detail["dtype"]).name)
            for name, net in (("face", self.nets.face), ("emotion", self.nets.emotion))
            for detail in net.model._interpreter.get_tensor_details()
            if len(detail["shape"]) == 4 and detail["shape"][0] == 1 and detail["shape"][1] == detail["shape"][2] >= LARGE
        }
        return json.dumps(sorted(kinds))

    def blank(self) -> None:
        """Fill the layers as a blank picture does, so that they have not changed when they are blank again."""
        for net in (self.nets.face, self.nets.emotion):
            net.model.scrub()

    def run(self, stage: str, frames: int) -> str:
        """Let pictures through; returns how many faces were read, and how often the stage failed."""
        read = 0
        self.kept.clear()
        self.held.clear()
        for number in range(frames):
            with ExitStack() as stack:
                if stage != "nothing" and number % 3 == 1:
                    stack.enter_context(self._failing(stage))
                try:
                    seen = observe(self.pictures.take, self.door.faces, self.nets.read, self.door.choose)
                    read += len(seen.sightings)
                    self.watcher.see(self.pictures.stamped(seen))
                except (BrokenError, MienError) as error:
                    self.kept.append(error)
        return f"{read} {len(self.kept)}"

    def plant(self, form: str) -> str:
        with self.pictures.take() as frame:
            self.planted.append(FORMS[form](frame.pixels))
        time.sleep(SECOND)
        return form

    def forget(self) -> str:
        self.planted.clear()
        return "forgotten"

    def _faces(self, frame: Any) -> Any:
        self.nets.face(frame)
        if self.greedy:
            self.held += [frame.pixels, half(frame)]
        return FACES

    @contextmanager
    def _greed(self) -> Iterator[None]:
        """Code that keeps what it is given: the frame's pixels, their half, and each crop."""
        real = emotion.normalise

        def normalise(crop: Pixels) -> float:
            self.held.append(crop)
            return real(crop)

        self.greedy, emotion.normalise = True, normalise
        try:
            yield
        finally:
            self.greedy, emotion.normalise = False, real

    def _failing(self, stage: str) -> Any:
        """For one picture: this stage does its work, and then raises."""
        place, _, step = stage.partition(" ")
        match stage:
            case "greed":
                return self._greed()
            case "camera":
                return _after(cv2, "cvtColor")
            case "tracks":
                return _after(self.watcher._tracks, "see")
            case "window":
                return _after(self.watcher._windows, "frame")
            case "privacy":
                return _after(self.watcher._gate, "release")
            case "spool":
                return _after(self.spool, "put", work=False)  # what is stored twice is another error
        model = getattr(self.nets, place).model
        if step == "invoke":
            return _after(model, "invoke")
        return _run_fails(model, step)


@contextmanager
def _after(owner: Any, name: str, *, work: bool = True) -> Iterator[None]:
    """Raise after each call of a function, or instead of it."""
    real = getattr(owner, name)

    def broken(*args: Any, **kwargs: Any) -> None:
        if work:
            real(*args, **kwargs)
        raise BrokenError(name)

    setattr(owner, name, broken)
    try:
        yield
    finally:
        setattr(owner, name, real)


@contextmanager
def _run_fails(model: Any, step: str) -> Iterator[None]:
    """Raise when the input tensor has just been written, or the outputs have just been read."""
    real = model.run

    def broken_after(work: Callable[..., object]) -> Callable[..., object]:
        def broken(*tensors: Any) -> None:
            work(*tensors)
            raise BrokenError(step)

        return broken

    def run(fill: Callable[[Any], object], read: Callable[..., object]) -> Any:
        return real(broken_after(fill), read) if step == "prepare" else real(fill, broken_after(read))

    model.run = run
    try:
        yield
    finally:
        model.run = real


def main(folder: str, asked: TextIO = sys.stdin) -> None:
    """Answer each line with one line."""
    process.protect(pixels=True)
    ctypes.CDLL(None).prctl(
        process.PR_SET_DUMPABLE, 1, 0, 0, 0
    )  # or only root could search; that of mien watch is a claim of its own
    with ExitStack() as stack:
        subject = Subject(Path(folder), stack)
        subject.blank()
        print(subject.tensors(), flush=True)
        for line in asked:
            match line.rstrip("\n").split("|"):
                case ["run", stage, frames]:
                    answer = subject.run(stage, int(frames))
                    time.sleep(SECOND)
                case ["now", stage, frames]:
                    answer = subject.run(stage, int(frames))
                case ["plant", form]:
                    answer = subject.plant(form)
                case _:
                    answer = subject.forget()
            print(answer, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except MienError as error:  # a model that is damaged, as mien watch would say
        print(f"mien: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
