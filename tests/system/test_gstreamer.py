"""GStreamer pipelines through the v4l2 adapter, with Debian's OpenCV: the one from PyPI cannot run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = "python3-opencv gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-tools"
SYSTEM_PYTHON = "/usr/bin/python3"
TIMEOUT = 5.0

# Opens the pipeline, takes some frames, and prints what came of it.
SCRIPT = """
import json, sys, time
from device.cameras import CameraOptions
from device.cameras.v4l2 import open_camera
from device.errors import CameraError

start, found = time.monotonic(), {"shots": [], "error": None}
camera = None
try:
    camera = open_camera(sys.argv[1], CameraOptions(fps=5, timeout=float(sys.argv[3])))
    for _ in range(int(sys.argv[2])):
        with camera.take() as frame:
            found["shots"].append([frame.taken_at, frame.size, frame.pixels[5, 5].tolist(), frame.pixels[5, -5].tolist()])
except CameraError as error:
    found.update(error=type(error).__name__, message=str(error))
found["seconds"] = time.monotonic() - start
if camera is not None:
    camera.close()
print(json.dumps(found), flush=True)
"""


@cache
def missing() -> str:
    """Why GStreamer cannot be tried here; empty when it can."""
    probe = "import cv2, re, sys; sys.exit(not re.search(r'GStreamer:\\s+YES', cv2.getBuildInformation()))"
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False, capture_output=True).returncode
    ):
        return f"needs Debian's OpenCV: apt-get install {PACKAGES}"
    return "" if shutil.which("gst-inspect-1.0") else f"needs GStreamer's tools: apt-get install {PACKAGES}"


pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _gstreamer() -> None:
    if missing():
        pytest.skip(missing())


def run(pipeline: str, frames: int = 1, path: str | None = None, timeout: float = TIMEOUT) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", **({"PATH": path} if path else {})}
    ran = subprocess.run(
        [SYSTEM_PYTHON, "-c", SCRIPT, pipeline, str(frames), str(timeout)],
        check=False, capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_pipeline_delivers_frames_in_rgb_at_the_rate_that_was_asked_for() -> None:
    pipeline = "videotestsrc is-live=true ! video/x-raw,width=640,height=480,framerate=30/1 ! videoconvert ! appsink"

    found = run(pipeline, frames=8)

    times = [shot[0] for shot in found["shots"]]
    assert found["error"] is None
    assert [shot[1] for shot in found["shots"]] == [[640, 480]] * 8
    assert (times[-1] - times[0]) / 7 == pytest.approx(0.2, abs=0.03)
    white, blue = found["shots"][-1][2:]  # the first and the last bar of the test picture
    assert min(white) > 180
    assert blue[2] > 180
    assert max(blue[:2]) < 30


def test_the_jetson_string_runs_with_its_own_elements_replaced() -> None:
    pipeline = (
        "videotestsrc is-live=true ! video/x-raw,width=1280,height=720,framerate=30/1 ! videoconvert ! videoscale"
        " ! video/x-raw,width=640,height=480,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink"
    )

    found = run(pipeline)

    assert found["error"] is None
    assert found["shots"][0][1] == [640, 480]


def test_frames_are_fresh_however_long_nobody_took_one(tmp_path: Path) -> None:
    script = """
import sys, time
from device.cameras import CameraOptions
from device.cameras.v4l2 import open_camera
camera = open_camera("videotestsrc is-live=true ! video/x-raw,framerate=30/1 ! videoconvert ! appsink", CameraOptions(fps=30))
for pause in (0, 1.0):
    time.sleep(pause)  # a reader that is busy, not a wait for a condition
    asked = time.monotonic()
    with camera.take() as frame:
        assert frame.taken_at >= asked, (frame.taken_at, asked)
        assert frame.taken_at - asked < 0.2
camera.close()
"""
    ran = subprocess.run(
        [SYSTEM_PYTHON, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert ran.returncode == 0, ran.stderr


def test_a_missing_element_is_named() -> None:
    found = run("nvarguscamerasrc ! video/x-raw(memory:NVMM),width=1280 ! nvvidconv ! videoconvert ! appsink")

    assert found["error"] == "CameraError"
    assert "no element 'nvarguscamerasrc'" in found["message"]
    assert found["seconds"] < TIMEOUT


def test_a_missing_element_ends_within_the_time_limit_without_the_probing_tool(tmp_path: Path) -> None:
    start = time.monotonic()

    found = run("nosuchsource ! videoconvert ! appsink", path=str(tmp_path), timeout=2)

    assert found["error"] == "CameraError"
    assert "nosuchsource" in found["message"]
    assert found["seconds"] < 3
    assert time.monotonic() - start < 10


def test_a_pipeline_that_stalls_raises_within_its_timeout() -> None:
    pipeline = "videotestsrc is-live=true num-buffers=-1 ! valve name=v drop=true ! videoconvert ! appsink"

    found = run(pipeline, timeout=2)

    assert found["error"] == "CameraError"
    assert "no picture within 2 s" in found["message"]
    assert found["seconds"] < 3


def test_a_pipeline_that_ends_says_that_the_camera_stopped() -> None:
    found = run("videotestsrc is-live=true num-buffers=20 ! video/x-raw,framerate=30/1 ! videoconvert ! appsink", frames=20)

    assert found["error"] == "CameraStoppedError"
    assert 1 <= len(found["shots"]) < 20


def test_a_pipeline_without_appsink_is_refused_with_what_to_append() -> None:
    found = run("videotestsrc ! fakesink")

    assert "append: ! videoconvert ! video/x-raw,format=BGR ! appsink" in found["message"]
