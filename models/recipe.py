"""Make the emotion network again, from data to card: ``make train DATA=...``.

Teachers, what they say, pupil, int8, operating points, card. Each step goes on where it was cut off; nothing is released before
the end. About two hours on two idle cores, by the times of single epochs in ``models/RUNS.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

FIRST, LARGE, PUPIL = 50, 40, 45  # epochs
VIEWS: Final = 12


def steps(rows: Path, valid: Path, out: Path) -> list[list[str]]:
    """The commands in order, each the arguments of ``python -m``."""
    first, large, pupil, views = (out / name for name in ("first", "large", "pupil", "views"))
    teachers = [str(first / "best.pt"), str(large / "best.pt")]
    taught = ["--start", str(first / "best.pt"), "--views", str(views), "--share", "0.6", "--mixed", "0", "--peak", "0.06"]

    def train(folder: Path, epochs: int, *words: str) -> list[str]:
        return ["models.train", "--data", str(rows), "--out", str(folder), "--epochs", str(epochs), "--resume", *words]

    return [
        train(first, FIRST),
        train(large, LARGE, "--net", "large"),
        ["models.teach", "--data", str(rows), "--teachers", *teachers, "--views", str(VIEWS), "--out", str(views)],
        train(pupil, PUPIL, *taught),
        ["models.export", "--checkpoint", str(pupil / "best.pt"), "--data", str(rows)],
        ["models.evaluate", "emotion", "--data", str(valid)],
        ["models.card", "--data", str(valid), "--held", str(rows)],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.recipe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ferplus-train.npz and ferplus-valid.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, 2 GB")
    args = parser.parse_args()
    rows, valid = args.data / "ferplus-train.npz", args.data / "ferplus-valid.npz"
    for file in (rows, valid):
        if not file.is_file():
            print(f"recipe: {file}: no such file; give the folder that holds it", file=sys.stderr)
            return 2
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for step in steps(rows, valid, args.out):
            print("$ python -m " + " ".join(step), flush=True)
            subprocess.run([sys.executable, "-m", *step], check=True)
    except subprocess.CalledProcessError as error:
        print(f"recipe: {error}; what was done is kept, the same command goes on", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
