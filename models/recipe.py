"""Make the emotion network again, from data to card: ``make train DATA=...``.

Teachers, what they say, pupils, and once more with the pupils among the teachers; int8, operating points, card. Each step goes on
where it was cut off; nothing is released before the end. About three hours on two idle cores that have instructions for bfloat16,
between six and seven on two that have none, by the times of single epochs (``models/RUNS.md``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

FIRST, LARGE, PUPIL, BALANCED, LAST = 50, 33, 34, 12, 38  # epochs
VIEWS: Final = (12, 14)
GO_ON: Final = "what was done is kept, the same command goes on"


def steps(rows: Path, valid: Path, out: Path) -> list[list[str]]:
    """The commands in order, each the arguments of ``python -m``."""
    first, large, pupil, balanced, last = (out / name for name in ("first", "large", "pupil", "balanced", "last"))
    views, again = out / "views", out / "views-again"

    def best(*folders: Path) -> list[str]:
        return [str(folder / "best.pt") for folder in folders]

    def train(folder: Path, epochs: int, *words: str) -> list[str]:
        return ["models.train", "--data", str(rows), "--out", str(folder), "--epochs", str(epochs), "--resume", *words]

    def teach(folder: Path, seed: int, teachers: list[str]) -> list[str]:
        words = ["--views", str(VIEWS[seed - 1]), "--seed", str(seed), "--out", str(folder)]
        return ["models.teach", "--data", str(rows), "--teachers", *teachers, *words]

    def taught(start: Path, by: Path, share: float, peak: float, *words: str) -> list[str]:
        how = ["--share", str(share), "--peak", str(peak), "--mixed", "0"]
        return ["--start", *best(start), "--views", str(by), *how, *words]

    return [
        train(first, FIRST),
        train(large, LARGE, "--net", "large"),
        teach(views, 1, best(first, large)),
        train(pupil, PUPIL, *taught(first, views, 0.6, 0.06)),
        train(balanced, BALANCED, *taught(pupil, views, 0.6, 0.02, "--balance", "0.35")),
        teach(again, 2, best(large, pupil, balanced)),
        train(last, LAST, *taught(balanced, again, 0.75, 0.07)),
        ["models.export", "--checkpoint", *best(last), "--data", str(rows)],
        ["models.evaluate", "emotion", "--data", str(valid)],
        ["models.card", "--data", str(valid), "--held", str(rows)],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.recipe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with ferplus-train.npz and ferplus-valid.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, 3 GB")
    args = parser.parse_args()
    rows, valid = args.data / "ferplus-train.npz", args.data / "ferplus-valid.npz"
    for file in (rows, valid):
        if not file.is_file():
            print(f"recipe: {file}: no such file; give the folder that holds it", file=sys.stderr)
            return 2
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"recipe: {args.out}: cannot make the folder ({error.strerror}); choose another --out", file=sys.stderr)
        return 2
    step: list[str] = []
    try:
        for step in steps(rows, valid, args.out):
            print("$ python -m " + " ".join(step), flush=True)
            subprocess.run([sys.executable, "-m", *step], check=True)
    except subprocess.CalledProcessError as error:
        print(f"recipe: {step[0]} ended with code {error.returncode}; {GO_ON}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"recipe: stopped; {GO_ON}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
