"""The picamera2 adapter on the real picamera2 and libcamera, whose virtual camera plays pictures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.system.picamera2_root import prepared, run

COLOURS = ((200, 60, 40), (50, 180, 60), (60, 120, 190), (128, 128, 128))  # RGB

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def life() -> dict[str, Any]:
    """What happened in ``picamera2/scenario.py``, inside a Debian root made for it."""
    with prepared([np.full((480, 640, 3), colour, np.uint8) for colour in COLOURS]) as place:
        ran = run(place, "python3", "/t/scenario.py", timeout=300)
    assert ran.returncode == 0, ran.stderr
    return {**json.loads(ran.stdout), "stderr": ran.stderr}


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
