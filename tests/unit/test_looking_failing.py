"""A camera that fails, and what becomes of the loop around it: nothing is seen, everything else goes on."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from device.cameras import Camera
from device.cameras._guard import Darkness
from device.errors import CameraError, CameraStoppedError, ModelError
from device.notify import Notify
from device.reopen import GIVE_UP, LONGEST
from device.types import Observation
from tests.looking import Scene


class Failing(Scene):
    """The camera fails as the test says.

    Attributes:
        fails: Whether it does at this time.
        error: How.
    """

    fails: Callable[[float], bool] = staticmethod(lambda _: False)
    error: Exception = CameraStoppedError("no picture for 5 s")

    def observe(self, camera: Camera) -> Observation:
        if self.fails(self.clock.now()):
            self.clock.move(5.0)  # its time limit
            raise self.error
        return super().observe(camera)


def kinds(scene: Scene, begin: float, end: float) -> set[str]:
    return {kind for kind, at in scene.told if begin <= at < end}


def test_a_camera_that_fails_is_closed_and_opened_again_until_it_works(tmp_path: Path) -> None:
    scene = Failing(tmp_path)
    scene.fails = lambda now: 110 <= now < 140

    assert scene.run(200) == ["see", "camera", "see"]

    assert kinds(scene, 111, 140) == {"camera"}
    assert scene.camera.opened == 1 + 4  # after 1, 2, 4 and 8 s
    assert [entry["event"] for entry in scene.entries if entry["log_level"] == "warning"] == [
        "no picture for 5 s. Nothing is watched until the camera works; it is tried again and again"
    ]
    assert scene.entries[-1]["event"] == "the camera works again"
    assert not scene.panel.lit


def test_a_device_without_a_camera_at_boot_stays_up_and_watches_once_there_is_one(tmp_path: Path) -> None:
    scene = Failing(tmp_path)

    def plugged_in() -> Camera:
        if scene.clock.now() < 300:
            raise CameraError("/dev/video0: no such camera")
        return scene.camera()

    scene.opens = plugged_in

    assert scene.run(400) == ["camera", "see"]
    assert 300 <= next(at for kind, at in scene.told if kind == "see") <= 300 + LONGEST + 2


def test_a_camera_that_never_comes_ends_the_process_with_its_error(tmp_path: Path) -> None:
    scene = Failing(tmp_path)
    scene.fails = lambda _: True

    with pytest.raises(CameraStoppedError, match="no picture"):
        scene.run(10_000)

    assert GIVE_UP <= scene.clock.now() - 100 <= GIVE_UP + LONGEST + 10
    assert scene.told[-1] == ("camera", scene.clock.now())  # so that the window is told up to its end


def test_a_recording_that_fails_ends_the_process_at_once(tmp_path: Path) -> None:
    scene = Failing(tmp_path)
    scene.fails = lambda now: now >= 110

    with pytest.raises(CameraStoppedError):
        scene.run(1000, keep=True)

    assert scene.clock.now() == 115


def test_a_run_that_tries_something_does_not_wait_for_its_camera(tmp_path: Path) -> None:
    scene = Failing(tmp_path)
    scene.fails, scene.trying = (lambda _: True), True

    with pytest.raises(CameraStoppedError):
        scene.run(1000)

    assert scene.clock.now() == 105


def test_a_model_that_fails_is_no_camera_that_fails(tmp_path: Path) -> None:
    scene = Failing(tmp_path)
    scene.fails, scene.error = (lambda now: now > 110), ModelError("a tensor of another shape")

    with pytest.raises(ModelError):
        scene.run(1000)


def test_in_the_dark_nothing_is_seen_and_the_camera_stays_open(tmp_path: Path) -> None:
    scene = Failing(tmp_path)
    scene.fails, scene.error = (lambda now: 110 <= now < 140), Darkness()

    assert scene.run(200) == ["see", "dark", "see"]
    assert scene.camera.opened == 1


BUTTON = 'mode = "opt-in"\ninput = "button"\nconsent_pin = 17\nlasts_seconds = 20'


def test_a_camera_that_fails_is_told_whether_or_not_somebody_consents(tmp_path: Path) -> None:
    """Else the status would follow who consents."""
    scene = Failing(tmp_path, BUTTON)
    scene.fails = lambda now: now < 5000
    scene.panel.consents = lambda now: now % 1000 > 990

    assert scene.run(9000) == ["idle", "camera", "see", *["idle", "see"] * 3]


def test_a_camera_that_nobody_tries_is_not_given_up(tmp_path: Path) -> None:
    scene = Failing(tmp_path, BUTTON)
    scene.fails = lambda _: True
    scene.panel.consents = lambda now: now % 5000 > 4990

    assert scene.run(30_000) == ["idle", "camera"]


def test_darkness_is_not_told_where_it_would_tell_that_somebody_consents(tmp_path: Path) -> None:
    scene = Failing(tmp_path, BUTTON)
    scene.fails, scene.error = (lambda _: True), Darkness()
    scene.panel.consents = lambda now: now % 1000 > 990

    assert "dark" not in scene.run(3000)


def test_a_pause_counts_while_the_camera_fails(tmp_path: Path) -> None:
    scene = Failing(tmp_path, "pause_seconds = 20")
    scene.fails = lambda now: now < 130

    def press() -> None:
        scene.panel.pauses += scene.clock.now() < 110 and not any(kind == "rest" for kind, _ in scene.told)

    scene.panel.waited = press

    assert scene.run(200) == ["camera", "rest", "camera", "see"]


def test_a_doctor_who_comes_while_the_camera_fails_hears_that_it_does(tmp_path: Path) -> None:
    scene, said = Failing(tmp_path), []
    scene.fails = lambda now: now >= 110
    scene.panel.waited = lambda: said.append((scene.clock.now() > 112, scene.orders.camera_works))

    scene.run(140)

    assert {works for failing, works in said if failing} == {False}


class Systemd:
    """A real socket, as systemd has it."""

    def __init__(self, folder: Path) -> None:
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.line.bind(str(folder / "n"))
        self.line.setblocking(False)

    def heard(self) -> list[str]:
        said: list[str] = []
        while True:
            try:
                said += self.line.recv(4096).decode().splitlines()
            except BlockingIOError:
                return said


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def test_systemd_hears_that_it_is_ready_and_alive_also_without_a_camera(tmp_path: Path, short: Path) -> None:
    scene, systemd = Failing(tmp_path), Systemd(short)
    with systemd.line:
        scene.systemd = Notify(str(short / "n"), 8.0, now=scene.clock.now)
        scene.fails = lambda _: True

        heard: list[str] = []
        scene.panel.waited = lambda: heard.extend(systemd.heard())

        scene.run(160)

    assert heard.index("READY=1") < heard.index("WATCHDOG=1")
    assert heard.count("WATCHDOG=1") >= 8  # while there is at least one in 8 s, its time is never up
    assert "STATUS=not watching: the camera does not work" in heard


def test_a_camera_that_is_slow_to_open_and_to_deliver_is_given_its_time_twice(tmp_path: Path, short: Path) -> None:
    scene, systemd = Failing(tmp_path), Systemd(short)
    scene.fails = lambda now: 110 <= now < 150
    heard_between: list[list[str]] = []

    def slowly() -> Camera:
        scene.clock.move(5.0)
        systemd.heard()
        return scene.camera()

    def observe(camera: Camera) -> Observation:
        heard_between.append(systemd.heard())
        return Failing.observe(scene, camera)

    with systemd.line:
        scene.systemd = Notify(str(short / "n"), 8.0, now=scene.clock.now)
        scene.opens, scene.observe = slowly, observe  # type: ignore[method-assign]

        scene.run(140)

    assert heard_between.count(["WATCHDOG=1"]) >= 3  # each time it is opened again


def test_systemd_hears_nothing_of_a_camera_or_a_model_that_hangs(tmp_path: Path, short: Path) -> None:
    scene, systemd = Failing(tmp_path), Systemd(short)

    def hang(now: float) -> bool:
        if now >= 110:
            systemd.heard()
            scene.clock.move(500.0)
            raise StopIteration(len(systemd.heard()))
        return False

    with systemd.line:
        scene.systemd = Notify(str(short / "n"), 8.0, now=scene.clock.now)
        scene.fails = hang

        with pytest.raises(StopIteration) as stopped:
            scene.run(1000)

    assert stopped.value.value == 0


def test_a_hot_device_reads_fewer_frames_and_a_cool_one_does_not_wait(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal")
    (zone / "temp").write_text("45000")
    scene = Quick(tmp_path)

    scene.run(200)
    cool = len(scene.told)
    (zone / "temp").write_text("85000")
    scene.run(400)
    scene.told.clear()
    scene.run(500)

    assert cool == pytest.approx(500, rel=0.02)  # five a second
    assert len(scene.told) == pytest.approx(200, rel=0.02)  # two


class Quick(Scene):
    """A frame takes a fifth of a second, the camera's own pace."""

    def observe(self, _: Camera) -> Observation:
        self.clock.move(0.2 if self.care.rate >= 5 else 0.01)
        return Observation(self.clock.now(), 1.0, ())
