"""How FER+ images are framed: measures the constants that ``device.nets.emotion`` crops by.

    python -m models.framing --data ../shared/data/ferplus-train.npz

Runs the detector over training images, with several widths of grey border around them, and prints how often it finds a face
and, for the border that training uses, the medians of ``CROP_SIDE`` and ``CROP_UP`` beside the constants in force.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from math import atan2, cos, sin
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from device.errors import MienError
from device.manifest import read_manifest
from device.nets import emotion, face
from device.nets.face import FaceNet
from device.types import Face
from models import data
from models.data import DataError

PADDINGS: Final = (0, 8, 16, 24, 36, 48)  # pixels


@dataclass(frozen=True, slots=True)
class Framing:
    """Medians over images, in units of the face box's width.

    Attributes:
        side: How wide the image is.
        up: How far the image's centre lies above the box's centre, along the face's own axis.
        spread: Half the range from the 16th to the 84th percentile of ``side`` and of ``up``.
    """

    side: float
    up: float
    spread: tuple[float, float]


def measure(faces: list[Face]) -> Framing:
    """How images of ``data.SIDE`` pixels lie around their faces.

    Args:
        faces: In fractions of their image.

    Raises:
        DataError: There is none.
    """
    if not faces:
        raise DataError("the detector found no face in any image; nothing to measure")
    rows: npt.NDArray[np.float64] = np.array([_row(found) for found in faces])
    low, middle, high = np.percentile(rows, [16, 50, 84], axis=0)
    side, up = (float(value) for value in middle)
    spread = (high - low) / 2
    return Framing(side, up, (float(spread[0]), float(spread[1])))


def _row(found: Face) -> tuple[float, float]:
    x0, y0, x1, y1 = found.box
    (rx, ry), (lx, ly) = found.keypoints[:2]
    angle, width = atan2(ly - ry, lx - rx), ((x1 - x0) + (y1 - y0)) / 2
    dx, dy = 0.5 - (x0 + x1) / 2, 0.5 - (y0 + y1) / 2
    return 1 / width, (dx * sin(angle) - dy * cos(angle)) / width


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.framing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="ferplus-train.npz")
    parser.add_argument("--rows", type=int, default=2000, help="how many images, chosen at random (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        rows = data.load(args.data)
        detector = FaceNet(read_manifest().file(face.NAME))
        images = rows.images[np.random.default_rng(args.seed).permutation(len(rows))[: max(1, args.rows)]]
        print(f"{len(images)} images of {args.data.name}\n\nborder, px  faces found")
        for padding in PADDINGS:
            found = [one for one in data.find_faces(images, detector, padding, what=f"border {padding}") if one]
            if padding == data.PADDING:
                framing = measure(found)
            print(f"{padding:>10}  {len(found) / len(images):>11.1%}{'  (used)' if padding == data.PADDING else ''}")
    except (DataError, MienError) as error:
        print(f"framing: {error}", file=sys.stderr)
        return 2
    print(f"\n{'constant':<10}{'in force':>10}{'measured':>10}{'spread':>9}")
    print(f"{'CROP_SIDE':<10}{emotion.CROP_SIDE:>10.3f}{framing.side:>10.3f}{framing.spread[0]:>9.3f}")
    print(f"{'CROP_UP':<10}{emotion.CROP_UP:>10.3f}{framing.up:>10.3f}{framing.spread[1]:>9.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
