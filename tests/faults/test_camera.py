"""The camera is missing, hangs, breaks off, shows nothing, the same, or black: the real process, on a file instead of a camera."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.build import Device
from tests.conftest import Process, wait_for

QUICK = {"EVERY": 0.5, "FIRST": 0.2, "LONGEST": 0.5, "SETTLED": 5, "GIVE_UP": 60}
FPS, FRAMES = 30, 2400
PROBED = 60  # frames that OpenCV looks at before it believes in a video
pytestmark = pytest.mark.timeout(120)


class Bench:
    """A device with a camera that is a file."""

    def __init__(self, device: Device, start: Callable[..., Process], **times: float) -> None:
        self.device, self.folder = device.write(camera="timeout_seconds = 4\nfps = 10"), device.folder / "camera"
        self.folder.mkdir()
        (self.folder / "times.json").write_text(json.dumps({**QUICK, **times}))
        self._start = start

    def watch(self, camera: str = "camera") -> Process:
        words = ("watch", "--settings", self.device.settings, "--camera", f"v4l2:{camera}")
        self.process = self._start(sys.executable, "-m", "tests.faulty_camera", self.folder, *words)
        return self.process

    @property
    def ended(self) -> bool:
        return not self.process.running

    @property
    def path(self) -> Path:
        return self.folder / "camera"

    @property
    def health(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.device.folder / "run" / "health.json").read_bytes())
        except FileNotFoundError:
            return {"health": None, "trouble": None}
        return found

    @property
    def reports(self) -> list[Any]:
        return [json.loads(path.read_bytes())["report"] for path in sorted((self.device.folder / "spool" / "new").glob("report-*"))]

    def trouble(self, trouble: str | None) -> None:
        wait_for(lambda: (self.health["health"] and self.health["trouble"] == trouble) or self.ended, 60, f"trouble {trouble}")
        assert not self.ended, self.process.err.read_text()


@pytest.fixture
def bench(device: Device, start: Callable[..., Process]) -> Callable[..., Bench]:
    return lambda **times: Bench(device, start, **times)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A noisy grey wall, as a camera would show it; nobody is in view."""
    path, noise = tmp_path_factory.mktemp("clip") / "clip.mkv", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 64))
    for _ in range(FRAMES):
        writer.write(noise.integers(95, 105, (64, 64, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def still(path: Path, level: int, frames: int = 20_000) -> None:
    """A picture that never changes."""
    writer = cv2.VideoWriter(str(path.with_suffix(".mkv")), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 64))
    for _ in range(frames):
        writer.write(np.full((64, 64, 3), level, np.uint8))
    writer.release()
    path.with_suffix(".mkv").rename(path)


@contextmanager
def live(path: Path, clip: bytes, frames: int = FRAMES) -> Iterator[threading.Event]:
    """A pipe that delivers the clip at its pace, so much of it, and then nothing until the event is set: then its end."""
    os.mkfifo(path)
    hang_up = threading.Event()

    def feed() -> None:
        with suppress(BrokenPipeError), path.open("wb", buffering=0) as pipe:
            for n in range(frames):
                if hang_up.wait(1 / FPS if n > PROBED else 0):
                    return
                pipe.write(clip[len(clip) * n // FRAMES : len(clip) * (n + 1) // FRAMES])
            hang_up.wait()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        yield hang_up
    finally:
        hang_up.set()
        with suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        feeder.join(10)


def test_a_device_without_a_camera_stays_up_degraded_and_begins_once_there_is_one(bench: Callable[..., Bench], clip: bytes) -> None:
    one = bench()
    watch = one.watch()
    one.trouble("camera")

    with live(one.path, clip):
        wait_for(lambda: "the camera works again" in watch.events(), 60, "the camera")
        one.trouble(None)
        assert watch.end() == 0

    assert "no such camera" in watch.events("warning")[0]


def test_windows_without_a_camera_are_unwatched_and_never_zero(bench: Callable[..., Bench]) -> None:
    one = bench()
    watch = one.watch()

    wait_for(lambda: len(one.reports) >= 2, 60, "two windows")

    assert watch.end() == 0
    assert {(report["withheld"], report["people"], report["quality"]["coverage"]) for report in one.reports} == {
        ("unwatched", None, 0.0)
    }


def test_a_camera_that_hangs_is_closed_and_opened_anew(bench: Callable[..., Bench], clip: bytes) -> None:
    one = bench()
    with live(one.path, clip, 300):
        watch = one.watch()
        one.trouble(None)
        one.path.unlink()  # it does not open a second time: OpenCV would wait for a pipe for ever, and nothing could be opened then
        one.trouble("camera")
        with live(one.path, clip):
            wait_for(lambda: "the camera works again" in watch.events(), 60, "the camera")
            assert watch.end() == 0

    assert any("no picture for 4 s" in said for said in watch.events("warning"))


def test_a_camera_that_is_unplugged_gives_windows_with_less_coverage_and_then_none(
    bench: Callable[..., Bench], clip: bytes
) -> None:
    one = bench()
    with live(one.path, clip) as unplug:
        watch = one.watch()
        wait_for(lambda: one.health["health"] == "ok", 60, "watching")
        wait_for(lambda: one.reports, 60, "a window")
        one.path.unlink()
        unplug.set()
        wait_for(lambda: one.reports[-1]["withheld"] == "unwatched", 60, "a window without a picture")
        assert watch.end() == 0

    assert any("stopped delivering pictures" in said for said in watch.events("warning"))


def test_the_coverage_of_all_windows_is_the_time_in_which_pictures_came(bench: Callable[..., Bench]) -> None:
    one = bench()
    switch, shown = one.folder / "switch", one.folder / "shown.txt"

    def pictures() -> list[float]:
        """When each came."""
        return [float(line) for line in shown.read_text().splitlines()[:-1]] if shown.exists() else []

    def shows(seconds: float) -> None:
        """The camera is there until pictures have come for so long."""
        before = len(pictures())
        switch.touch()
        wait_for(lambda: (at := pictures()[before:]) and at[-1] - at[0] > seconds, 60, f"pictures for {seconds} s")

    switch.touch()
    watch = one.watch("switch")
    shows(7.5)
    switch.unlink()
    wait_for(lambda: one.reports[-1]["withheld"] == "unwatched", 60, "a window without a picture")
    shows(1.5)
    assert watch.end() == 0

    at = pictures()
    gaps = [later - earlier for earlier, later in pairwise(at)]
    truth = sum(gap for gap in gaps if gap <= 1)
    told = [report["quality"]["coverage"] for report in one.reports]
    assert 5 * sum(told) == pytest.approx(truth, abs=0.13 * len(told) + 0.5)  # steps of 0.05 of five seconds, and a last frame
    assert [said == 0 for said in told] == [report["withheld"] == "unwatched" for report in one.reports]
    assert 0.1 < told[1] < 0.9


def test_a_camera_that_does_not_come_back_ends_the_process_for_systemd_to_start_another(bench: Callable[..., Bench]) -> None:
    one = bench(GIVE_UP=3)

    watch = one.watch()

    assert watch.wait(90) == 69
    assert one.health["trouble"] == "camera"
    assert "no such camera" in watch.complaints[-1]


def test_a_camera_that_never_comes_is_told_by_each_process_that_gives_it_up(bench: Callable[..., Bench]) -> None:
    """Windows are longer than a process lives, and yet nobody takes the silence for an empty shop."""
    one = bench(GIVE_UP=3)
    text = one.device.settings.read_text()
    one.device.settings.write_text(text.replace("window_seconds = 5", "window_seconds = 900").replace('noise = "off"', ""))

    codes = [one.watch().wait(90) for _ in range(2)]

    assert codes == [69, 69]
    assert [(report["seq"], report["withheld"], report["people"]) for report in one.reports] == [
        (1, "unwatched", None),
        (2, "unwatched", None),
    ]
    assert {report["quality"]["coverage"] for report in one.reports} == {0.0}
    starts = [datetime.fromisoformat(report["span"]["start"].replace("Z", "+00:00")) for report in one.reports]
    lengths = [report["span"]["seconds"] for report in one.reports]
    assert all(3 <= seconds < 90 for seconds in lengths)
    assert starts[0] + timedelta(seconds=lengths[0]) <= starts[1] + timedelta(seconds=1)  # starts are told to the second
    assert json.loads((one.device.folder / "state" / "ledger.json").read_bytes())["page"]["spent"] == 0


def test_a_file_that_is_no_picture_is_a_camera_that_shows_nothing(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.path.write_bytes(b"\0" * 100_000)

    watch = one.watch()

    one.trouble("camera")
    assert watch.end() == 0


def test_a_frozen_picture_is_a_camera_that_does_not_work(bench: Callable[..., Bench]) -> None:
    one = bench(FROZEN=2)
    still(one.path, 100)

    watch = one.watch()

    one.trouble("camera")
    wait_for(lambda: "the very same picture" in "".join((*watch.events(), *watch.events("warning"))), 60, "the reason")
    assert watch.end() == 0


def test_a_black_picture_from_the_beginning_is_told_as_dark_and_counts_nothing(bench: Callable[..., Bench]) -> None:
    one = bench()
    still(one.path, 0)

    watch = one.watch()

    one.trouble("dark")
    wait_for(lambda: one.reports, 60, "a window")
    assert watch.end() == 0
    assert one.reports[0]["withheld"] == "unwatched"


def test_a_camera_of_another_shape_than_a_picture_does_not_count(bench: Callable[..., Bench]) -> None:
    one = bench()
    writer = cv2.VideoWriter(str(one.folder / "small.mkv"), cv2.VideoWriter.fourcc(*"FFV1"), 30, (32, 16))
    for n in range(20_000):
        writer.write(np.full((16, 32, 3), n % 200, np.uint8))
    writer.release()
    (one.folder / "small.mkv").rename(one.path)

    watch = one.watch()

    one.trouble("camera")
    assert watch.end(signal.SIGTERM) == 0
    assert any("expected 64x64 at least" in said for said in watch.events("warning"))
