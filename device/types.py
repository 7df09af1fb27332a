"""The values that flow through the device, in order of flow."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from device.errors import FrameClosedError

Pixels = npt.NDArray[np.uint8]
Point = tuple[float, float]


class Frame:
    """One image, readable inside its ``with`` block only, zeroed on the way out.

    Args:
        pixels: ``uint8[height, width, 3]``, RGB. The frame owns this array: nobody else may hold the only copy of
            something they need, because it will be overwritten.
        taken_at: Seconds on the clock of the camera that took it (monotonic for live cameras).

    Raises:
        ValueError: The array is not ``uint8[height, width, 3]`` or cannot be written to.
    """

    __slots__ = ("_derived", "_pixels", "taken_at")

    def __init__(self, pixels: Pixels, taken_at: float) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"a frame is uint8[height, width, 3], not {pixels.dtype}{list(pixels.shape)}")
        if not pixels.flags.writeable:
            raise ValueError("a frame must own its pixels, and these are read-only")
        self._pixels: Pixels | None = pixels
        self._derived: dict[Callable[[Pixels], Pixels], Pixels] = {}
        self.taken_at = taken_at

    @property
    def pixels(self) -> Pixels:
        """``uint8[height, width, 3]``, RGB.

        Raises:
            FrameClosedError: The ``with`` block is over.
        """
        if self._pixels is None:
            raise FrameClosedError("this frame has been destroyed; read it inside its with block")
        return self._pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width, _ = self.pixels.shape
        return width, height

    def derived(self, make: Callable[[Pixels], Pixels]) -> Pixels:
        """What ``make`` makes of the pixels, such as a smaller copy: made when first asked for, shared, zeroed with the frame.

        Raises:
            FrameClosedError: The ``with`` block is over.
        """
        pixels = self.pixels
        if make not in self._derived:
            self._derived[make] = make(pixels)
        return self._derived[make]

    def __enter__(self) -> Frame:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pixels is not None:
            self._pixels.fill(0)
            self._pixels = None
        while self._derived:
            self._derived.popitem()[1].fill(0)

    def __repr__(self) -> str:
        return "Frame(destroyed)" if self._pixels is None else f"Frame({self.size[0]}x{self.size[1]})"


@contextmanager
def wiped(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Hand out an array that holds pixels, and zero it on the way out."""
    try:
        yield array
    finally:
        array.fill(0)


@contextmanager
def wiped_on_error(array: npt.NDArray[Any]) -> Iterator[None]:
    """Zero an array that holds pixels unless the block ends well: until then nobody else owns it."""
    try:
        yield
    except BaseException:
        array.fill(0)
        raise


@contextmanager
def without_locals() -> Iterator[None]:
    """Clear the local variables of every function that an error has passed: whoever keeps the error keeps no picture."""
    try:
        yield
    except BaseException as error:
        passed: BaseException | None = error
        while passed is not None:
            traceback.clear_frames(passed.__traceback__)
            passed = passed.__cause__ or passed.__context__
        raise


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    Attributes:
        box: Left, top, right, bottom as fractions of the frame's width and height; may reach beyond 0 and 1.
        keypoints: Right eye, left eye, nose tip, mouth, right ear, left ear (the person's own right and left),
            as fractions of the frame's width and height.
        score: The detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    keypoints: tuple[Point, Point, Point, Point, Point, Point]
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the models say about one face in one frame.

    Attributes:
        emotion: Probabilities in the order of ``contract.EMOTIONS``, summing to 1.
        quality: How much this reading is worth, 0 (nothing) to 1 (a large, clear face).
    """

    emotion: tuple[float, ...]
    quality: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face with its reading."""

    face: Face
    reading: Reading


def unread(face: Face) -> Sighting:
    """A face that nothing was read from: every emotion equally likely, and worth nothing."""
    return Sighting(face, Reading((1 / 8,) * 8, 0.0))


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that is left of a frame.

    Attributes:
        taken_at: Seconds on the camera's clock.
        aspect: The frame's width divided by its height.
        sightings: One per face that was read; empty when nobody is in view.
        declined: The faces that were left out because of a no-thanks card: nothing of them was read.
    """

    taken_at: float
    aspect: float
    sightings: tuple[Sighting, ...]
    declined: tuple[Face, ...] = ()
