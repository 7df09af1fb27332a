"""How good the models are, measured through the code that runs on the device.

    python -m models.evaluate clips --clips DIR [--detector back|full|short] [--tiles 1|2|4|6] [--form FORM | --model FILE]
    python -m models.evaluate emotion --data FILE.npz [--model FILE] [--point single|count]
    python -m models.evaluate faces --images DIR --boxes FILE.json [--detector …] [--tiles …] [--form FORM | --model FILE]
    python -m models.evaluate photos --images DIR --labels FILE.csv [--point single|count]
    python -m models.evaluate shares --data FILE.npz [--size 50] [--samples 1000] [--seed 1]

Each prints a small table, or one line of JSON with ``--json``; ``--degrade`` makes the pictures worse first.
Needs what the device needs and nothing else.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports below, seconds on a Pi, ends it without a word

from device.manifest import PointName
from models import detector, eval_clips, eval_emotion, eval_faces, eval_photos, eval_shares
from models.degrade import KINDS
from models.errors import run, tell


class Parser(argparse.ArgumentParser):
    """Wrong words end with one line, like any other bad input."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"evaluate: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = Parser(prog="python -m models.evaluate", description=(__doc__ or "").splitlines()[0])
    commands = whole.add_subparsers(metavar="WHAT", required=True)

    clips = commands.add_parser("clips", help="count the different people in each video of a folder")
    clips.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of videos or GIFs")
    clips.set_defaults(run=lambda a: eval_clips.evaluate(a.clips, a.degrade, detector.from_words(a)), show=eval_clips.show)

    emotion = commands.add_parser("emotion", help="accuracy on labelled face crops (FER+ format and protocol)")
    emotion.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="images, votes and names as in ferplus-*.npz")
    emotion.add_argument("--model", type=Path, metavar="FILE", help="another .tflite than the shipped one")
    emotion.set_defaults(run=lambda a: eval_emotion.evaluate(a.data, a.model, a.point, a.degrade), show=eval_emotion.show)

    faces = commands.add_parser("faces", help="recall of the face detector on photos with boxed heads")
    faces.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of pictures")
    faces.add_argument("--boxes", type=Path, required=True, metavar="FILE.json", help='{"file name": [[x0, y0, x1, y1], …]}')
    faces.set_defaults(
        run=lambda a: eval_faces.evaluate(a.images, a.boxes, a.degrade, detector.from_words(a)), show=eval_faces.show
    )

    photos = commands.add_parser("photos", help="accuracy of the whole path, from a photo to the emotion of its largest face")
    photos.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of pictures")
    photos.add_argument("--labels", type=Path, required=True, metavar="FILE.csv", help="columns path and emotion")
    photos.set_defaults(run=lambda a: eval_photos.evaluate(a.images, a.labels, a.point, a.degrade), show=eval_photos.show)

    shares = commands.add_parser("shares", help="error of the shares in samples with random true shares, counted and corrected")
    shares.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="images, votes and names as in ferplus-*.npz")
    shares.add_argument("--size", type=int, default=50, help="faces in a sample (default: 50)")
    shares.add_argument("--samples", type=int, default=1000, help="how many samples (default: 1000)")
    shares.add_argument("--seed", type=int, default=1, help="which samples (default: 1)")
    shares.set_defaults(run=lambda a: eval_shares.evaluate(a.data, a.size, a.samples, a.seed, a.degrade), show=eval_shares.show)

    for command in (emotion, photos):
        command.add_argument("--point", choices=get_args(PointName), default="single", help="operating point (default: single)")

    for command in (clips, faces):
        detector.add_words(command)

    for command in (clips, emotion, faces, photos, shares):
        command.add_argument("--degrade", choices=KINDS, help="make the pictures worse first (models/degrade.py says how)")
        command.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    return whole


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 for bad input (one line on stderr says what), see ``models.errors``."""
    args = parser().parse_args(words)

    def work() -> None:
        result = args.run(args)
        tell(json.dumps(result) if args.json else args.show(result))

    return run("evaluate", work)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
