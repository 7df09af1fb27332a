"""Ten thousand frames through the picamera2 adapter, and fifty times closed and opened: nothing grows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.system.picamera2_root import prepared, run

FRAMES, TIMES = 10_000, 50

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def soak() -> dict[str, Any]:
    """What ``picamera2/soak.py`` saw, with Python's collector of cycles switched off."""
    noise = np.random.default_rng(1)
    with prepared([noise.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(4)]) as place:
        ran = run(place, "python3", "/t/soak.py", str(FRAMES), str(TIMES), timeout=900)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    memory = [look[1] for look in found["looks"]]
    print(
        f"\n{FRAMES} frames of 640x480 in {found['seconds']:.1f} s; memory {memory[0]} KiB at first, {memory[-1]} at the end, "
        f"{max(memory)} at most; {found['looks'][-1][2]} descriptors while open, {found['closed'][-1][1]} closed"
    )
    return found


def test_ten_thousand_frames_come_in_order(soak: dict[str, Any]) -> None:
    assert len(soak["times"]) == FRAMES
    assert (np.diff(soak["times"]) > 0).all()


def test_memory_does_not_grow_with_the_frames(soak: dict[str, Any]) -> None:
    frames, memory, _ = np.array(soak["looks"])[10:].T  # the first thousand fill caches
    slope = np.polyfit(frames, memory, 1)[0]

    assert slope * FRAMES < 1024  # KiB over the whole run
    assert memory.max() - memory.min() < 2048


def test_descriptors_do_not_grow_with_the_frames(soak: dict[str, Any]) -> None:
    assert len({look[2] for look in soak["looks"]}) == 1


def test_closing_gives_back_every_descriptor_of_the_camera(soak: dict[str, Any]) -> None:
    """An open camera has four for each of its eight buffers, and some of its own; none of them is left."""
    closed = [look[1] for look in soak["closed"]]

    assert len(set(closed)) == 1
    assert set(soak["opened"]) == {soak["looks"][0][2]}
    assert soak["opened"][0] - closed[0] >= 32


def test_closing_and_opening_again_does_not_grow_memory(soak: dict[str, Any]) -> None:
    memory = [look[0] for look in soak["closed"]]

    assert memory[-1] - memory[4] < 1024  # KiB
