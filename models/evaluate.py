"""How good the models are, measured through the code that runs on the device.

    python -m models.evaluate clips --clips DIR
    python -m models.evaluate emotion --data FILE.npz [--model FILE]
    python -m models.evaluate faces --images DIR --boxes FILE.json

Each prints a small table, or one line of JSON with ``--json``. Needs what the device needs and nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from device.errors import MienError
from models import eval_clips, eval_emotion, eval_faces
from models.data import DataError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m models.evaluate", description=(__doc__ or "").splitlines()[0])
    commands = whole.add_subparsers(metavar="WHAT", required=True)

    clips = commands.add_parser("clips", help="count the different people in each video of a folder")
    clips.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of videos or GIFs")
    clips.set_defaults(run=lambda args: eval_clips.evaluate(args.clips), show=eval_clips.show)

    emotion = commands.add_parser("emotion", help="accuracy on labelled face crops (FER+ format and protocol)")
    emotion.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="images, votes and names as in ferplus-*.npz")
    emotion.add_argument("--model", type=Path, metavar="FILE", help="another .tflite than the shipped one")
    emotion.set_defaults(run=lambda args: eval_emotion.evaluate(args.data, args.model), show=eval_emotion.show)

    faces = commands.add_parser("faces", help="recall of the face detector on photos with boxed heads")
    faces.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of pictures")
    faces.add_argument("--boxes", type=Path, required=True, metavar="FILE.json", help='{"file name": [[x0, y0, x1, y1], …]}')
    faces.set_defaults(run=lambda args: eval_faces.evaluate(args.images, args.boxes), show=eval_faces.show)

    for command in (clips, emotion, faces):
        command.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    return whole


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 for bad input (one line on stderr says what)."""
    args = parser().parse_args(words)
    try:
        result = args.run(args)
    except (DataError, MienError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result) if args.json else args.show(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
