"""When frames are read: the lamp, pauses, and consent by button."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from device.cameras import Camera
from device.consent import Consent
from device.contract_command import Command
from device.errors import CameraError, EndOfFrames
from device.looking import Eye, look
from device.order import by_hand
from device.orders import Orders
from device.settings import parse
from device.types import Frame, Observation
from tests.build import SetClock, recorded, seen

FOLDERS = "".join(f'{name}_folder = "{{0}}/{name}"\n' for name in ("inbox", "run", "state"))


class Panel:
    """Buttons that the test presses, and a lamp with a memory."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.lit = False
        self.pauses = 0
        self.consents: Callable[[float], bool] = lambda _: False
        self.waited: Callable[[], object] = lambda: None

    def pause_pressed(self) -> bool:
        pressed, self.pauses = self.pauses > 0, 0
        return pressed

    def consenting(self) -> bool:
        return self.consents(self.clock.now())

    def lamp(self, on: bool) -> None:
        self.lit = on

    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)
        self.waited()

    def close(self) -> None:
        self.lit = False


class OneEye:
    """A camera that remembers whether it is open."""

    opened = 0
    is_open = False

    def __call__(self) -> Camera:
        self.opened, self.is_open = self.opened + 1, True
        return self

    def take(self) -> AbstractContextManager[Frame]:
        raise AssertionError

    def close(self) -> None:
        self.is_open = False


class Scene:
    """Everything around ``look``; each frame takes a second."""

    def __init__(self, folder: Path, consent: str = "", frames: int = 1000) -> None:
        self.settings = parse(f"{FOLDERS.format(folder)}[consent]\n{consent}", "f")
        self.clock, self.camera = SetClock(100.0), OneEye()
        self.panel = Panel(self.clock)
        self.frames = frames
        self.told: list[tuple[str, float]] = []
        self.lit: list[bool] = []
        self.log, self.entries = recorded()

    def observe(self, _: Camera) -> Observation:
        if not self.frames:
            raise EndOfFrames
        self.frames -= 1
        self.lit.append(self.panel.lit)
        self.clock.move(1.0)
        return seen(self.clock.now())

    def see(self, seen: Observation) -> None:
        self.told.append(("see", seen.taken_at))

    def rest(self, now: float) -> None:
        assert not self.panel.lit
        self.told.append(("rest", now))

    def idle(self, now: float) -> None:
        assert not self.panel.lit
        self.told.append(("idle", now))

    def command(self, name: str, seconds: int | None = None) -> None:
        by_hand(self.settings.inbox_folder, self.clock, Command.model_validate({"command": name, "seconds": seconds}))

    def run(self, until: float, *, keep: bool = False) -> list[str]:
        """Look until that time; returns what was told, without repetitions."""
        eye = Eye(self.camera, self.panel, keep=keep)
        opt_in = self.settings.consent.mode == "opt-in"
        consent = Consent(opt_in=opt_in, lasts=self.settings.consent.lasts_seconds)
        orders = Orders(self.settings, self.clock, self.log)
        orders.begin(consent)
        look(
            eye, self.panel, settings=self.settings, consent=consent, orders=orders, observe=self.observe, listener=self,
            clock=self.clock, log=self.log, stopping=lambda: self.clock.now() >= until,
        )  # fmt: skip
        eye.close()
        kinds = [kind for kind, _ in self.told]
        return [kind for n, kind in enumerate(kinds) if n == 0 or kinds[n - 1] != kind]


def test_the_lamp_is_on_while_frames_are_read_and_off_afterwards(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    assert scene.run(110) == ["see"]

    assert all(scene.lit)
    assert not scene.panel.lit
    assert not scene.camera.is_open


def test_the_pause_button_closes_the_camera_for_the_set_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "pause_seconds = 20")
    scene.panel.pauses = 1
    closed: list[bool] = []
    scene.panel.waited = lambda: closed.append(scene.camera.is_open)

    assert scene.run(130) == ["rest", "see"]

    first = next(at for kind, at in scene.told if kind == "see")
    assert first == pytest.approx(100 + 20 + 1, abs=0.2)
    assert not any(closed)
    assert [entry["event"] for entry in scene.entries] == ["paused", "resumed"]


def test_a_command_does_not_end_a_pause_that_somebody_in_front_of_the_camera_wanted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "pause_seconds = 20")
    scene.panel.pauses = 1

    def resume() -> None:
        if scene.clock.now() < 100.3:
            scene.command("resume")

    scene.panel.waited = resume

    assert scene.run(119) == ["rest"]


def test_a_pause_by_the_button_goes_on_when_the_process_starts_again(tmp_path: Path) -> None:
    first, second = Scene(tmp_path, "pause_seconds = 20"), Scene(tmp_path, "pause_seconds = 20")
    first.panel.pauses = 1
    assert first.run(110) == ["rest"]

    assert second.run(119) == ["rest"]

    assert second.camera.opened == 0


def test_a_command_pauses_at_once_and_another_one_resumes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.command("pause", 3600)

    def resume() -> None:
        if scene.clock.now() >= 110 and scene.told[-1][0] == "rest":
            scene.command("resume")

    scene.panel.waited = resume

    assert scene.run(115) == ["rest", "see"]
    assert 110 <= next(at for kind, at in scene.told if kind == "see") <= 112.3


def test_with_opt_in_by_button_nothing_is_read_until_it_is_pressed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 'mode = "opt-in"\ninput = "button"\nconsent_pin = 22\nlasts_seconds = 5')
    scene.panel.consents = lambda now: 110 <= now < 110.5

    assert scene.run(130) == ["idle", "see", "idle"]
    assert scene.camera.opened == 1
    reading = [at for kind, at in scene.told if kind == "see"]
    assert reading[0] > 110
    assert reading[-1] <= 118


def test_the_button_of_consent_does_not_end_a_pause(tmp_path: Path) -> None:
    scene = Scene(tmp_path, 'mode = "opt-in"\ninput = "button"\nconsent_pin = 22\npause_seconds = 20')
    scene.panel.pauses, scene.panel.consents = 1, lambda _: True

    assert scene.run(119) == ["rest"]


def test_a_recording_stays_open_while_paused_and_ends(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "pause_seconds = 10", frames=3)
    scene.panel.pauses = 1

    assert scene.run(1000, keep=True) == ["rest", "see"]
    assert scene.camera.opened == 1


def test_a_camera_that_cannot_be_opened_leaves_the_lamp_off(tmp_path: Path) -> None:
    panel = Panel(SetClock())

    def broken() -> Any:
        assert panel.lit
        raise CameraError("no camera")

    with pytest.raises(CameraError):
        Eye(broken, panel, keep=False).open()

    assert not panel.lit
