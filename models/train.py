"""Train the emotion network. Reads from top to bottom; ``python -m models.train --help``.

Rows with enough votes for emotions, their vote distribution as the target; crops cut exactly as the device cuts them, then
shaken; one-cycle SGD; averaged weights (EMA) are what is kept. A tenth of the rows is held out for choosing and calibrating.

A large net may be trained first and teach the small one (Hinton et al. 2015, arXiv 1503.02531): ``--net large``, then
``--teacher runs/large/best.pt``. Both see the same shaken picture.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from device.contract import EMOTIONS
from device.manifest import read_manifest
from device.nets import emotion
from device.nets.face import FaceNet
from models import data

SIZES = {  # channels and residual blocks per stage
    "small": ((24, 1), (64, 2), (112, 2), (192, 1)),  # 1.1 million weights, 43.9 million multiply-adds: what devices run
    "large": ((48, 1), (128, 2), (224, 2), (384, 1)),  # 4.4 million weights: a teacher
}
DROPOUT = {"small": 0.3, "large": 0.4}
HEAT = 2.0  # divides the logits of teacher and pupil, so that the less likely answers teach too


# The network -----------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Two 3 x 3 convolutions and a way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        same = inside == outside and stride == 1
        self.around: nn.Module = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.around(x))


class Net(nn.Module):
    """``float32[N, 1, 48, 48]`` in -1..1 → ``float32[N, 8]`` logits."""

    def __init__(self, size: str = "small") -> None:
        super().__init__()
        channels = SIZES[size][0][0]
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        for stage, (width, blocks) in enumerate(SIZES[size]):
            for block in range(blocks):
                layers.append(Block(channels, width, 2 if stage and not block else 1))
                channels = width
        self.features = nn.Sequential(*layers)
        self.drop = nn.Dropout(DROPOUT[size])
        self.head = nn.Linear(channels, len(EMOTIONS))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x).mean((2, 3))))  # type: ignore[no-any-return]


# The pictures ----------------------------------------------------------------------------------------------------------


def shake(image: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One training crop, ``uint8[48, 48]``: another light, another lens, another framing, then cut as on the device."""
    if rng.random() < 0.3:  # far away: fewer pixels
        small = int(rng.integers(20, 44))
        distant = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(distant, (48, 48), interpolation=cv2.INTER_LINEAR), np.uint8)
    if rng.random() < 0.2:  # out of focus
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < 0.5:  # gamma, gain, offset
        level = np.arange(256) / 255.0
        curve = np.clip(level ** rng.uniform(0.5, 2.0) * rng.uniform(0.3, 1.2) + rng.uniform(-0.05, 0.1), 0, 1)
        image = np.asarray(cv2.LUT(image, (curve * 255).astype(np.uint8)), np.uint8)
    if rng.random() < 0.3:  # sensor noise
        image = np.clip(image + rng.normal(0, rng.uniform(2, 14), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        matrix = mirrored(matrix)
    angle, zoom = math.radians(rng.normal(0, 8)), math.exp(rng.normal(0, 0.09))
    c, s, middle = math.cos(angle) * zoom, math.sin(angle) * zoom, (emotion.SIDE - 1) / 2
    dx, dy = rng.normal(0, 1.6, 2)
    turn = np.array([[c, -s, middle - c * middle + s * middle + dx], [s, c, middle - s * middle - c * middle + dy], [0, 0, 1]])
    crop = emotion.cut(np.ascontiguousarray(image), (turn @ np.vstack([matrix, [0, 0, 1]]))[:2])
    if rng.random() < 0.3:  # a hand, a mask, a shelf
        h, w = rng.integers(6, 22, 2)
        y, x = int(rng.integers(0, 48 - h)), int(rng.integers(0, 48 - w))
        crop[y : y + h, x : x + w] = rng.integers(0, 256)
    emotion.normalise(crop)
    return crop


def mirrored(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The crop's matrix for the same picture seen in a mirror."""
    flip = np.array([[-1.0, 0, 47], [0, 1, 0], [0, 0, 1]])
    whole = np.vstack([matrix, [0, 0, 1]])
    return np.asarray((flip @ whole @ flip)[:2])


def plain(images: npt.NDArray[np.uint8], matrices: npt.NDArray[np.float64]) -> Tensor:
    """Crops as the device sees them: ``float32[N, 1, 48, 48]`` in -1..1."""
    crops = [emotion.cut(image, matrix) for image, matrix in zip(images, matrices, strict=True)]
    for crop in crops:
        emotion.normalise(crop)
    return as_input(np.stack(crops))


def as_input(crops: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(((crops.astype(np.float32) - 128) / 128)[:, None]).contiguous(memory_format=torch.channels_last)


def batches(
    rows: data.Rows, matrices: npt.NDArray[np.float64], size: int, balance: float, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shaken, shuffled batches; a third of them mixed up (Zhang et al. 2018, arXiv 1710.09412).

    With ``balance`` b, a row of an emotion that has n rows is drawn n**-b times as often: 0 leaves all as they are, 1 shows
    every emotion equally often.
    """
    soft = data.soft_labels(rows.votes)
    targets = torch.from_numpy(soft)
    weights = soft @ soft.sum(axis=0, dtype=np.float64) ** -balance
    order = rng.choice(len(rows), len(rows), p=weights / weights.sum()) if balance else rng.permutation(len(rows))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        x = as_input(np.stack([shake(rows.images[i], matrices[i], rng) for i in chosen]))
        y = targets[chosen]
        if rng.random() < 1 / 3:
            share, other = float(rng.beta(0.4, 0.4)), torch.from_numpy(rng.permutation(size))
            x, y = share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]
        yield x, y


# The training ----------------------------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int, peak: float) -> float:
    """One cycle: up for a fifth of the way, then down along a cosine (Smith 2018, arXiv 1803.09820)."""
    up = steps // 5
    return peak * (0.05 + 0.95 * step / up) if step < up else peak * 0.5 * (1 + math.cos(math.pi * (step - up) / (steps - up)))


@torch.no_grad()
def measure(net: nn.Module, x: Tensor, labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Accuracy and macro recall."""
    net.eval()
    best = torch.cat([net(part) for part in x.split(256)]).argmax(1).numpy()
    net.train()
    recalls = [(best[labels == k] == k).mean() for k in range(len(EMOTIONS)) if (labels == k).any()]
    return float((best == labels).mean()), float(np.mean(recalls))


def loss_of(logits: Tensor, targets: Tensor, taught: Tensor | None, share: float) -> Tensor:
    """Cross entropy with the votes; with a teacher, ``share`` of it is replaced by the distance to the teacher's answer."""
    votes = F.cross_entropy(logits, targets, label_smoothing=0.02)
    if taught is None:
        return votes
    apart = F.kl_div(F.log_softmax(logits / HEAT, 1), F.log_softmax(taught / HEAT, 1), log_target=True, reduction="batchmean")
    return (1 - share) * votes + share * HEAT**2 * apart


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="ferplus-train.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--net", choices=SIZES, default="small")
    parser.add_argument("--teacher", type=Path, help="checkpoint of a trained large net")
    parser.add_argument("--share", type=float, default=0.7, help="of the teacher in what is learned, 0 to 1")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--peak", type=float, default=0.1, help="highest learning rate")
    parser.add_argument("--balance", type=float, default=0.0, help="0 draws rows as they are, 1 every emotion equally often")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)

    rows = data.load(args.data)
    rows = rows[(data.majority(rows.votes) >= 0) | data.expressive(rows.votes)]
    cache = args.out / "matrices.npy"
    if cache.exists() and len(np.load(cache)) == len(rows):
        matrices = np.load(cache)
    else:
        matrices = data.align(rows.images, FaceNet(read_manifest().file("face")))
        np.save(cache, matrices)
    aside = data.held_out(rows.names)
    judged = aside & (data.majority(rows.votes) >= 0)
    held_x, held_y = plain(rows.images[judged], matrices[judged]), data.majority(rows.votes[judged])
    rows, matrices = rows[~aside], matrices[~aside]
    print(f"{len(rows)} rows to train on, {len(held_y)} held out")

    net = Net(args.net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if args.start:
        net.load_state_dict(torch.load(args.start, weights_only=True))
    teacher = None
    if args.teacher:
        teacher = Net("large").to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        teacher.load_state_dict(torch.load(args.teacher, weights_only=True))
    moving = torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=moving, use_buffers=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=args.peak, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = args.epochs * (len(rows) // args.batch)
    first, best, checkpoint = 0, 0.0, args.out / "last.pt"
    if args.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        first, best = saved["epoch"] + 1, saved["best"]

    for epoch in range(first, args.epochs):
        rng = np.random.default_rng((args.seed, epoch))  # the same pictures again after --resume
        began, total = time.monotonic(), 0.0
        per_epoch = len(rows) // args.batch
        bar = tqdm(
            batches(rows, matrices, args.batch, args.balance, rng),
            total=per_epoch,
            desc=f"epoch {epoch + 1}/{args.epochs}",
            leave=False,
        )
        for step, (x, y) in enumerate(bar, start=epoch * per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, args.peak)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(x)
                with torch.no_grad():
                    taught = teacher(x).float() if teacher else None
            loss = loss_of(logits.float(), y, taught, args.share)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            average.update_parameters(net)
            total += loss.item()
            bar.set_postfix(loss=f"{loss.item():.3f}")
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
            torch.save(average.module.state_dict(), args.out / "best.pt")
        torch.save({**state, "epoch": epoch, "best": best}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)


if __name__ == "__main__":
    main()
