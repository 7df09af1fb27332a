"""Make the test vectors of a model: pictures, and what it makes of them here. They are published with it (docs/rollouts.md).

``python -m models.vectors models/emotion.tflite`` writes ``models/emotion.vectors.json``. Half of the pictures are noise, half are
drawn: discs and bars of random levels, smooth as a lens makes them. Nobody is in them, and the same seed draws the same ones.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from device.contract_model import MODEL_NAMES, Array, ModelName, Vectors
from device.errors import MienError, ModelError
from device.manifest import Manifest, read_manifest
from device.tflite import Model, ModelFile
from device.vectors import KINDS, outputs_for

PICTURES: Final = {"emotion": 8}
OTHERS: Final = 2  # of the detectors, whose outputs are large
LEAST: Final = 0.02  # tolerance, in units of the output
SHARE: Final = {"emotion": 0.08}  # and of the largest value: several times what the two runtimes differ by
OTHER_SHARE: Final = 0.25  # of the detectors, whose int8 forms differ by up to 0.18 on noise


def pictures(count: int, shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.uint8]:
    """``uint8[count, height, width, channels]``: the first half noise, the rest drawn."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 256, (count, *shape), np.uint8)
    height, width, channels = shape
    for picture in made[count // 2 :]:
        canvas = np.full((height, width, 3), rng.integers(0, 256), np.uint8)
        for _ in range(12):
            x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
            level = tuple(int(n) for n in rng.integers(0, 256, 3))
            cv2.circle(canvas, (x, y), int(rng.integers(2, width // 3)), level, -1)
            cv2.line(canvas, (x, y), (int(rng.integers(0, width)), int(rng.integers(0, height))), level[::-1], 2)
        picture[:] = cv2.GaussianBlur(canvas, (5, 5), 0)[:, :, :channels]
    return made


def make(file: ModelFile, name: ModelName, seed: int = 0) -> Vectors:
    """The test vectors of a model.

    Raises:
        ModelError: It cannot be used.
    """
    kind = KINDS[name]
    model = Model(file, inputs=kind.inputs, outputs=kind.outputs)
    shown = pictures(PICTURES.get(name, OTHERS), kind.inputs[0].shape[1:], seed)
    outputs, _ = outputs_for(model, name, shown)
    tolerance = tuple(max(LEAST, SHARE.get(name, OTHER_SHARE) * float(np.abs(one).max())) for one in outputs)
    return Vectors(schema=1, pictures=Array.of(shown), outputs=tuple(map(Array.of, outputs)), tolerance=tolerance)


def named(manifest: Manifest, path: Path) -> tuple[ModelName, str]:
    """Which model of a manifest a file is, and its hash.

    Raises:
        ModelError: The file cannot be read, or the manifest does not have it.
    """
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    for name in MODEL_NAMES:
        entry = manifest.entries.get(name)
        if entry and sha256 in {entry.sha256, *(form.sha256 for form in entry.forms.values())}:
            return name, sha256
    raise ModelError(f"{path}: not in {manifest.folder / 'manifest.json'}; release it there first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the model; manifest.json is beside it")
    parser.add_argument("--out", type=Path, help="default: beside the model")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    try:
        name, sha256 = named(read_manifest(wanted.file.parent), wanted.file)
        vectors = make(ModelFile(wanted.file, sha256), name, wanted.seed)
    except MienError as error:
        sys.exit(str(error))
    out = wanted.out or wanted.file.with_suffix(".vectors.json")
    out.write_text(vectors.model_dump_json(by_alias=True) + "\n")
    print(f"{out}: {out.stat().st_size} bytes, {vectors.pictures.shape[0]} pictures, tolerance {vectors.tolerance}")


if __name__ == "__main__":
    main()
