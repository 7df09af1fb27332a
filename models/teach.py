"""Write down what teachers answer, once, for a pupil to learn from as often as it likes.

    python -m models.teach --data ferplus-train.npz --teachers runs/large/best.pt runs/mobile/best.pt --views 24 --out runs/views
    python -m models.train --data ferplus-train.npz --views runs/views --out runs/pupil --epochs 80

Every training picture is shaken a few dozen times; all teachers see each of these views, and the mean of their log
probabilities is kept beside it. A pupil must see what its teacher saw (Beyer et al. 2022, arXiv 2106.05237): then it may be
taught for long without learning the rows by heart. A folder that is cut off is gone on with.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

try:
    import torch
    from torch import nn
    from tqdm import tqdm
except ModuleNotFoundError as error:
    sys.exit(f"teach: {error.name} is not installed; pip install 'mien[train]'")

from device.contract import EMOTIONS
from models import data, nets, shake
from models.data import DataError
from models.errors import run
from models.precision import computing_in, fastest

PART = 128  # pictures at a time


@dataclass(frozen=True, slots=True)
class Views:
    """``images: uint8[V, N, 48, 48]``, ``answers: float16[V, N, 8]`` (log probabilities), for the N rows to train on."""

    images: npt.NDArray[np.uint8]
    answers: npt.NDArray[np.float16]


def path_of(folder: Path, view: int) -> Path:
    return folder / f"view-{view:03}.npz"


def read(folder: Path, rows: int) -> Views:
    """All views in a folder.

    Args:
        folder: What ``python -m models.teach --out`` wrote.
        rows: How many rows it must have.

    Raises:
        DataError: There are none, or they belong to other data.
    """
    files = sorted(folder.glob("view-*.npz"))
    if not files:
        raise DataError(f"{folder}: no views in it; make them with python -m models.teach")
    views = []
    for file in files:
        try:
            with file.open("rb") as stream, np.load(stream) as arrays:
                views.append((arrays["images"], arrays["answers"]))
        except data.UNREADABLE as error:
            raise DataError(
                f"{file}: damaged ({type(error).__name__}); remove it and make it again with python -m models.teach"
            ) from error
        if len(views[-1][0]) != rows:
            raise DataError(f"{file}: views of {len(views[-1][0])} rows, not {rows}: made from other data")
    return Views(np.stack([images for images, _ in views]), np.stack([answers for _, answers in views]))


@torch.no_grad()
def answers(teachers: list[nn.Module], images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
    """The mean of the teachers' log probabilities: ``float16[N, 8]``."""
    total = np.empty((len(images), len(EMOTIONS)), np.float16)
    for start in range(0, len(images), PART):
        x = shake.as_input(images[start : start + PART])
        with computing_in(fastest()):
            heard = [teacher(x).float().log_softmax(1) for teacher in teachers]
        total[start : start + PART] = torch.stack(heard).mean(0).log_softmax(1).numpy()
    return total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.teach", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="ferplus-train.npz")
    parser.add_argument("--teachers", type=Path, nargs="+", required=True, help="checkpoints of trained nets")
    parser.add_argument("--views", type=int, default=24, help="how often each picture is shaken")
    parser.add_argument("--out", type=Path, required=True, help="folder for the views, 60 MB each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    for name in ("views", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is 1 or more")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    return run("teach", lambda: teach(args))


def teach(args: argparse.Namespace) -> None:
    """Write the views that are not there yet.

    Raises:
        DataError: A file is missing, damaged, or belongs to something else.
        OSError: A view could not be written; those before are kept.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    teachers = [nets.load(path) for path in args.teachers]
    rows, matrices = data.to_train(args.data, args.out / "matrices.npy")
    aside = data.held_out(rows.names)
    rows, matrices = rows[~aside], matrices[~aside]
    fastest()  # says so before the bar
    for view in tqdm(range(args.views), "views"):
        if path_of(args.out, view).exists():
            continue
        rng = np.random.default_rng((args.seed, view))
        images = np.stack([shake.shake(image, matrix, rng) for image, matrix in zip(rows.images, matrices, strict=True)])
        unfinished = args.out / "unfinished.npz"
        np.savez(unfinished, images=images, answers=answers(teachers, images))
        unfinished.replace(path_of(args.out, view))


if __name__ == "__main__":
    sys.exit(main())
