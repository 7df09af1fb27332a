"""Printed cards in a picture: ArUco markers, which say "leave me out" or "I consent".

No network, but like one: a picture goes in, numbers come out. The dictionary is OpenCV's ``DICT_4X4_50``, 4 x 4 cells in a black
border of one cell, with a white margin of one cell; it is read without correction of errors, so that a shirt is no card.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from device.consent import REACH, Consent, Objections
from device.nets._letterbox import half
from device.types import Face, Frame, Pixels, wiped

DICTIONARY: Final = "DICT_4X4_50"
NO_THANKS: Final = 27  # ids in that dictionary, chosen for many changes between black and white, and far from each other
CONSENT: Final = 20
MODULES: Final = 6  # cells along a marker's side, its black border included

OUTLINE: Final = 32  # pixels around a marker below which it is not looked at: fewer than the least that is read has
LEAST_PIXELS: Final = 20  # side of a marker that is read in most pictures, also when turned by 45 degrees (docs/consent.md)
FACE_PIXELS: Final = 28  # pictures are halved, divided by three ... while the smallest face stays as wide as this
WIDEST: Final = 640  # where no face tells the scale, larger pictures are divided down to this width


@dataclass(frozen=True, slots=True)
class Card:
    """A card in view.

    Attributes:
        marker: ``NO_THANKS``, ``CONSENT``, or a marker that means nothing here.
        x, y: The marker's centre, as fractions of the frame's width and height.
    """

    marker: int
    x: float
    y: float


class Cards:
    """Finds cards; the grey copies that it makes are wiped."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)  # of this process: pictures are so small here that sharing them out costs more than it saves
        self._parameters = cv2.aruco.DetectorParameters()
        self._parameters.adaptiveThreshWinSizeMin = 5  # one pass: a second one doubles the time
        self._parameters.adaptiveThreshWinSizeMax = 5
        self._parameters.adaptiveThreshConstant = 8  # grey levels: less than that is a sensor's noise
        self._parameters.errorCorrectionRate = 0.0
        self._detector = cv2.aruco.ArucoDetector(_dictionary(), self._parameters)

    def around(self, frame: Frame, faces: Sequence[Face], reach: float) -> tuple[Card, ...]:
        """Cards near faces: in the rectangle around all of them that goes ``reach`` face sizes beyond; none without a face.

        The picture is made coarser as far as the smallest face allows: a card as large as a face is read wherever the face is.
        """
        if not faces:
            return ()
        width, height = frame.size
        sizes = [max((x1 - x0) * width, (y1 - y0) * height) for x0, y0, x1, y1 in (face.box for face in faces)]
        margins = [reach * size for size in sizes]
        left = min(face.box[0] * width - margin for face, margin in zip(faces, margins, strict=True))
        top = min(face.box[1] * height - margin for face, margin in zip(faces, margins, strict=True))
        right = max(face.box[2] * width + margin for face, margin in zip(faces, margins, strict=True))
        bottom = max(face.box[3] * height + margin for face, margin in zip(faces, margins, strict=True))
        area = max(0, int(left)), max(0, int(top)), min(width, int(right) + 1), min(height, int(bottom) + 1)
        return self._find(frame, area, _coarser(min(sizes)))

    def anywhere(self, frame: Frame) -> tuple[Card, ...]:
        """Cards in the whole picture."""
        width, height = frame.size
        return self._find(frame, (0, 0, width, height), max(1, -(-width // WIDEST)))

    def _find(self, frame: Frame, area: tuple[int, int, int, int], coarser: float) -> tuple[Card, ...]:
        source, finer = (half(frame), 2) if coarser % 2 == 0 else (frame.pixels, 1)  # the half is there: the detector has made it
        left, top, right, bottom = (edge // finer for edge in area)
        part = source[top:bottom, left:right]
        step = coarser / finer
        size = int(part.shape[1] / step), int(part.shape[0] / step)
        if min(size) < LEAST_PIXELS // 2:
            return ()
        with wiped(np.empty(part.shape[:2], np.uint8)) as grey:
            cv2.cvtColor(part, cv2.COLOR_RGB2GRAY, dst=grey)
            if step == 1:
                found = self._markers(grey)
            else:
                with wiped(np.empty(size[::-1], np.uint8)) as small:
                    cv2.resize(grey, size, dst=small, interpolation=cv2.INTER_AREA)
                    found = self._markers(small)
        width, height = frame.size
        across, down = part.shape[1] / size[0], part.shape[0] / size[1]
        return tuple(Card(marker, (left + x * across) * finer / width, (top + y * down) * finer / height) for marker, x, y in found)

    def _markers(self, grey: Pixels) -> list[tuple[int, float, float]]:
        if self._parameters.minMarkerPerimeterRate != (rate := OUTLINE / max(grey.shape)):
            self._parameters.minMarkerPerimeterRate = rate
            self._detector.setDetectorParameters(self._parameters)
        corners, markers, _ = self._detector.detectMarkers(grey)  # markers is None where there are no corners
        centres = [np.asarray(quad).reshape(4, 2).mean(axis=0).tolist() for quad in corners]
        return [(int(markers[n][0]), x, y) for n, (x, y) in enumerate(centres)]


def _coarser(face: float) -> float:
    """By how much a picture is made coarser whose smallest face has so many pixels: 1, 1.5, or a whole number."""
    times = max(1.0, face / FACE_PIXELS)
    return int(2 * times) / 2 if times < 2 else int(times)


class Door:
    """Between the faces in a picture and those that are read.

    Args:
        find_faces: The detector.
        consent: Whether anything may be measured.
        by_card: Whether a consent card in view gives consent.
    """

    def __init__(self, find_faces: Callable[[Frame], tuple[Face, ...]], consent: Consent, *, by_card: bool = False) -> None:
        self._find_faces = find_faces
        self._consent = consent
        self._by_card = by_card
        self._cards = Cards()
        self._objections = Objections()

    def faces(self, frame: Frame) -> tuple[Face, ...]:
        """Everybody in view; nobody is looked for without consent."""
        if self._by_card and any(card.marker == CONSENT for card in self._cards.anywhere(frame)):
            self._consent.give(frame.taken_at)
        return self._find_faces(frame) if self._consent.given(frame.taken_at) else ()

    def choose(self, frame: Frame, faces: tuple[Face, ...]) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
        """Who may be read, and who has said no."""
        width, height = frame.size
        cards = [(card.x, card.y) for card in self._cards.around(frame, faces, REACH) if card.marker == NO_THANKS]
        return self._objections.sort(frame.taken_at, width / height, faces, cards)


def pattern(marker: int) -> tuple[tuple[bool, ...], ...]:
    """What a marker looks like: ``MODULES`` rows of ``MODULES`` cells, True where it is black."""
    drawn = cv2.aruco.generateImageMarker(_dictionary(), marker, MODULES)
    return tuple(tuple(bool(cell == 0) for cell in row) for row in np.asarray(drawn).tolist())


def _dictionary() -> cv2.aruco.Dictionary:
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, DICTIONARY))
