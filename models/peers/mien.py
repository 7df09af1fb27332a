"""mien itself, called as ``models.evaluate`` calls it: the shipped files through ``device.nets``."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from device.contract import EMOTIONS
from device.nets.emotion import EmotionNet
from device.types import Frame, Pixels
from models import data
from models.detector import DEVICE
from models.eval_emotion import pick
from models.peers.port import serve


def main() -> None:
    """Answer requests. A face is aligned by the detector before the clock runs, as it is found before it is read."""
    cv2.setNumThreads(1)
    file, point = pick(None, "single")
    read = EmotionNet(file, temperature=point.temperature, offsets=point.offsets)
    find = DEVICE.open()

    def read_face(picture: Pixels) -> Callable[[], str]:
        (found,) = data.find_faces(picture[None, :, :, 0], find)
        frame, where = Frame(np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8), 0.0), found or data.whole_image()

        def work() -> str:
            with frame:
                return EMOTIONS[int(np.argmax(read(frame, where).emotion))]

        return work

    def find_faces(picture: Pixels) -> Callable[[], int]:
        def work() -> int:
            with Frame(picture, 0.0) as frame:
                return len(find(frame))

        return work

    serve(f"{read.model.runtime}, Python", {"faces": read_face, "frames": find_faces})


if __name__ == "__main__":
    main()
