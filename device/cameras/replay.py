"""Recordings: a video, a GIF, or a folder of pictures, shown at its own pace or as fast as possible.

``replay:clip.mkv``, ``replay:folder``. A recording keeps its own size. Every frame that is due by the recording's own
clock is handed out; whoever takes them too slowly gets them late, but gets them all. The frames' clock starts with the
first frame taken and runs at the recording's pace.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from pathlib import Path
from typing import Final, NoReturn

import cv2
import numpy as np
import numpy.typing as npt

from device.cameras import Camera, CameraOptions
from device.cameras._limit import Pace
from device.cameras._opencv import frame_from_bgr, quiet
from device.errors import CameraError, CameraStoppedError, EndOfFrames
from device.types import Frame, Pixels, wiped

PICTURES: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_INTERVAL: Final = 1 / 25  # seconds between two frames of a video that does not say
_LONGEST: Final = 10.0  # seconds for which one picture is believed to be shown
_TEXT: Final = cv2.VideoWriter.fourcc(*"ansi")  # FFmpeg takes any text file for a video of letters
_SHORT: Final = 0.05  # of the promised frames and of the promised time may be missing: containers round both


class _Clock:
    """Media time to monotonic time, waiting for it unless the recording is shown fast."""

    def __init__(self, *, fast: bool) -> None:
        self._fast = fast
        self._start: float | None = None

    def wait(self, media: float) -> float:
        """Wait until a moment of the recording, in seconds, and say what time that is."""
        now = time.monotonic()
        if self._start is None:
            self._start = now - media
        due = self._start + media
        if not self._fast and due > now:
            time.sleep(due - now)
        return due


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class Video:
    """A video or GIF.

    Args:
        path: An existing file.
        options: ``fps`` and ``fast`` count.

    Raises:
        CameraError: OpenCV finds no picture in it.
    """

    def __init__(self, path: Path, options: CameraOptions) -> None:
        quiet()
        self._path = path
        self._clock = _Clock(fast=options.fast)
        address = str(path.resolve())
        if not _is_utf8(address):  # OpenCV ends the process over it
            raise CameraError(f"{path}: its name, or that of a folder above it, is not UTF-8; rename it")
        self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
        rate, count = (self._capture.get(p) for p in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self._interval = 1 / rate if math.isfinite(rate) and rate > 0 else _INTERVAL
        self._promised = int(count) if math.isfinite(count) and count > 0 else 0
        self._pace = Pace(options.fps, slack=self._interval / 2)
        self._seen = 0
        self._first = 0.0
        self._time = 0.0
        is_text = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == _TEXT
        if is_text or not self._capture.isOpened() or not self._grab():
            self._capture.release()
            raise CameraError(
                f"{path}: not a video, or broken off before its first picture; give a video, a GIF or a folder of pictures"
            )

    def take(self) -> Frame:
        """See ``Camera.take``.

        Raises:
            EndOfFrames: It is over.
            CameraStoppedError: It breaks off before the end that it promises.
        """
        while not self._pace.due(self._time):
            if not self._grab():
                self._end()
        taken_at = self._clock.wait(self._time)
        good, picture = self._capture.retrieve()
        if not good:
            raise CameraStoppedError(f"{self._path}: picture {self._seen} cannot be decoded; the file is damaged, copy it again")
        return frame_from_bgr(picture, taken_at)

    def close(self) -> None:
        """See ``Camera.close``."""
        self._capture.release()

    def _grab(self) -> bool:
        """Step to the next picture and work out its time since the first, in seconds."""
        if not self._capture.grab():
            return False
        said = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._seen == 0:
            self._first = said if 0 <= said < math.inf else 0.0
        else:
            since = said - self._first  # some files say nothing here, or nonsense
            self._time = since if self._time < since < self._time + _LONGEST else self._time + self._interval
        self._seen += 1
        return True

    def _end(self) -> NoReturn:
        self._capture.release()
        few = max(3.0, _SHORT * self._promised)
        lost, lost_seconds = self._promised - self._seen, self._promised * self._interval - (self._time + self._interval)
        if (lost > few and lost_seconds > few * self._interval) or _is_cut_gif(self._path):
            raise CameraStoppedError(
                f"{self._path}: breaks off after {self._seen} of {self._promised} pictures; the file is cut off, copy it again"
            )
        raise EndOfFrames(f"{self._path}: all {self._seen} pictures were shown")


class Folder:
    """A folder of pictures, in the order of their names (with 9.jpg before 10.jpg), each shown for ``1 / fps`` seconds.

    Other files and subfolders are left alone.

    Raises:
        CameraError: It cannot be read, or holds no picture.
    """

    def __init__(self, path: Path, options: CameraOptions) -> None:
        quiet()
        try:
            found = [p for p in path.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".") and p.is_file()]
        except OSError as error:
            raise CameraError(f"{path}: cannot read this folder ({error.strerror}); check its permissions") from error
        if not found:
            raise CameraError(f"{path}: no pictures in this folder; put some there ({' '.join(PICTURES)})")
        self._waiting = sorted(found, key=_natural, reverse=True)
        self._clock = _Clock(fast=options.fast)
        self._step = 1 / options.fps
        self._time = 0.0

    def take(self) -> Frame:
        """See ``Camera.take``.

        Raises:
            EndOfFrames: All were shown.
            CameraError: A picture cannot be read; the next ``take`` goes on with the one after it.
        """
        if not self._waiting:
            raise EndOfFrames("all pictures were shown")
        path, media = self._waiting.pop(), self._time
        self._time += self._step
        taken_at = self._clock.wait(media)
        return frame_from_bgr(_read_picture(path), taken_at)

    def close(self) -> None:
        """See ``Camera.close``."""
        self._waiting.clear()


def open_camera(address: str, options: CameraOptions) -> Camera:
    """Open a recording; ``options`` ``fps`` and ``fast`` count.

    Raises:
        CameraError: There is no such file or folder, or nothing in it can be shown.
    """
    if not address:
        raise CameraError("replay: which recording? write replay:FILE for a video or GIF, or replay:FOLDER for pictures")
    path = Path(os.path.expanduser(address))  # which raises nothing, as Path.expanduser does
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CameraError(f"{path}: {error.strerror}; give a video, a GIF or a folder of pictures") from error
    if stat.S_ISDIR(mode):
        return Folder(path, options)
    if not stat.S_ISREG(mode):
        raise CameraError(f"{path}: neither a file nor a folder; give a video, a GIF or a folder of pictures")
    if not os.access(path, os.R_OK):
        raise CameraError(f"{path}: may not be read; check its permissions")
    return Video(path, options)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts the numbers within names as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _read_picture(path: Path) -> Pixels:
    """``uint8[height, width, 3]``, BGR, turned upright as its EXIF says."""
    try:
        with wiped(np.fromfile(path, np.uint8)) as data:
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size and _is_whole(data) else None
    except OSError as error:
        raise CameraError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except cv2.error:
        picture = None
    if picture is None:
        raise CameraError(f"{path}: not a picture, or a damaged one; remove or replace it")
    return np.asarray(picture, np.uint8)


def _is_whole(data: npt.NDArray[np.uint8]) -> bool:
    """Whether a JPEG or PNG has its end: OpenCV would fill what is missing with grey. Other formats are left to OpenCV."""
    if data[:8].tobytes() == b"\x89PNG\r\n\x1a\n":
        return re.search(rb"IEND", data[-4096:].data) is not None
    if data[:2].tobytes() != b"\xff\xd8":
        return True
    at = 2
    while at + 4 <= data.size and data[at] == 0xFF and data[at + 1] != 0xDA:  # segments, up to where the pixels start
        at += 2 + int.from_bytes(data[at + 2 : at + 4].tobytes(), "big")
    return re.search(rb"\xff\xd9", data[at:].data) is not None


def _is_cut_gif(path: Path) -> bool:
    """Whether this is a GIF without its end mark: a GIF does not say how many pictures it has."""
    try:
        with path.open("rb") as file:
            is_gif = file.read(4) == b"GIF8"
            file.seek(-min(16, path.stat().st_size), os.SEEK_END)
            return is_gif and b"\0;" not in file.read()
    except OSError:
        return False  # gone since it was opened: what was promised was shown
