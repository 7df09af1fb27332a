"""The networks that are trained: what devices run, and a larger one of the same kind that teaches it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from device.contract import EMOTIONS
from models.backbone import MobileNet
from models.checkpoint import UNREADABLE, reason
from models.data import DataError

SIZES = {  # channels and residual blocks per stage
    "small": ((24, 1), (64, 2), (112, 2), (192, 1)),  # 1.1 million weights, 43.9 million multiply-adds: what devices run
    "large": ((48, 1), (128, 2), (224, 2), (384, 1)),  # 4.4 million weights: a teacher
}
DROPOUT = {"small": 0.3, "large": 0.4}
MOBILE = "mobile"  # models.backbone: another teacher


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


def build(name: str) -> nn.Module:
    """A new network: one of ``SIZES``, or ``mobile``."""
    net = MobileNet() if name == MOBILE else Net(name)
    return net.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def load(path: Path, name: str | None = None) -> nn.Module:
    """A trained network from its checkpoint.

    Args:
        path: ``best.pt`` of a training run.
        name: Which network it must be; ``None`` takes any.

    Raises:
        DataError: The file is missing, damaged, or holds another network.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise DataError(f"{path}: cannot read the checkpoint ({error.strerror}); give best.pt of a training run") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: not a checkpoint ({reason(error)})") from error
    for candidate in (name,) if name else (*SIZES, MOBILE):
        net = build(candidate)
        try:
            net.load_state_dict(state)
        except (RuntimeError, KeyError, TypeError, AttributeError):
            continue
        return net.eval()
    raise DataError(f"{path}: not a checkpoint of {'the network ' + name if name else 'any network of models.nets'}")
