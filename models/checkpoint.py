"""Checkpoints that are there whole or not at all: a run that is killed while it writes one goes on from the one before."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from device import durable
from models.data import DataError

# What PyTorch raises for files that are damaged or something else altogether.
UNREADABLE: Final = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError)


def reason(error: BaseException) -> str:
    """The first line of what PyTorch says."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def save(state: Mapping[str, Any], path: Path) -> None:
    """Replace a checkpoint.

    Raises:
        OSError: It could not be written; the one before is still there.
    """
    content = io.BytesIO()
    torch.save(dict(state), content)
    durable.write(path, content.getvalue())


def restore(path: Path, parts: Mapping[str, Any]) -> tuple[int, float]:
    """Put a run back to where its last checkpoint was written.

    Args:
        path: What ``save`` wrote: the state of each part, ``epoch`` and ``best``.
        parts: Nets and the optimizer, by name.

    Returns:
        The next epoch, and the best accuracy so far.

    Raises:
        DataError: The file is damaged, or of another network.
    """
    try:
        saved = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        return saved["epoch"] + 1, saved["best"]
    except UNREADABLE as error:
        raise DataError(
            f"{path}: cannot go on from it ({reason(error)}); give the same --net, or begin in another --out"
        ) from error
