"""The number format that this processor trains fastest in.

With instructions for bfloat16 (AVX512-BF16, AMX) it is about twice as fast as float32; without them it is emulated, and ten times
slower. What a processor says about itself is not enough, for libraries differ in what they make of it: both are tried.
"""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch.nn import functional as F

TRIES = 3  # each; the fastest counts, so that other programs in between do not decide


def computing_in(fmt: torch.dtype) -> torch.autocast:
    """Convolutions within are computed in ``fmt``; weights and their gradients stay float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=fmt is torch.bfloat16)


def seconds(fmt: torch.dtype) -> float:
    """How long one convolution takes in ``fmt``, there and back."""
    weight = torch.ones(64, 64, 3, 3, requires_grad=True)
    x = torch.ones(8, 64, 24, 24).contiguous(memory_format=torch.channels_last).requires_grad_()
    took = []
    for _ in range(1 + TRIES):
        began = time.perf_counter()
        with computing_in(fmt):
            y = F.conv2d(x, weight, padding=1)
        y.float().sum().backward()
        took.append(time.perf_counter() - began)
    return min(took[1:])  # the first one makes ready


@lru_cache(maxsize=1)
def fastest() -> torch.dtype:
    """``bfloat16`` or ``float32``: found out once in a process, and said on the terminal."""
    full, brief = seconds(torch.float32), seconds(torch.bfloat16)
    if brief < full:
        print(f"computing in bfloat16, on this processor {full / brief:.1f} times as fast as float32", flush=True)
        return torch.bfloat16
    print(f"computing in float32, on this processor {brief / full:.1f} times as fast as bfloat16", flush=True)
    return torch.float32
