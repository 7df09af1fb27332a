"""Time without a camera: told, not charged, and never a zero that looks like an empty place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from device import health
from device.care import Care
from device.contract import Report
from device.outbox import Outbox
from device.privacy import Gate, Terms
from device.settings import parse
from device.spool import Spool
from device.watcher import Watcher
from tests.build import HASHES, SetClock, recorded, seen, settings_text

NOISED = Terms(5, "discrete-laplace", policy="research/EU@1", emotion=True, epsilon=Fraction(1), max_hold=9)


class Scene:
    """A watcher with windows of five seconds, in front of which the test makes pictures, or none."""

    def __init__(self, folder: Path) -> None:
        self.settings = parse(settings_text(folder), "f")
        self.clock, (self.log, self.entries) = SetClock(100.0), recorded()
        self.spool = Spool(self.settings.spool.folder, "watch")
        self.care = Care(self.settings, self.clock, root=folder)
        self.watcher = Watcher(self.settings, HASHES, self.clock, Outbox(self.spool, self.log), self.log, care=self.care)
        self.charged = 0

    def trouble(self) -> str | None:
        """What the status says next."""
        self.watcher._told = float("-inf")
        self.watcher.tell()
        return self.health.trouble

    def noised(self) -> Scene:
        def charge() -> bool:
            self.charged += 1
            return True

        self.watcher._gate = Gate(NOISED, charge=charge, noise=lambda _: 0)
        return self

    def see(self, seconds: float) -> Scene:
        for _ in range(round(5 * seconds)):
            self.clock.move(0.2)
            self.watcher.see(seen(self.clock.now()))
        return self

    def blind(self, seconds: float) -> Scene:
        for _ in range(round(5 * seconds)):
            self.clock.move(0.2)
            self.watcher.blind(self.clock.now(), "camera")
        return self

    def dark(self, seconds: float) -> Scene:
        for _ in range(round(5 * seconds)):
            self.clock.move(0.2)
            self.watcher.blind(self.clock.now(), "dark")
        return self

    @property
    def reports(self) -> list[Report]:
        found = [self.spool.read(path) for path in self.spool.waiting()]
        return [one.report for one in found if one is not None]

    @property
    def health(self) -> health.WatchHealth:
        return health.read(self.settings.run_folder, self.clock.now())


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.spool.close()


def test_a_window_without_a_camera_is_withheld_as_unwatched(scene: Scene) -> None:
    scene.see(5).blind(10).see(5.4)

    assert [one.withheld for one in scene.reports] == ["k", "unwatched", "unwatched", "k"]
    assert [one.quality.coverage for one in scene.reports] == [1.0, 0.0, 0.0, pytest.approx(1.0, abs=0.05)]
    assert [one.people for one in scene.reports] == [None] * 4
    assert [one.pauses for one in scene.reports] == [0] * 4


def test_without_a_camera_at_boot_the_first_windows_are_unwatched(scene: Scene) -> None:
    scene.blind(7).see(8.4)

    first, second, third = scene.reports
    assert (first.withheld, first.quality.coverage) == ("unwatched", 0.0)
    assert second.withheld == "k"
    assert second.quality.coverage == pytest.approx(0.6, abs=0.051)
    assert third.quality.coverage == 1.0


def test_time_without_a_camera_within_a_window_lowers_its_coverage(scene: Scene) -> None:
    scene.see(2).blind(2).see(1.4)

    (report,) = scene.reports
    assert report.quality.coverage == pytest.approx(0.6, abs=0.051)


def test_an_unwatched_window_costs_nothing_and_is_not_held(scene: Scene) -> None:
    scene.noised().see(5).blind(10)

    assert [(one.withheld, one.span.windows) for one in scene.reports] == [("k", 1), ("unwatched", 1)]
    assert scene.charged == 1


def test_windows_that_were_held_are_told_of_when_watching_ends_without_a_camera(scene: Scene) -> None:
    scene.noised().see(4.9).blind(1)
    assert scene.reports == []

    scene.watcher.finish()

    assert [(one.withheld, one.span.windows, one.people) for one in scene.reports] == [("k", 1, None)]
    scene.watcher.finish()
    assert len(scene.reports) == 1


def test_a_window_in_the_dark_is_unwatched_and_costs_nothing(scene: Scene) -> None:
    scene.noised().dark(10.4)

    assert [(one.withheld, one.quality.coverage, one.quality.fps) for one in scene.reports] == [("unwatched", 0.0, 0.0)] * 2
    assert (scene.charged, scene.health.trouble) == (0, "dark")


def test_that_a_light_went_on_or_off_is_told_by_the_window_and_no_finer(scene: Scene) -> None:
    scene.see(3).dark(2.4)
    assert [one.quality.coverage for one in scene.reports] == [1.0]
    scene.dark(3).see(1)
    assert scene.trouble() == "dark"

    scene.see(1.4)

    assert [(one.withheld, one.quality.coverage) for one in scene.reports] == [("k", 1.0)] * 2
    assert scene.trouble() is None
    scene.dark(2)
    assert scene.trouble() is None


def test_a_window_that_ends_with_the_process_before_anything_was_seen_is_told_for_as_long_as_it_lasted(scene: Scene) -> None:
    """A device that is started again and again without its camera is never silent for longer than one process lives."""
    scene.noised().blind(8.4)

    scene.watcher.finish()

    first, last = scene.reports
    assert [(one.withheld, one.people, one.quality.coverage) for one in (first, last)] == [("unwatched", None, 0.0)] * 2
    assert [(one.seq, one.span.seconds, one.span.windows) for one in (first, last)] == [(1, 5, 1), (2, 3, 1)]
    assert (last.span.start - first.span.start).total_seconds() == 5
    assert scene.charged == 0


def test_a_process_that_ends_within_a_second_without_having_seen_anything_says_nothing(scene: Scene) -> None:
    scene.blind(0.8)

    scene.watcher.finish()

    assert scene.reports == []


def test_the_health_is_degraded_with_the_reason_until_a_frame_comes(scene: Scene) -> None:
    scene.blind(1)
    assert (scene.health.health, scene.health.trouble) == ("degraded", "camera")

    scene.see(11)

    assert (scene.health.health, scene.health.trouble) == ("ok", None)


def test_a_throttled_window_says_so_and_is_watched_all_the_same(scene: Scene, tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("90000")
    for _ in range(20):
        scene.care.look(scene.clock.now())
        scene.clock.move(10)
    for _ in range(22):
        scene.clock.move(1 / scene.care.rate)
        scene.watcher.see(seen(scene.clock.now()))

    (zone / "temp").write_text("40000")
    for _ in range(60):
        scene.care.look(scene.clock.now())
        scene.clock.move(10)
        scene.watcher.rest(scene.clock.now())
    scene.see(10)

    assert [(one.quality.throttled, one.quality.fps, one.quality.coverage) for one in scene.reports[:2]] == [(True, 2.0, 1.0)] * 2
    assert scene.reports[-1].quality.throttled is False


def test_a_process_that_has_grown_too_large_ends_with_its_window(scene: Scene, tmp_path: Path) -> None:
    scene.see(2)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("900000 200000 3 4 5 6 7")
    scene.care.look(scene.clock.now())

    scene.see(2)
    within = scene.care.worn
    scene.see(2)

    assert (within, scene.care.worn) == (False, True)
    assert scene.watcher._run.over
    assert len(scene.reports) == 1
    scene.watcher.tell("memory")
    assert scene.health.trouble == "memory"


def test_the_health_carries_the_machine(scene: Scene) -> None:
    scene.care.look(scene.clock.now())
    scene.see(1)

    said = json.loads((scene.settings.run_folder / "health.json").read_text())
    assert said["machine"]["uptime"] == "minutes"
    assert said["machine"]["temperature"] is None
