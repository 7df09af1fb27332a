"""A picture that can be found again, whatever the device makes of it.

Vertical stripes, light and dark by a fixed code, the same in every row. Scaling keeps the code and changes only how wide a stripe
is; conversion to another layout changes only how far apart two pixels are; brightness changes neither. So one search for "samples
at these distances, these all lighter than those" finds it as RGB, BGR, grey, NV12, float32 or int8 (``device.proof.search``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from device.types import Face, Pixels

WIDTH, HEIGHT = 640, 480
WIDE: Final = 12  # of a stripe in the middle of the picture, pixels
FINE: Final = 6  # in the lower part
BROAD: Final = 24  # at the top
BROAD_TO, FINE_FROM = 60, 300  # rows
LIGHT, DARK = (225, 205, 185), (55, 75, 40)  # RGB
ROWS: Final = 16  # of a layer, in which a picture is seen
BITS: Final = 16  # stripes in a row that count as found
STAGES: Final = (
    "nothing", "camera", "face prepare", "face invoke", "face decode", "emotion prepare", "emotion invoke", "emotion decode",
    "tracks", "window", "privacy", "spool", "greed",
)  # fmt: skip
PARTS: Final = ((10, (0.2, 0.4, 0.6, 0.8)), (5, (0.3, 0.7)), (3, (0.4, 0.65)), (0, (0.5,)))  # of a stripe so wide, sampled
KEY: Final = 20261122

CROP: Final = 48  # width and height of a face that is cut out, pixels
FRAMING: Final = 1.15  # of its box (device.nets.emotion)
CROP_STRIPES: Final = 13  # that are whole in it

Number = Literal["uint8", "int8", "float32"]
NUMBERS: Final[tuple[Number, ...]] = ("uint8", "int8", "float32")
PICTURES: Final[tuple[tuple[str, Number, int], ...]] = (
    ("grey or NV12", "uint8", 1), ("RGB or BGR", "uint8", 3), ("with a fourth byte", "uint8", 4),
    ("grey int8", "int8", 1), ("RGB int8", "int8", 3), ("grey float32", "float32", 1), ("RGB float32", "float32", 3),
)  # fmt: skip


def _code(length: int = 107) -> tuple[int, ...]:
    """Light and dark in an order of chance, but never more than three alike in a row, so that every stretch has both."""
    bits: list[int] = []
    for raw in np.random.PCG64(KEY).random_raw(length):
        bit = int(raw) >> 63
        bits.append(1 - bit if bits[-3:] == [bit] * 3 else bit)
    return tuple(bits)


CODE: Final = _code()


@dataclass(frozen=True, slots=True)
class Needle:
    """One form in which the picture may lie in memory.

    Attributes:
        name: For people.
        number: How a value is stored.
        step: Values from one pixel to the next: 3 in RGB, 1 in grey and in the luma of NV12.
        stripe: Width of a stripe, pixels.
        first: The first stripe of the code that is looked for.
        count: How many stripes.
        row: Values from one row of the picture to the next, where a single row has too few stripes.
        rows: How many rows must show them.
        inverted: Whether light and dark have changed places.
        several: Whether a stripe that is wide enough is sampled more than once.
        spread: How unlike each other the light samples may be, and the dark ones, as a fraction of the gap between the two.
        least: Hits in one place of memory, below which they are chance: a channel of a layer that holds a picture holds it in
            many of its rows, up to 56 where that was tried; elsewhere there were 2 at most.
    """

    name: str
    number: Number
    step: int
    stripe: float
    first: int = 8
    count: int = BITS
    row: int = 0
    rows: int = 1
    inverted: bool = False
    several: bool = True
    spread: float = 0.5
    least: int = 1

    def samples(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Where the light and where the dark samples lie, in values from the first."""
        parts = next(parts for least, parts in PARTS if self.stripe >= least) if self.several else PARTS[-1][1]
        places = [
            (row * self.row + int((n + part) * self.stripe) * self.step, CODE[self.first + n])
            for row in range(self.rows) for n in range(self.count) for part in parts
        ]  # fmt: skip
        light, dark = ([place for place, bit in places if bit == wanted] for wanted in ((0, 1) if self.inverted else (1, 0)))
        return np.array(light, np.intp), np.array(dark, np.intp)


