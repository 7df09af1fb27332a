"""mien itself, called as ``models.evaluate`` calls it: the shipped files through ``device.nets``."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from device.contract import EMOTIONS
from device.manifest import read_manifest
from device.nets import face
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.types import Frame, Pixels
from models import data
from models.detector import DEVICE
from models.eval_emotion import pick
from models.peers.port import serve


def main() -> None:
    """Answer requests. A face is aligned before the clock runs, as by ``models.evaluate``; frames are searched as on the device."""
    cv2.setNumThreads(1)
    file, point = pick(None, "single")
    read = EmotionNet(file, temperature=point.temperature, offsets=point.offsets)
    align, find = FaceNet(read_manifest().file(face.NAME)), DEVICE.open()

    def read_face(picture: Pixels) -> Callable[[], str]:
        (found,) = data.find_faces(picture[None, :, :, 0], align)
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
