"""The watching process takes care of its machine: measures every ten seconds, sets the pace, and knows when it is too large."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.care import Care
from device.machine import FIRMWARE
from device.settings import parse
from tests.build import SetClock, settings_text


def care(folder: Path, clock: SetClock, top: str = "", cpu: list[float] | None = None) -> Care:
    """On a machine whose /sys and /proc are in this folder."""
    settings = parse(settings_text(folder) + top, "f")
    settings.spool.folder.mkdir(exist_ok=True)
    return Care(settings, clock, root=folder, cpu=lambda: (cpu or [0.0])[0])


def put(folder: Path, name: str, content: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def after(seconds: float, one: Care, clock: SetClock) -> Care:
    for _ in range(round(seconds)):
        clock.move(1.0)
        one.look(clock.now())
    return one


def test_a_machine_that_throttles_is_told_with_its_power(tmp_path: Path) -> None:
    clock = SetClock(100.0)
    put(tmp_path, FIRMWARE, "50005")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "82000")

    found = after(60, care(tmp_path, clock), clock)

    assert found.machine is not None
    assert (found.machine.temperature, found.machine.power, found.machine.disk) == ("hot", "low", "ok")
    assert found.lowered
    assert found.rate < 4


def test_it_looks_every_ten_seconds_and_not_more_often(tmp_path: Path) -> None:
    clock, zone = SetClock(100.0), "sys/class/thermal/thermal_zone0/temp"
    put(tmp_path, zone, "60000")
    found = care(tmp_path, clock)
    found.look(100.0)
    put(tmp_path, zone, "99000")

    found.look(109.9)
    cool = found.rate
    found.look(110.0)

    assert cool == 5.0
    assert found.rate < 5.0


def test_a_frame_that_takes_long_lowers_the_rate(tmp_path: Path) -> None:
    clock, cpu = SetClock(100.0), [0.0]
    found = care(tmp_path, clock, cpu=cpu)
    for _ in range(600):  # at whatever rate: half a second each
        clock.move(1.0)
        cpu[0] += 0.5
        found.frame()
        found.look(clock.now())

    assert found.rate == pytest.approx(2.0)
    assert found.wait(taken_at=clock.now(), now=clock.now() + 0.1) == pytest.approx(0.4)


def test_what_opening_the_camera_costs_lowers_no_rate(tmp_path: Path) -> None:
    """Where it is opened for somebody who consents, a lower rate would tell that they do."""
    clock, cpu = SetClock(100.0), [0.0]
    found = care(tmp_path, clock, cpu=cpu)
    found.look(clock.now())
    for _ in range(10):
        found.opening()
        cpu[0] += 2.0
        found.frame()
        after(30, found, clock)

    assert (found.rate, found.lowered) == (5.0, False)


def test_at_its_full_rate_a_device_follows_the_cameras_own_pace(tmp_path: Path) -> None:
    clock = SetClock(100.0)

    assert care(tmp_path, clock).wait(clock.now(), clock.now()) == 0.0


def test_a_recording_keeps_its_own_pace(tmp_path: Path) -> None:
    clock = SetClock(100.0)
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "99000")
    found = care(tmp_path, clock)
    found.begin(parse(settings_text(tmp_path), "f"), recording=True)

    assert after(120, found, clock).rate == 5.0


@pytest.mark.parametrize(("pages", "too_large"), [(20_000, False), (200_000, True)])  # 78 and 781 MB
def test_a_process_that_holds_more_than_it_may_is_too_large(tmp_path: Path, pages: int, too_large: bool) -> None:
    clock = SetClock(100.0)
    put(tmp_path, "proc/self/statm", f"900000 {pages} 3 4 5 6 7")

    found = after(11, care(tmp_path, clock), clock)

    assert found.too_large is too_large
    assert found.machine is not None
    assert found.machine.memory == ("high" if too_large else "ok")


def test_on_this_machine_something_is_measured(tmp_path: Path) -> None:
    settings = parse(settings_text(tmp_path), "f")
    settings.spool.folder.mkdir()
    found = Care(settings, SetClock(100.0))

    found.look(100.0)

    assert found.machine is not None
    assert found.machine.disk in ("ok", "low", "full")
    assert 10 < found.memory < 4000
