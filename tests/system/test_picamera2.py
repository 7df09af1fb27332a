"""The picamera2 adapter on the real picamera2 and libcamera, whose virtual camera plays pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

HERE = Path(__file__).parent / "picamera2"
PROJECT = Path(__file__).parents[2]
COLOURS = ((200, 60, 40), (50, 180, 60), (60, 120, 190), (128, 128, 128))  # RGB

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What happened in ``picamera2/scenario.py``, inside a Debian root made for it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a Debian root and enter it")
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux"), ("apt-get", "apt")):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt-get install {package}")
    root = tmp_path_factory.mktemp("picamera2") / "root"
    try:
        made = subprocess.run([HERE / "root.sh", "build", root], check=False, capture_output=True, text=True, timeout=400)
        assert made.returncode == 0, made.stderr
        shutil.copytree(PROJECT / "device", root / "t" / "device", ignore=shutil.ignore_patterns("__pycache__"))
        for script in HERE.glob("*.py"):
            shutil.copy(script, root / "t")
        shutil.copy(HERE / "virtual.yaml", root / "usr/share/libcamera/pipeline/virtual")
        for number, colour in enumerate(COLOURS):
            cv2.imwrite(str(root / "frames" / f"{number}.jpg"), np.full((480, 640, 3), colour[::-1], np.uint8))
        ran = subprocess.run(
            [HERE / "root.sh", "run", root, "python3", "/t/scenario.py"], check=False, capture_output=True, text=True, timeout=120
        )
        assert ran.returncode == 0, ran.stderr
        yield {**json.loads(ran.stdout), "stderr": ran.stderr}
    finally:
        shutil.rmtree(root, ignore_errors=True)


def narrow(colour: tuple[int, ...]) -> list[float]:
    """How a colour looks when the virtual camera writes it with the full range and calls that narrow, as it does."""
    return [min(255.0, max(0.0, (c - 16) * 255 / 219)) for c in colour]


def test_frames_have_the_size_that_was_asked_for(life: dict[str, Any]) -> None:
    assert {tuple(shot["size"]) for shot in life["shots"]} == {(320, 240)}


def test_frames_have_the_colours_of_the_scene_all_over(life: dict[str, Any]) -> None:
    for shot in life["shots"]:
        errors = [np.abs(np.subtract(shot["colour"], narrow(colour))).max() for colour in COLOURS]
        assert min(errors) < 6
        assert shot["spread"] < 3


def test_different_frames_show_different_pictures(life: dict[str, Any]) -> None:
    assert len({tuple(np.round(shot["colour"])) for shot in life["shots"]}) > 1


def test_frames_come_in_order_at_the_rate_that_was_asked_for(life: dict[str, Any]) -> None:
    times = [shot["at"] for shot in life["shots"]]

    assert life["before"] <= times[0]
    assert times[-1] <= life["after"]
    assert (np.diff(times) > 0).all()
    assert np.diff(times).mean() == pytest.approx(0.2, abs=0.03)


def test_every_buffer_goes_back_to_the_driver_blank(life: dict[str, Any]) -> None:
    assert life["left"]["buffers"] >= 4
    assert life["left"]["brightest"] == 0


def test_a_camera_that_stalls_raises_within_its_timeout(life: dict[str, Any]) -> None:
    for outcome in (life["stall"], *life["stalled_closes"]):
        assert outcome["error"] == "CameraError"
        assert "no picture for 2 s" in outcome["message"]
        assert outcome["seconds"] < 2.5


def test_a_camera_that_stalled_can_deliver_again(life: dict[str, Any]) -> None:
    assert len(life["after_stall"]) == 2


def test_a_camera_can_be_closed_and_opened_again_and_leaves_no_file_open(life: dict[str, Any]) -> None:
    assert len(life["reopened"]) == 2
    assert len(set(life["open_files"])) == 1


def test_a_closed_camera_says_so(life: dict[str, Any]) -> None:
    assert "has been closed" in life["closed"]["message"]


def test_a_camera_in_use_and_a_camera_that_is_not_there_are_named(life: dict[str, Any]) -> None:
    assert "close other programs that use it" in life["busy"]["message"]
    assert "no camera '7'; there are 0: Pictures from files" in life["unknown"]["message"]


def test_nothing_but_our_errors_is_printed(life: dict[str, Any]) -> None:
    assert life["stderr"] == ""
