"""The whole life of an image, on one screen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from device.types import Face, Frame, Observation, Reading, Sighting


def observe(
    take: Callable[[], AbstractContextManager[Frame]],
    find_faces: Callable[[Frame], tuple[Face, ...]],
    read: Callable[[Frame, Face], Reading],
) -> Observation:
    """Take one frame, reduce it to numbers, and destroy it.

    The ``with`` block below is the whole life of an image on this device.
    The pixels are zeroed on the way out, also when a model raises.

    Args:
        take: Opens a frame, ``uint8[height, width, 3]`` RGB; blocks until ready.
        find_faces: Boxes as fractions of the frame's width and height.
        read: Emotion probabilities for one face, summing to 1.

    Returns:
        Numbers only: when the frame was taken, its shape, and one ``Sighting`` per face.

    Raises:
        CameraError: No frame arrived in time.
        EndOfFrames: A recording is over.
        ModelError: A model refused its input.
    """
    with take() as frame:
        width, height = frame.size
        return Observation(frame.taken_at, width / height, tuple(Sighting(face, read(frame, face)) for face in find_faces(frame)))
