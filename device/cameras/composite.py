"""A scene of mean faces with a known script: a camera for demonstrations and tests, with nobody's likeness.

Address: the seed of the script, a whole number (``composite:7``); without one, the seed of the options. The faces are made by
``python -m models.composite``; what the scene proves and what not is said in ``docs/composite.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from math import ceil
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from device.cameras import Camera, CameraOptions
from device.contract import Emotion
from device.errors import CameraError
from device.scene import CAST, Colour, Figure, Scene
from device.types import Frame, Pixels

FACES: Final = Path(__file__).resolve().parent / "faces"
LARGEST_SEED: Final = 2**32 - 1
OVAL: Final = (0.43, 0.50, 2.6)  # half width and half height as fractions of the face's side, and how square
SOFT: Final = 0.16  # width of the oval's soft edge, as a fraction of its radius
SKIN: Final = 95.0  # grey level of a neck
SUBPIXEL: Final = 4  # OpenCV draws in sixteenths of a pixel
NOISE: Final = 5.0  # standard deviation of the background's noise, grey levels
NOISES: Final = 3  # pictures of the background, shown in turn
Blend = npt.NDArray[np.float32]


def open_camera(address: str, options: CameraOptions) -> Camera:
    """Open a scene.

    Args:
        address: The seed, or empty for that of the options.
        options: Size, frames per second, ``fast``.

    Raises:
        CameraError: The address is not a seed, or the faces are missing.
    """
    seed = address.strip() or str(options.seed)
    if not (seed.isascii() and seed.isdigit()) or int(seed) > LARGEST_SEED:
        raise CameraError(
            f"camera composite: the address is the seed of the scene, a whole number from 0 to {LARGEST_SEED}, "
            f"not {address!r}; write composite or, for example, composite:7"
        )
    scene = Scene(int(seed), options.width, options.height)
    return CompositeCamera(scene, options.fps, fast=options.fast)


class CompositeCamera:
    """Shows a scene at its own pace; the scene's time is the time of a frame since the first one.

    Args:
        scene: The script.
        fps: Frames per second. A process that comes late misses frames; the scene goes on.
        fast: Never wait: each frame is ``1 / fps`` later than the last, starting at 0.
        clock, sleep: Time, in seconds.

    Raises:
        CameraError: The faces are missing.
    """

    def __init__(
        self,
        scene: Scene,
        fps: float,
        *,
        fast: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.scene = scene
        self._painter: Painter | None = Painter(scene.width, scene.height, scene.seed)
        self._fps, self._fast, self._clock, self._sleep = fps, fast, clock, sleep
        self._began: float | None = None
        self._next = 0

    def take(self) -> AbstractContextManager[Frame]:
        """Wait until the next frame is due and paint it.

        Raises:
            CameraError: The camera is closed.
        """
        if self._painter is None:
            raise CameraError("camera composite: it is closed; open it again")
        number = self._wait()
        t = number / self._fps
        self._next = number + 1
        return Frame(self._painter.paint(self.scene.people_at(t), number), (self._began or 0.0) + t)

    def _wait(self) -> int:
        """Wait until a frame is due; its number, counted from the first."""
        if self._fast:
            return self._next
        now = self._clock()
        if self._began is None:
            self._began = now
        late = now - self._began
        number = max(self._next, ceil(late * self._fps - 1e-6))
        if number / self._fps > late:
            self._sleep(number / self._fps - late)
        return number

    def close(self) -> None:
        """Forget the scene; may be called twice."""
        self._painter = None


class Painter:
    """Puts faces on a background.

    Args:
        width, height: Of the picture, pixels.
        seed: Of the background's noise.

    Raises:
        CameraError: A face is missing or is not a picture of one.
    """

    def __init__(self, width: int, height: int, seed: int) -> None:
        self._faces = read_faces(FACES)
        self.backgrounds = [_background(width, height, np.random.default_rng((seed, n))) for n in range(NOISES)]

    def paint(self, people: tuple[Figure, ...], number: int = 0) -> Pixels:
        """A picture of these people, those in front last: a new ``uint8[height, width, 3]``, RGB.

        Args:
            number: Of the frame: chooses the noise.
        """
        picture: Pixels = self.backgrounds[number % NOISES].copy()
        for figure in people:
            self._draw_body(picture, figure)
            self._paste_face(picture, figure)
        return picture

    def _draw_body(self, picture: Pixels, figure: Figure) -> None:
        """Shoulders, neck and hair: without them the detector misses many a face."""
        height, width, _ = picture.shape
        x, y, side = figure.x * width, figure.y * height, figure.side

        def oval(down: float, half_width: float, half_height: float, colour: Colour, turn: int = 360) -> None:
            middle = round(x * 2**SUBPIXEL), round((y + down * side) * 2**SUBPIXEL)
            axes = round(half_width * side * 2**SUBPIXEL), round(half_height * side * 2**SUBPIXEL)
            cv2.ellipse(picture, middle, axes, 0, 360 - turn, 360, colour, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)

        oval(1.02, 0.78, 0.42, figure.cloth, turn=180)  # the upper half
        left, right, top = (max(0, round(edge)) for edge in (x - 0.78 * side, x + 0.78 * side, y + 1.02 * side))
        picture[top:, left:right] = np.array(figure.cloth, np.uint8)
        red, green, blue = figure.tint
        oval(0.5, 0.2, 0.22, (SKIN * red, SKIN * green, SKIN * blue))
        oval(-0.09, 0.44, 0.5, figure.hair)

    def _paste_face(self, picture: Pixels, figure: Figure) -> None:
        height, width, _ = picture.shape
        face = self._blended(figure.mix)
        if figure.mirrored:
            face = face[:, ::-1]
        left, top = figure.x * width - figure.side / 2, figure.y * height - figure.side / 2
        x0, y0 = max(0, int(left)), max(0, int(top))
        x1, y1 = min(width, ceil(left + figure.side)), min(height, ceil(top + figure.side))
        if x0 >= x1 or y0 >= y1:
            return
        zoom = figure.side / len(face)
        shift = 0.5 * zoom - 0.5  # pixel centres
        matrix = np.array([[zoom, 0, left - x0 + shift], [0, zoom, top - y0 + shift]])
        shown = cv2.warpAffine(face, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        inside = picture[y0:y1, x0:x1]
        mixed = inside * (1 - shown[..., 1:]) + shown[..., :1] * np.array(figure.tint, np.float32)
        np.clip(mixed, 0, 255, out=mixed)
        inside[:] = mixed

    def _blended(self, mix: tuple[tuple[Emotion, float], ...]) -> Blend:
        """The face of one emotion, or two laid over each other."""
        (first, share), *rest = mix
        return self._faces[first] if not rest else self._faces[first] * share + self._faces[rest[0][0]] * rest[0][1]


def read_faces(folder: Path) -> Mapping[Emotion, Blend]:
    """The mean faces of the cast: ``float32[side, side, 2]``, grey levels times opacity, and opacity.

    Raises:
        CameraError: One is missing or is not a square grey picture.
    """
    faces: dict[Emotion, Blend] = {}
    for name in CAST:
        path = folder / f"{name}.png"
        try:
            content = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as error:
            raise CameraError(f"{path}: cannot read the face ({error.strerror}); reinstall mien") from error
        image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
        if image is None or image.shape[0] != image.shape[1]:
            raise CameraError(f"{path}: not a square picture of a face; reinstall mien")
        opacity = _oval(len(image))
        faces[name] = np.stack([image * opacity, opacity], axis=-1).astype(np.float32)
    return faces


def _oval(side: int) -> Blend:
    """Opacity of a pasted face: 1 inside, 0 outside, with a soft edge and no corner."""
    across, down, power = OVAL
    place = np.abs((np.arange(side) + 0.5) / side - 0.5)
    radius = ((place / across)[None, :] ** power + (place / down)[:, None] ** power) ** (1 / power)
    share = np.clip((1 - radius) / SOFT, 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _background(width: int, height: int, rng: np.random.Generator) -> Pixels:
    """A grey wall, lighter above, with noise."""
    shade = np.linspace(150, 105, height)[:, None] + np.linspace(-8, 8, width)[None, :]
    noisy = shade[..., None] * np.array([0.97, 1.0, 1.03]) + rng.normal(0, NOISE, (height, width, 1))
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)
