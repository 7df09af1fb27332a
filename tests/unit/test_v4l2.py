"""The parts of the v4l2 camera that need no device: a real capture on a pipe is one that hangs when we want it to."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.cameras import CameraOptions
from device.cameras._grabber import start
from device.cameras._limit import Pace, within
from device.cameras._opencv import frame_from_bgr, quiet, unfolded
from device.cameras.v4l2 import elements, open_camera
from device.errors import CameraError, CameraStoppedError

PROJECT = Path(__file__).parents[2]
QUICK = CameraOptions(fps=30, timeout=0.5)


@pytest.fixture
def recording(tmp_path: Path) -> bytes:
    """A Matroska file with 300 noisy pictures, each an orange of its own."""
    path = tmp_path / "recording.mkv"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    noise = np.random.default_rng(0).integers(0, 20, (120, 160, 3), dtype=np.uint8)
    for _ in range(300):
        writer.write(np.full((120, 160, 3), (20, 120, 220), np.uint8) + noise)
    writer.release()
    return path.read_bytes()


@contextmanager
def piped(path: Path, data: bytes) -> Iterator[threading.Event]:
    """A named pipe that delivers the data, and then nothing until the event is set (or the block ends), when it closes."""
    os.mkfifo(path)
    hang_up = threading.Event()

    def feed() -> None:
        with suppress(BrokenPipeError), path.open("wb", buffering=0) as pipe:
            pipe.write(data)
            hang_up.wait()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        yield hang_up
    finally:
        hang_up.set()
        with suppress(OSError):  # a feeder that nobody ever read from waits in open
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        feeder.join(10)


def capture(path: Path) -> cv2.VideoCapture:
    quiet()
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)


def test_frames_come_in_rgb_and_in_order(tmp_path: Path, recording: bytes) -> None:
    with piped(tmp_path / "camera", recording):
        camera = start(lambda: capture(tmp_path / "camera"), "camera", CameraOptions(fps=1000, timeout=5))
        with camera.take() as frame:
            first, colour = frame.taken_at, frame.pixels.reshape(-1, 3).mean(0)
        with camera.take() as frame:
            second = frame.taken_at
        camera.close()

    assert colour == pytest.approx((229.5, 129.5, 29.5), abs=8)
    assert first < second


def test_a_camera_that_hangs_while_it_opens_raises_within_its_timeout(tmp_path: Path) -> None:
    with piped(tmp_path / "camera", b""):
        before = time.monotonic()
        with pytest.raises(CameraError, match=r"camera: no picture within 0\.5 s of opening"):
            start(lambda: capture(tmp_path / "camera"), "camera", QUICK)
        assert time.monotonic() - before < 2


def test_a_camera_that_stalls_raises_within_its_timeout(tmp_path: Path, recording: bytes) -> None:
    with piped(tmp_path / "camera", recording[: len(recording) * 2 // 3]):
        camera = start(lambda: capture(tmp_path / "camera"), "camera", CameraOptions(fps=1000, timeout=1))
        longest = 0.0
        with pytest.raises(CameraError, match="camera: no picture for 1 s"):
            for _ in range(300):
                before = time.monotonic()
                try:
                    camera.take().__exit__(None, None, None)
                finally:
                    longest = time.monotonic() - before
        camera.close()

    assert 0.9 < longest < 3


def test_a_camera_that_hangs_can_still_be_closed_twice(tmp_path: Path, recording: bytes) -> None:
    with piped(tmp_path / "camera", recording[: len(recording) // 2]):
        camera = start(lambda: capture(tmp_path / "camera"), "camera", QUICK)
        before = time.monotonic()

        camera.close()
        camera.close()

        assert time.monotonic() - before < 4
        with pytest.raises(CameraError, match="has been closed"):
            camera.take()


def test_a_camera_that_goes_away_says_that_it_stopped(tmp_path: Path, recording: bytes) -> None:
    with piped(tmp_path / "camera", recording[: len(recording) // 2]) as hang_up:
        camera = start(lambda: capture(tmp_path / "camera"), "camera", CameraOptions(fps=1000, timeout=5))
        hang_up.set()
        with pytest.raises(CameraStoppedError, match="camera: stopped delivering pictures"):
            for _ in range(300):
                camera.take().__exit__(None, None, None)
        camera.close()


def test_a_device_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"video99: no such camera .*; there (are|is)"):
        open_camera("/dev/video99", QUICK)


def test_a_file_is_not_taken_for_a_camera(tmp_path: Path) -> None:
    (tmp_path / "clip.mkv").write_bytes(b"")
    with pytest.raises(CameraError, match=r"clip\.mkv: not a camera; .*write replay:FILE"):
        open_camera(str(tmp_path / "clip.mkv"), QUICK)


def test_a_device_of_another_kind_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraError, match="/dev/null: cannot be opened as a camera"):
        open_camera("/dev/null", CameraOptions(timeout=5))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a device and then to give root up")
def test_a_device_that_may_not_be_opened_says_which_group_to_join(tmp_path: Path) -> None:
    (tmp_path / "video0").touch(mode=0o600)
    script = (
        "import os, sys; from device.cameras import CameraOptions; from device.cameras.v4l2 import open_camera\n"
        "os.seteuid(65534)\n"
        "try: open_camera(sys.argv[1], CameraOptions())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "video0")], check=False, capture_output=True, text=True, cwd=PROJECT
    )

    assert ran.stdout.startswith("CameraError ")
    assert "group video" in ran.stdout


def test_a_pipeline_needs_an_opencv_that_has_gstreamer() -> None:
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(CameraError, match="sudo apt install python3-opencv"):
        open_camera("videotestsrc ! videoconvert ! appsink", QUICK)


def test_the_elements_of_a_pipeline_are_told_from_its_caps_and_properties() -> None:
    jetson = (
        "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=1280,framerate=30/1 ! nvvidconv flip-method=2 ! "
        'video/x-raw, format=BGRx ! tee name=t t. ! queue ! filesink location="a ! b" t. ! queue ! videoconvert ! appsink drop=1'
    )
    assert elements(jetson) == ["nvarguscamerasrc", "nvvidconv", "tee", "queue", "filesink", "videoconvert", "appsink"]


def test_a_call_that_comes_back_too_late_is_undone() -> None:
    release, undone = threading.Event(), threading.Event()
    results = []

    def undo(result: str) -> None:
        results.append(result)
        undone.set()

    def slow() -> str:
        release.wait()
        return "a camera, at last"

    with pytest.raises(CameraError, match="too slow"):
        within(0.05, slow, undo, "too slow")
    release.set()

    assert undone.wait(10)
    assert results == ["a camera, at last"]


def test_a_call_within_its_time_gives_its_result_or_its_error() -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "broken")

    assert within(10, lambda: 7, print, "too slow") == 7
    with pytest.raises(OSError, match="broken"):
        within(10, fail, print, "too slow")


@pytest.mark.parametrize(("camera", "wanted", "expected"), [(30, 5, 5), (8, 5, 5), (5.1, 5, 5), (5, 5, 5), (3, 5, 3), (25, 10, 10)])
def test_a_camera_of_any_rate_is_thinned_to_the_rate_that_was_asked_for(camera: float, wanted: float, expected: float) -> None:
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, int(60 * camera)) / camera
    pace = Pace(wanted)

    chosen = sum(pace.due(n / camera + late) for n, late in enumerate(jitter))

    assert chosen / 60 == pytest.approx(expected, rel=0.03)


def test_after_a_gap_frames_do_not_come_in_a_burst() -> None:
    pace = Pace(5)
    pace.due(0.0)

    chosen = [t for t in (10 + n / 30 for n in range(12)) if pace.due(t)]

    assert len(chosen) <= 3


def test_a_picture_is_turned_to_rgb_in_its_own_memory() -> None:
    bgr = np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8)
    expected = bgr[:, :, ::-1].copy()

    frame = frame_from_bgr(bgr, 0.0)

    assert np.array_equal(frame.pixels, expected)
    assert np.shares_memory(frame.pixels, bgr)


def test_a_picture_that_comes_as_one_row_of_bytes_gets_its_rows_back_in_its_own_memory(tmp_path: Path, recording: bytes) -> None:
    """As OpenCV 4.11 has it where a driver delivers BGR itself (seen with vivid)."""
    capture = cv2.VideoCapture(str(tmp_path / "recording.mkv"))
    good, picture = capture.read()
    assert good

    rows = unfolded(picture.reshape(1, -1), capture)

    assert np.array_equal(rows, picture)
    assert np.shares_memory(rows, picture)
    assert unfolded(picture, capture) is picture
    assert unfolded(picture.reshape(1, -1)[:, :-3], capture).shape[0] == 1  # of another size: somebody else must refuse it
