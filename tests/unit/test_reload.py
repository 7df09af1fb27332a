"""One run after the other: who is asked, who is told, and what becomes of the windows at the seam."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest

from device.contract import Envelope, Report
from device.errors import CameraError, MienError
from device.outbox import Outbox
from device.privacy import Gate, Terms
from device.reload import Run, run_again
from device.settings import Settings, parse
from device.spool import Spool, SpoolFullError
from device.watcher import Watcher
from tests.build import HASHES, SetClock, recorded, seen, settings_text


class Somebody:
    """Wants another k, and takes it back when that fails."""

    def __init__(self, *wishes: int) -> None:
        self.wishes = list(wishes)
        self.heard: list[str] = []

    def before(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"k": self.wishes.pop(0)}) if self.wishes else settings

    def wants(self, now: float) -> bool:
        self.heard.append(f"asked at {now:g}")
        return bool(self.wishes)

    def trying(self) -> bool:
        return False

    def works(self) -> None:
        self.heard.append("works")

    def failed(self, error: MienError) -> bool:
        self.heard.append(str(error))
        return bool(self.wishes)


def test_a_run_that_somebody_wanted_to_end_is_followed_by_another() -> None:
    runs: list[int] = []

    def once(settings: Settings, run: Run) -> None:
        runs.append(settings.k)
        run.tick(0, saw=True)
        run.over = run.wanted

    run_again(Settings(), [Somebody(6, 7, 8)], once, lambda: False)

    assert runs == [6, 7, 8]


def test_what_failed_is_tried_otherwise_where_somebody_takes_something_back() -> None:
    runs: list[int] = []

    def once(settings: Settings, _: Run) -> None:
        runs.append(settings.k)
        if settings.k > 5:
            raise CameraError(f"no camera for {settings.k}")

    other, somebody = Somebody(), Somebody(6, 5)
    run_again(Settings(), [somebody, other], once, lambda: False)

    assert runs == [6, 5]
    assert other.heard == somebody.heard == ["no camera for 6"]


def test_a_failure_that_nobody_answers_for_ends_it() -> None:
    def once(_: Settings, __: Run) -> None:
        raise CameraError("gone")

    with pytest.raises(CameraError, match="gone"):
        run_again(Settings(), [Somebody()], once, lambda: False)


def test_everybody_is_asked_once_a_second_and_told_once_that_it_works() -> None:
    somebody, other = Somebody(), Somebody()
    run = Run([somebody, other])

    run.tick(10.0, saw=False)
    for at in (10.2, 10.9, 11.0, 11.5):
        run.tick(at, saw=True)

    assert somebody.heard == other.heard == ["asked at 10", "works", "asked at 11"]


class Scene:
    """A watcher whose run somebody wants to end."""

    def __init__(self, folder: Path) -> None:
        self.settings = parse(settings_text(folder), "f")
        self.clock, self.somebody = SetClock(100.0), Somebody()
        self.run = Run([self.somebody])
        self.log, self.entries = recorded()
        self.spool = Spool(self.settings.spool.folder, "watch")
        self.outbox = Outbox(self.spool, self.log)
        self.watcher = Watcher(self.settings, HASHES, self.clock, self.outbox, self.log, run=self.run)

    def look(self, seconds: float) -> None:
        """A frame a fifth of a second until the run is over, or so long."""
        end = self.clock.now() + seconds
        while self.clock.now() < end and not self.run.over:
            self.clock.move(0.2)
            self.watcher.see(seen(self.clock.now()))

    @property
    def reports(self) -> list[Report]:
        found = [self.spool.read(path) for path in self.spool.waiting()]
        return [one.report for one in found if one is not None]


def test_a_run_ends_exactly_with_its_window(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with closing(scene.spool):
        scene.look(7)
        scene.somebody.wishes = [6]
        scene.look(30)

        assert scene.run.over
        assert [(one.span.seconds, one.quality.coverage) for one in scene.reports] == [(5, 1.0), (5, 1.0)]
        scene.watcher.finish()
        assert len(scene.reports) == 2, "the frame that ended the window begins no other"


def test_windows_that_are_held_are_published_before_another_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    charged: list[int] = []

    def charge() -> bool:
        charged.append(1)
        return True

    terms = Terms(5, "discrete-laplace", policy="research/EU@1", emotion=True, epsilon=Fraction(1), max_hold=9)
    scene.watcher._gate = Gate(terms, charge=charge, noise=lambda _: 0)
    with closing(scene.spool):
        scene.look(12)
        assert scene.reports == []
        scene.somebody.wishes = [6]
        scene.look(30)

        assert [(one.withheld, one.span.windows) for one in scene.reports] == [("k", 3)]
        assert len(charged) == 3


def test_a_run_goes_on_while_reports_wait_for_the_disk(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with closing(scene.spool):
        scene.somebody.wishes = [6]
        whole, scene.spool.put = scene.spool.put, full  # type: ignore[method-assign]
        scene.look(6)
        went_on = not scene.run.over

        scene.spool.put = whole  # type: ignore[method-assign]
        scene.look(6)

        assert went_on
        assert scene.run.over
        assert [one.seq for one in scene.reports] == [1, 2]


def full(envelope: Envelope) -> int:
    raise SpoolFullError(f"no room for {envelope.seq}")