def picture() -> Pixels:
    """``uint8[480, 640, 3]``, RGB."""
    made = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for rows, stripe in ((slice(None), WIDE), (slice(None, BROAD_TO), BROAD), (slice(FINE_FROM, None), FINE)):
        bits = np.array([CODE[x // stripe] for x in range(WIDTH)])
        made[rows] = np.where(bits[:, None] == 1, np.array(LIGHT), np.array(DARK)).astype(np.uint8)
    return made


def _upright(x: float, y: float, size: float) -> Face:
    """A face of ``size`` pixels around a point, looking straight ahead."""
    across, down = size / WIDTH, size / HEIGHT
    cx, cy = x / WIDTH, y / HEIGHT
    eyes = cy - down / 8
    eye, ear = across / 5, across / 2
    points = ((cx - eye, eyes), (cx + eye, eyes), (cx, cy), (cx, cy + down / 4), (cx - ear, cy), (cx + ear, cy))
    return Face((cx - across / 2, cy - down / 2, cx + across / 2, cy + down / 2), points, 0.9)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that holds a picture: of which model, its width and height without a border, with one, its channels and type."""

    model: str
    side: int
    row: int
    channels: int
    number: Number


LARGE, SMALL = 150.0, 75.0  # widths of the two faces that are prescribed, pixels
FACES: Final = (
    _upright(26.5 * WIDE, 150, LARGE),
    _upright(53.5 * FINE, 390, SMALL),
)  # where stripes 20 to 32, and 47 to 59, are seen


# What a detector looks at, how long its longer side is, and the first of the stripes that are looked for in it: the whole picture,
# and with tiles = 2 its last part, columns 274 to 640.
VIEWS: Final = (("picture", WIDTH, 8, 6), ("part", HEIGHT, 30, 13))


def needles(tensors: Iterable[Tensor]) -> tuple[Needle, ...]:
    """All forms in which the pipeline could leave the picture, or a part of it.

    Args:
        tensors: What the models hold of pictures, from their inputs on.
    """
    found = [
        Needle(f"{kind}, {stripe} px stripes", number, step, stripe)
        for kind, number, step in PICTURES
        for stripe in (WIDE, WIDE // 2)  # and halved on the way to a detector
    ]
    for tensor in tensors:
        if tensor.model == "face":
            found += _of_picture(tensor)
        else:
            found += [needle for face in CROPS for needle in _of_crop(tensor, *face)]
    for name, size, stripe, first in CROPS:
        scale = CROP / (FRAMING * size)
        shrink = max(1, int(1 / scale + 0.25))
        if shrink > 1:
            wide = stripe * scale * shrink
            found.append(Needle(f"{name} before it shrinks", "uint8", 1, wide, first, CROP_STRIPES, CROP * shrink, 3))
    return tuple(found)


def _of_picture(tensor: Tensor) -> list[Needle]:
    """The picture, scaled: as it goes in, and as the first layers hold it, where light may have become dark."""
    return [needle for view in VIEWS for needle in _of_view(tensor, *view)]


def _of_view(tensor: Tensor, view: str, longer: int, first: int, broad: int) -> list[Needle]:
    side = tensor.side
    if tensor.channels <= 3:
        row, stripe = tensor.row * tensor.channels, WIDE * side / longer
        return [Needle(f"{side} px {view}, {n}", n, tensor.channels, stripe, first, row=row, rows=3) for n in NUMBERS if stripe > 2]
    stripe, name = BROAD * side / longer, f"{side} px layer of the {view}, {tensor.channels} channels"
    return [
        Needle(name + word, tensor.number, tensor.channels, stripe, broad, 12, 0, 1, swapped, several=False, spread=1.5, least=ROWS)
        for word, swapped in (("", False), (" inverted", True))
        if stripe > 1.5
    ]


def _of_crop(tensor: Tensor, name: str, size: float, stripe: float, first: int) -> list[Needle]:
    """A face that was cut out: as it goes in, and as a layer holds it with a border around it."""
    if tensor.channels > 1:
        return []
    wide = stripe * CROP / (FRAMING * size)
    where = name if tensor.row == CROP else f"{name} in {tensor.row} px"
    return [Needle(f"{where}, {n}", n, 1, wide, first, CROP_STRIPES, tensor.row, 3) for n in NUMBERS]


CROPS: Final = (("crop of the large face", LARGE, WIDE, 20), ("crop of the small face", SMALL, FINE, 47))  # and their first stripe
