"""QR codes in a picture. No network, but like one: a picture goes in, text comes out.

OpenCV has two detectors, and each reads codes that the other does not: they take turns.
"""

from __future__ import annotations

from itertools import cycle

import cv2
import numpy as np

from device.types import Face, Frame, wiped


class CodeReader:
    """Stands where ``observe`` has a face detector, so that the picture lives in the same one scope; it finds no faces.

    Attributes:
        text: What the last code said that could be read; ``None`` before.
    """

    def __init__(self) -> None:
        self.text: str | None = None
        self._detectors = cycle((cv2.QRCodeDetector(), cv2.QRCodeDetectorAruco()))

    def look(self, frame: Frame) -> tuple[Face, ...]:
        """Read a code, if there is one; the grey copy that this makes is wiped."""
        width, height = frame.size
        with wiped(np.empty((height, width), np.uint8)) as grey:
            cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY, dst=grey)
            try:
                text, _, _ = next(self._detectors).detectAndDecode(grey)
            except cv2.error:  # what it takes for a code and cannot straighten
                text = ""
        self.text = text or self.text
        return ()
