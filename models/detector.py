"""Which face detector an evaluation looks with: the device's own, or another that is named."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from device.choice import USUAL
from device.manifest import read_manifest
from device.nets.face import DETECTORS, FaceNet
from device.settings import ModelSettings
from device.tflite import ModelFile
from models.data import DataError
from models.pictures import open_regular

DEFAULTS: Final = ModelSettings()
TILES: Final = get_args(ModelSettings.model_fields["tiles"].annotation)
FORMS: Final = [form for form in get_args(ModelSettings.model_fields["form"].annotation) if form != "auto"]


@dataclass(frozen=True, slots=True)
class Which:
    """A detector; what is not said is as on the device.

    Attributes:
        detector: ``full``, ``back`` or ``short``.
        tiles: 1, 2, 4 or 6.
        form: Of the packaged model.
        model: A file of one's own instead, with the same tensors.
    """

    detector: str = DEFAULTS.detector
    tiles: int = DEFAULTS.tiles
    form: str = USUAL
    model: Path | None = None

    @property
    def file(self) -> ModelFile:
        """The model.

        Raises:
            DataError, ModelError: It is missing.
        """
        if self.model is None:
            return read_manifest().file(DETECTORS[self.detector].name, self.form)
        try:
            with open_regular(self.model) as file:
                content = file.read()
        except OSError as error:
            raise DataError(f"{self.model}: cannot read the model ({error.strerror}); give a .tflite file") from error
        return ModelFile(self.model, hashlib.sha256(content).hexdigest())

    def open(self) -> FaceNet:
        """Load it.

        Raises:
            DataError, ModelError: The model is missing, or not of this detector.
        """
        return FaceNet(self.file, detector=self.detector, tiles=self.tiles)


DEVICE: Final = Which()  # what a device looks with


def add_words(parser: argparse.ArgumentParser) -> None:
    """``--detector``, ``--tiles``, ``--form`` and ``--model``."""
    parser.add_argument(
        "--detector", choices=[*DETECTORS], default=DEFAULTS.detector, help="default: %(default)s, as on the device"
    )
    parser.add_argument("--tiles", type=int, choices=TILES, default=DEFAULTS.tiles, help="default: %(default)s")
    parser.add_argument("--form", choices=FORMS, default=USUAL, help="of the packaged model (default: %(default)s)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="another .tflite, with the tensors of that detector")


def from_words(args: argparse.Namespace) -> Which:
    """What was said."""
    return Which(args.detector, args.tiles, args.form, args.model)
