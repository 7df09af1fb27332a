"""The whole life of an image, on one screen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from device.types import Face, Frame, Observation, Reading, Sighting, without_locals


def observe(
    take: Callable[[], AbstractContextManager[Frame]],
    find_faces: Callable[[Frame], tuple[Face, ...]],
    read: Callable[[Frame, Face], Reading],
    choose: Callable[[Frame, tuple[Face, ...]], tuple[tuple[Face, ...], tuple[Face, ...]]] | None = None,
) -> Observation:
    """Take one frame, reduce it to numbers, and destroy it.

    The ``with`` block below is the whole life of an image on this device.
    The pixels are zeroed on the way out, also when a model raises; an error takes along none of the variables that saw them.

    Args:
        take: Opens a frame, ``uint8[height, width, 3]`` RGB; blocks until ready.
        find_faces: Boxes as fractions of the frame's width and height.
        read: Emotion probabilities for one face, summing to 1.
        choose: Tells the faces that may be read from those that have said no; without it, all are read.

    Returns:
        Numbers only: when the frame was taken, its shape, one ``Sighting`` per face that was read, and the faces that were not.

    Raises:
        CameraError: No frame arrived in time.
        EndOfFrames: A recording is over.
        ModelError: A model refused its input.
    """
    with without_locals(), take() as frame:
        width, height = frame.size
        faces = find_faces(frame)
        welcome, declined = (faces, ()) if choose is None else choose(frame, faces)
        return Observation(frame.taken_at, width / height, tuple(Sighting(face, read(frame, face)) for face in welcome), declined)
