"""A Debian root with the real picamera2 and libcamera, made once and kept under ``build/``; each user gets a fresh ``/t`` in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import cv2
import pytest

from device.types import Pixels

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "picamera2"
LOCK = PROJECT / "requirements.lock"
KEPT = PROJECT / "build" / "picamera2-root"


def root() -> Path:
    """The root, made now if there is none of this recipe. Skips, saying why, where this machine cannot make one."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a Debian root and enter it")
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux"), ("apt-get", "apt")):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install {package}")
    recipe = hashlib.sha256((HERE / "root.sh").read_bytes() + LOCK.read_bytes()).hexdigest()
    made_of = KEPT / "made-of"
    if not made_of.is_file() or made_of.read_text() != recipe:
        shutil.rmtree(KEPT, ignore_errors=True)
        made = subprocess.run([HERE / "root.sh", "build", KEPT, LOCK], check=False, capture_output=True, text=True, timeout=900)
        assert made.returncode == 0, made.stderr
        made_of.write_text(recipe)
    return KEPT


@contextmanager
def prepared(pictures: list[Pixels]) -> Iterator[Path]:
    """The root, for one user at a time, with this project in ``/t`` and a camera that shows these pictures.

    Args:
        pictures: ``uint8[height, width, 3]`` RGB, shown in turn for ever, each about four times.
    """
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield _filled(root(), pictures)


def _filled(place: Path, pictures: list[Pixels]) -> Path:
    for folder in ("t", "frames"):
        shutil.rmtree(place / folder, ignore_errors=True)
        (place / folder).mkdir()
    shutil.copytree(PROJECT / "device", place / "t" / "device", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "t" / "models").mkdir()
    for file in (PROJECT / "models").iterdir():
        if file.suffix in (".tflite", ".json"):
            shutil.copy(file, place / "t" / "models")
    for script in HERE.glob("*.py"):
        shutil.copy(script, place / "t")
    shutil.copy(HERE / "virtual.yaml", place / "usr/share/libcamera/pipeline/virtual")
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(place / "frames" / f"{number}.jpg"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return place


def run(place: Path, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command in the root until it ends."""
    return subprocess.run(inside(place, *command), check=False, capture_output=True, text=True, timeout=timeout)


def inside(place: Path, *command: str) -> list[str]:
    """The words that run a command in the root, where ``/t`` is on Python's path."""
    return [str(HERE / "root.sh"), "run", str(place), *command]
