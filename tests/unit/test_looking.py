"""When frames are read: the lamp, pauses, and consent by button."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from device.errors import CameraError
from device.looking import Eye
from tests.build import SetClock
from tests.looking import Panel, Scene


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
