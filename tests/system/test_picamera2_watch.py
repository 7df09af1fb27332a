"""``mien watch`` itself, without a network, on the real picamera2 and libcamera: a stall is told, survived, and never counted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.cameras.composite import Painter
from device.scene import Scene
from tests.build import settings_text
from tests.conftest import wait_for
from tests.system.picamera2_root import inside, prepared

PEOPLE = Scene(0).people_at(0)  # six, who stand still
WORK = Path("/t/work")
CAMERA = "fps = 10\ntimeout_seconds = 2"

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


class Watching:
    """The process, in its root, and what it leaves behind."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / WORK.relative_to("/")
        self.folder.mkdir()
        text = settings_text(WORK, camera=CAMERA).replace('source = "composite"', 'source = "picamera2"')
        (self.folder / "settings.toml").write_text(text)
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        self.log = self.folder / "log"
        words = inside(self.place, "python3", "-m", "device.entry", "watch", "--settings", str(WORK / "settings.toml"))
        with self.log.open("a") as log:
            return subprocess.Popen(words, stderr=log, stdout=log, text=True)

    def reports(self) -> list[Any]:
        """All so far, in order."""
        left = sorted((self.folder / "spool" / "new").glob("*"))
        return [json.loads(path.read_text())["report"] for path in left]

    def health(self) -> Any:
        return json.loads((self.folder / "run" / "health.json").read_text())

    def wait(self, reports: int) -> list[Any]:
        wait_for(lambda: self.ended() or len(self.reports()) >= reports, seconds=200, why=f"{reports} reports")
        assert not self.ended(), self.log.read_text()
        return self.reports()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """The root, with a camera that shows the same six people with ever new noise."""
    painter = Painter(640, 480, 0)
    with prepared([painter.paint(PEOPLE, number) for number in range(3)]) as place:
        yield place


@pytest.fixture
def watching(place: Path) -> Iterator[Watching]:
    shutil.rmtree(place / WORK.relative_to("/"), ignore_errors=True)
    (place / "t/hang").unlink(missing_ok=True)
    made = Watching(place)
    yield made
    made.process.kill()
    made.process.wait()


def test_watching_counts_the_people_that_the_camera_shows(watching: Watching) -> None:
    reports = watching.wait(3)
    code = watching.stop()

    assert code == 0, watching.log.read_text()
    for report in reports[1:]:
        assert report["people"] == len(PEOPLE)
        assert report["quality"]["coverage"] == 1.0
        assert 0 < report["quality"]["fps"] <= 10  # fewer where the machine is busy with something else


def test_a_camera_that_hangs_is_told_and_opened_again_by_the_same_process(watching: Watching) -> None:
    before = len(watching.wait(2))

    (watching.place / "t/hang").touch()
    wait_for(lambda: watching.health()["trouble"] == "camera", seconds=120, why="the health says so")
    assert "no picture for 2 s; check the ribbon cable" in watching.log.read_text()
    (watching.place / "t/hang").unlink()
    wait_for(lambda: watching.health()["trouble"] is None, seconds=200, why="the health is well again")
    now = len(watching.reports())
    reports = watching.wait(now + 3)

    assert not watching.ended()
    assert {report["people"] for report in reports[:before]} == {len(PEOPLE)}
    assert {report["people"] for report in reports[now + 1 :]} == {len(PEOPLE)}
    lost = [report for report in reports if report["quality"]["coverage"] < 1]
    assert lost
    assert all(report["withheld"] or report["people"] for report in lost)  # never a zero that looks like an empty shop
    assert watching.stop() == 0


def test_watching_begins_again_after_it_was_killed(watching: Watching) -> None:
    before = len(watching.wait(1))
    watching.process.kill()
    watching.process.wait()

    watching.process = watching.start()
    reports = watching.wait(before + 2)

    assert reports[-1]["people"] == len(PEOPLE)
    assert watching.stop() == 0
