"""A network that has seen many faces: MobileNet of HSE, from an open package, as the beginning of a teacher.

``@vladmandic/human`` on npm (MIT) carries ``faceres``: MobileNet v1 trained by Savchenko on VGGFace2 to tell people, age and
gender (https://github.com/HSE-asavchenko/HSE_FaceRec_tf, Apache-2.0). Its convolutions know faces in all lights and poses, which
25,000 small grey pictures cannot teach. Only the teacher begins with them; no weight of it is on a device.

    npm pack @vladmandic/human@3.3.6
    python -m models.train --net mobile --backbone vladmandic-human-3.3.6.tgz ...
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from device.contract import EMOTIONS
from models.data import DataError

TOPOLOGY, WEIGHTS = "package/models/faceres.json", "package/models/faceres.bin"
WEIGHTS_SHA256 = "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b"
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the thirteen pairs of a depthwise and a pointwise convolution
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
SIDE = 96  # input, pixels: a 48 x 48 crop is scaled up to it
FROZEN = 5  # first layers, as published: edges and blobs, and half of the time
MEAN = 117.0  # grey, taken off as in its training
Arrays = dict[str, Any]


def same(x: Tensor, stride: int) -> Tensor:
    """TensorFlow's "SAME" for a 3 x 3 convolution: with stride 2 and an even side, the extra row and column come last."""
    return F.pad(x, (0, 1, 0, 1)) if stride == 2 else F.pad(x, (1, 1, 1, 1))


def enlarged(x: Tensor) -> Tensor:
    """Crops as the published net wants them: larger, grey levels from 0 to 255 less their mean."""
    return F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False) * 128 + (128 - MEAN)


class Layer(nn.Module):
    """A convolution, its normalisation and ReLU6."""

    def __init__(self, inside: int, outside: int, side: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride, self.side = stride, side
        self.conv = nn.Conv2d(inside, outside, side, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.norm(self.conv(same(x, self.stride) if self.side == 3 else x)))


class MobileNet(nn.Module):
    """``float32[N, 1, 48, 48]`` in -1..1 → ``float32[N, 8]`` logits; the first layers stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        layers = [Layer(1, 32, 3, 2, 1)]
        inside = 32
        for stride, width in zip(STRIDES, WIDTHS, strict=True):
            layers += [Layer(inside, inside, 3, stride, inside), Layer(inside, width, 1, 1, 1)]
            inside = width
        self.features = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.4)
        self.head = nn.Linear(inside, len(EMOTIONS))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.features[:FROZEN](enlarged(x))
        return self.head(self.drop(self.features[FROZEN:](x).mean((2, 3))))  # type: ignore[no-any-return]


def read(package: Path) -> Arrays:
    """The arrays of ``faceres`` by name.

    Args:
        package: The .tgz that ``npm pack @vladmandic/human@3.3.6`` leaves.

    Raises:
        DataError: It is missing or another one.
    """
    try:
        with tarfile.open(package) as archive:
            topology, raw = (_member(archive, name) for name in (TOPOLOGY, WEIGHTS))
    except (OSError, tarfile.TarError, KeyError) as error:
        raise DataError(f"{package}: not the package ({error}); get it with: npm pack @vladmandic/human@3.3.6") from error
    if hashlib.sha256(raw).hexdigest() != WEIGHTS_SHA256:
        raise DataError(f"{package}: its faceres.bin is another one; expected sha256 {WEIGHTS_SHA256} (3.3.6)")
    arrays, at = {}, 0
    for entry in (weight for group in json.loads(topology)["weightsManifest"] for weight in group["weights"]):
        count = int(np.prod(entry["shape"]))
        kind = np.dtype("<f2" if "quantization" in entry else "<i4" if entry["dtype"] == "int32" else "<f4")
        arrays[entry["name"]] = np.frombuffer(raw, kind, count, at).astype(np.float32).reshape(entry["shape"])
        at += count * kind.itemsize
    return arrays


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


@torch.no_grad()
def begin(net: MobileNet, arrays: Arrays, faces: Tensor) -> None:
    """Fill ``net`` with the published convolutions.

    Their normalisation is folded into them; it is unfolded here on ``faces`` (``float32[N, 1, 48, 48]``), so that the net
    answers as before and yet can be trained with normalisation.
    """
    x = enlarged(faces)
    for number, layer in enumerate(net.features):
        pair = (number + 1) // 2
        if number == 0:
            kernel = arrays["conv1/convolution/merged_input"].sum(axis=2, keepdims=True)  # grey: red, green and blue are equal
            scale, shift = 1.0, arrays["conv1_bn/batchnorm_1/sub"]
        elif number % 2:
            kernel = arrays[f"conv_dw_{pair}/depthwise_kernel"].transpose(0, 1, 3, 2)
            scale, shift = arrays[f"conv_dw_{pair}_bn/batchnorm_1/mul"], arrays[f"conv_dw_{pair}_bn/batchnorm_1/sub"]
        else:
            kernel, scale = arrays[f"conv_pw_{pair}/convolution/merged_input"], 1.0
            shift = arrays[f"conv_pw_{pair}_bn/batchnorm_1/sub"]
        layer.conv.weight.copy_(torch.from_numpy((kernel * scale).transpose(3, 2, 0, 1).copy()))
        y = layer.conv(same(x, layer.stride) if layer.side == 3 else x)
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        layer.norm.running_mean.copy_(mean)
        layer.norm.running_var.copy_(variance)
        layer.norm.weight.copy_((variance + layer.norm.eps).sqrt())
        layer.norm.bias.copy_(mean + torch.from_numpy(shift))
        x = F.relu6(layer.norm.eval()(y))
    net.train()
