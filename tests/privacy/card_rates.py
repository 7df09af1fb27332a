"""How often a no-thanks card is read: ``python -m tests.privacy.card_rates [ROUNDS]``.

In each drawn picture somebody holds a card before the chest, and two others stand behind. Every size of the face, which is its
distance, meets every size of the card, turn, yaw and light; place, noise and a few degrees of the turn are thrown. Faces are
prescribed, so what the detector finds is not counted in.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import product
from typing import Final

import cv2
import numpy as np

from device.cameras.composite import Painter
from device.consent import REACH
from device.nets.cards import NO_THANKS, Cards
from device.notice import FACE_CM
from device.scene import Figure
from device.types import Face, Frame, Pixels
from tests.build import face
from tests.cards import show

WIDTH, HEIGHT = 640, 480
BOX: Final = 0.7  # width of the detector's box, as a share of the side of a pasted face
NOISE: Final = 3.0  # of the sensor, grey levels
FACES: Final = (28, 32, 36, 40, 48, 56, 64, 80, 120)  # pixels
CARDS: Final = (8.0, 10.0, 11.5, 14.0, 20.0)  # cm
TURNS, YAWS = (0, 15, 30, 45), (0, 45)  # degrees
LIGHTS: Final = (1.0, 0.5, 0.25, 0.18)  # of a bright room
CLOTH: Final = ((150.0, 140.0, 130.0), (40.0, 40.0, 60.0))


def figure(number: int, x: float, y: float, side: float) -> Figure:
    return Figure(number, x, y, side, (("neutral", 1.0),), (1.0, 0.95, 0.9), (60, 40, 30), CLOTH[number % 2], mirrored=False)


def picture(painter: Painter, rng: np.random.Generator, size: int, side: float, turn: float, yaw: float) -> tuple[Pixels, Face]:
    """Somebody with a card in bright light, and that face."""
    reach = int(side * 8 / 6) + 4
    x, y = rng.uniform(size, WIDTH - size), rng.uniform(0.8 * size, max(0.9 * size, HEIGHT - reach - 1.6 * size))
    others = figure(2, 0.15, 0.3, 1.2 * size / BOX), figure(3, 0.85, 0.3, 1.4 * size / BOX)
    pixels = painter.paint((*others, figure(int(rng.integers(2)), x / WIDTH, y / HEIGHT, size / BOX)), int(rng.integers(99)))
    at = x + rng.uniform(-0.3, 0.3) * size, y + 1.55 * size
    left, top = max(0, int(at[0]) - reach), max(0, int(at[1]) - reach)
    show(
        pixels[top : int(at[1]) + reach, left : int(at[0]) + reach], NO_THANKS, at[0] - left, at[1] - top, side, turn=turn, yaw=yaw
    )
    box = ((x - size / 2) / WIDTH, (y - size / 2) / HEIGHT, (x + size / 2) / WIDTH, (y + size / 2) / HEIGHT)
    return pixels, Face(box, face().keypoints, 0.9)


def taken(pixels: Pixels, rng: np.random.Generator, light: float) -> Frame:
    """What a camera makes of it."""
    soft = cv2.GaussianBlur(pixels, (0, 0), 0.7).astype(np.float32) * np.float32(light)
    soft += np.float32(NOISE) * rng.standard_normal(soft.shape, np.float32)
    return Frame(np.clip(soft, 0, 255).astype(np.uint8), 0.0)


def main(rounds: int = 1) -> None:
    """Measure, and print how many cards of a hundred are read."""
    painter, reader, rng = Painter(WIDTH, HEIGHT, 0), Cards(), np.random.default_rng(1)
    shown: Counter[tuple[object, ...]] = Counter()
    read: Counter[tuple[object, ...]] = Counter()
    for _, size, cm, turn, yaw in product(range(rounds), FACES, CARDS, TURNS, YAWS):
        pixels, holder = picture(painter, rng, size, size * cm / FACE_CM, turn + rng.uniform(-7, 7), yaw)
        for light in LIGHTS:
            found = any(card.marker == NO_THANKS for card in reader.around(taken(pixels, rng, light), [holder], REACH))
            promised = cm >= 11.5
            for key in (
                ("size", size, cm, light >= 0.5),
                ("turn", turn, promised),
                ("yaw", yaw, promised),
                ("light", light, promised),
            ):
                shown[key] += 1
                read[key] += found

    def share(*key: object) -> str:
        return f"{100 * read[key] / shown[key]:5.0f}"

    print("in good light, cards of", *(f"{cm:g} cm" for cm in CARDS))
    for size in FACES:
        print(f"  face of {size:3} px", *(share("size", size, cm, True) for cm in CARDS))
    print("all lights, cards below 11.5 cm, and from 11.5 cm on")
    for name, values in (("light", LIGHTS), ("turn", TURNS), ("yaw", YAWS)):
        for value in values:
            print(f"  {name} {value:g}", share(name, value, False), share(name, value, True))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
