"""Files that a person brings to be measured: read whole, and pictures taken for pictures only where they are undamaged."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import cv2
import numpy as np

from device.types import Frame, Pixels
from models.degrade import LONGEST_TURNED, Kind, degrade
from models.errors import DataError

DAMAGED: Final = ("corrupt jpeg data", "premature end of jpeg", "libpng error", "libpng warning: idat")
HARMLESS: Final = "extraneous bytes"  # between the parts of a JPEG: many cameras leave some


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read; a pipe, on which nobody may ever write, and a device are refused.

    Raises:
        OSError: It is missing, no regular file, or cannot be read; ``strerror`` says which.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 (handed out)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def need_folder(path: Path, advice: str) -> None:
    """A folder is there.

    Raises:
        DataError: It is not; the message ends with the advice.
    """
    try:
        there = path.is_dir()
    except OSError as error:  # a name that is too long, a parent that may not be looked into
        raise DataError(f"{path}: cannot look there ({error.strerror}); {advice}") from error
    if not there:
        raise DataError(f"{path}: no such folder; {advice}")


def load_picture(path: Path, kind: Kind | None = None, number: int = 0) -> Frame:
    """Read a photo as a frame, upright as its EXIF says, made worse if a kind is given; ``number`` chooses noise and direction.

    Raises:
        DataError: It is missing, damaged or not a picture.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        raise DataError(f"{path}: cannot read the picture ({getattr(error, 'strerror', None) or error})") from error
    try:
        pixels, complaints = decode(content)
    except MemoryError as error:
        raise DataError(f"{path}: not enough memory for this picture; scale it down") from error
    if pixels is None:
        raise DataError(f"{path}: not a picture that OpenCV can read; expected JPEG, PNG or the like, whole")
    damage = [line for line in complaints if line.lower().startswith(DAMAGED) and HARMLESS not in line]
    if damage:
        raise DataError(f"{path}: a damaged picture ({damage[0]}); restore it, or leave it out")
    if kind == "rotate" and max(pixels.shape) > LONGEST_TURNED:
        raise DataError(f"{path}: {pixels.shape[1]} x {pixels.shape[0]} pixels; at most {LONGEST_TURNED} a side can be rotated")
    try:
        return Frame(pixels if kind is None else degrade(pixels, kind, number), 0.0)
    except MemoryError as error:
        raise DataError(f"{path}: not enough memory for {pixels.shape[1]} x {pixels.shape[0]} pixels; scale it down") from error


def decode(content: bytes) -> tuple[Pixels | None, list[str]]:
    """``uint8[height, width, 3]`` RGB, or ``None``; and what the decoders complained of, which is kept off stderr.

    Raises:
        MemoryError: There is not enough for it.
    """
    with _complaints() as said:
        try:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
            rgb = None if pixels is None else np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError from error
            rgb = None  # for example a picture that claims to be larger than OpenCV allows
    return rgb, said


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """The lines that libraries in C write to stderr meanwhile; there at the end."""
    said: list[str] = []
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            said += log.read().decode(errors="replace").splitlines()
