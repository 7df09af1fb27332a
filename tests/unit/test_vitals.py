"""What is told of a machine: in steps, and what people influence once an hour."""

from __future__ import annotations

from dataclasses import replace

import pytest

from device.contract import Machine
from device.settings import DAY, Settings
from device.vitals import HOUR, Measured, Vitals

WELL = Measured(celsius=50.0, lowered=False, under_voltage=False, memory=150.0, free=1000.0, synced=True)
SETTINGS = Settings()


def first(measured: Measured) -> Machine:
    return Vitals(SETTINGS, 0.0).tell(0.0, measured)


def test_a_machine_that_is_well() -> None:
    assert first(WELL).model_dump() == {
        "temperature": "ok",
        "throttled": False,
        "power": "ok",
        "memory": "ok",
        "disk": "ok",
        "uptime": "minutes",
        "clock": "synced",
    }


@pytest.mark.parametrize(("celsius", "step"), [(69.9, "ok"), (70.0, "warm"), (79.9, "warm"), (80.0, "hot"), (None, None)])
def test_temperature_is_told_in_three_steps(celsius: float | None, step: str | None) -> None:
    assert first(replace(WELL, celsius=celsius)).temperature == step


@pytest.mark.parametrize(("free", "step"), [(0.5, "full"), (10.0, "low"), (64.0, "ok"), (None, "full")])
def test_the_disk_is_low_where_the_spool_may_need_more(free: float | None, step: str) -> None:
    assert first(replace(WELL, free=free)).disk == step


@pytest.mark.parametrize(
    ("seconds", "step"), [(59 * 60, "minutes"), (HOUR, "hours"), (DAY, "days"), (7 * DAY, "weeks"), (900 * DAY, "weeks")]
)
def test_uptime_is_told_in_four_steps(seconds: float, step: str) -> None:
    assert Vitals(SETTINGS, 100.0).tell(100.0 + seconds, WELL).uptime == step


def test_power_memory_clock_and_the_governor_are_told() -> None:
    told = first(Measured(celsius=50, lowered=True, under_voltage=True, memory=390.0, free=1000, synced=False))

    assert (told.throttled, told.power, told.memory, told.clock) == (True, "low", "high", "unsynced")
    assert first(replace(WELL, under_voltage=None)).power is None


def test_what_people_influence_changes_at_full_hours_only_and_tells_the_worst() -> None:
    vitals, told = Vitals(SETTINGS, 0.0), []
    for now in range(0, int(3 * HOUR), 60):
        crowd = 600 <= now < 1200  # ten minutes of many faces
        vital = vitals.tell(
            float(now), replace(WELL, celsius=85.0 if crowd else 50.0, lowered=crowd, memory=390.0 if crowd else 100)
        )
        told.append((vital.temperature, vital.throttled, vital.memory))

    assert set(told[:60]) == {("ok", False, "ok")}
    assert set(told[60:120]) == {("hot", True, "high")}
    assert set(told[120:]) == {("ok", False, "ok")}


def test_when_within_the_hour_the_crowd_came_does_not_show() -> None:
    def story(minute: int) -> list[Machine]:
        vitals = Vitals(SETTINGS, 0.0)
        return [vitals.tell(60.0 * now, replace(WELL, celsius=85.0 if minute <= now < minute + 5 else 50.0)) for now in range(180)]

    assert story(3) == story(20) == story(54)


def test_an_hour_that_was_slept_through_ends_all_the_same() -> None:
    vitals = Vitals(SETTINGS, 0.0)
    vitals.tell(0.0, replace(WELL, celsius=85.0))

    assert vitals.tell(5.5 * HOUR, WELL).temperature == "hot"
    assert vitals.tell(5.9 * HOUR, WELL).temperature == "hot"
    assert vitals.tell(6.1 * HOUR, WELL).temperature == "ok"
