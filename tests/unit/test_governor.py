"""The frame rate follows heat and load: within its bounds, calmly, and back again. The device is a thermal model of first order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.governor import DOWN, EVERY, SHARE, STILL, Governor, Sensed

CEILING, FLOOR, WARM, HOT = 5.0, 2.0, 70.0, 80.0


@dataclass
class Body:
    """A processor in its case.

    Attributes:
        outside: °C around it.
        idle: °C that it is warmer without any frame.
        gain: °C that it becomes warmer for each frame a second.
        lag: Seconds after which two thirds of a change have arrived.
        grain: °C, the steps of its sensor.
        throttles: °C from which on its firmware slows it down.
    """

    outside: float = 30.0
    idle: float = 15.0
    gain: float = 7.0
    lag: float = 120.0
    grain: float = 0.5
    throttles: float = 85.0
    celsius: float = 45.0

    def run(self, rate: float, seconds: float) -> Sensed:
        for _ in range(round(seconds)):
            self.celsius += (self.outside + self.idle + self.gain * rate - self.celsius) / self.lag
        felt = round(self.celsius / self.grain) * self.grain
        return Sensed(felt, self.celsius >= self.throttles)

    def settles_at(self, rate: float) -> float:
        return self.outside + self.idle + self.gain * rate


def rates(body: Body, hours: float, governor: Governor | None = None) -> list[float]:
    """What the governor makes of it, one rate for each of its steps."""
    governor = governor or Governor(CEILING, FLOOR, WARM, HOT)
    return [governor.step(body.run(governor.rate, EVERY)) for _ in range(round(hours * 3600 / EVERY))]


def test_a_cool_device_reads_as_many_frames_as_it_is_asked_to() -> None:
    assert set(rates(Body(outside=20), 1)) == {CEILING}


def test_a_device_in_the_sun_settles_between_floor_and_ceiling_and_below_hot() -> None:
    body = Body(outside=38)  # which alone would come to 88 °C

    last = rates(body, 3)[-180:]

    assert FLOOR < last[0] < CEILING
    assert max(last) - min(last) <= STILL * CEILING
    assert WARM < body.celsius < HOT


def test_a_device_in_an_oven_goes_down_to_the_floor_and_stays_there() -> None:
    last = rates(Body(outside=70), 1)[-60:]

    assert set(last) == {FLOOR}


def test_it_is_down_within_two_minutes_and_back_within_ten() -> None:
    governor = Governor(CEILING, FLOOR, WARM, HOT)
    down = next(n for n in range(1000) if governor.step(Sensed(95.0)) == FLOOR)
    up = next(n for n in range(1000) if governor.step(Sensed(40.0)) == CEILING)

    assert (down + 1) * EVERY <= 120
    assert 400 <= (up + 1) * EVERY <= 600  # slowly: what has just cooled down is not cool yet
    assert not governor.lowered


def test_a_sensor_that_trembles_within_a_degree_changes_nothing() -> None:
    governor = Governor(CEILING, FLOOR, WARM, HOT)
    for _ in range(100):
        governor.step(Sensed(75.0))

    assert len({governor.step(Sensed(75.0 + (n % 3 - 1) * 0.5)) for n in range(100)}) == 1


def test_throttling_lowers_the_rate_whatever_the_temperature_says() -> None:
    governor = Governor(CEILING, FLOOR, WARM, HOT)
    for _ in range(3):
        governor.step(Sensed(50.0, throttled=True))

    assert governor.rate == pytest.approx(CEILING - 3 * DOWN * (CEILING - FLOOR))
    assert governor.lowered


@pytest.mark.parametrize(("cost", "rate"), [(0.05, 5.0), (0.25, SHARE / 0.25), (0.9, 2.0)])
def test_no_more_frames_are_read_than_a_core_can_bear(cost: float, rate: float) -> None:
    governor = Governor(CEILING, FLOOR, WARM, HOT)
    for _ in range(200):
        governor.step(Sensed(None, cost=cost))

    assert governor.rate == pytest.approx(rate, abs=STILL * CEILING)


def test_without_any_sensor_the_ceiling_holds() -> None:
    governor = Governor(CEILING, FLOOR, WARM, HOT)

    assert {governor.step(Sensed()) for _ in range(50)} == {CEILING}


def test_a_floor_above_the_ceiling_is_the_ceiling() -> None:
    governor = Governor(1.0, 2.0, WARM, HOT)

    assert {governor.step(Sensed(99.0, throttled=True, cost=3.0)) for _ in range(50)} == {1.0}


bodies = st.builds(
    Body,
    outside=st.floats(-10, 60),
    idle=st.floats(5, 30),
    gain=st.floats(0.5, 12),
    lag=st.floats(60, 900),
    grain=st.sampled_from([0.1, 0.5, 1.0]),
    throttles=st.just(1000.0),
)


@settings(max_examples=60, deadline=None)
@given(bodies)
def test_any_device_converges_within_its_bounds_and_does_not_swing(body: Body) -> None:
    run = rates(body, 8)

    assert all(FLOOR <= rate <= CEILING for rate in run)
    last = run[-180:]  # the last half hour
    assert max(last) - min(last) <= 2 * STILL * CEILING
    hottest = body.settles_at(FLOOR)
    assert body.celsius <= max(hottest, HOT) + 1


@settings(max_examples=40, deadline=None)
@given(bodies, st.floats(75, 90))
def test_a_device_whose_firmware_throttles_stays_within_its_bounds(body: Body, throttles: float) -> None:
    body.throttles = throttles

    assert all(FLOOR <= rate <= CEILING for rate in rates(body, 2))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            Sensed, st.none() | st.floats(-40, 150), st.booleans(), st.none() | st.floats(0, 30)
        ), max_size=100,
    ), st.floats(0.5, 30), st.floats(0.5, 30),
)  # fmt: skip
def test_whatever_is_felt_the_rate_stays_within_floor_and_ceiling(felt: list[Sensed], ceiling: float, floor: float) -> None:
    governor = Governor(ceiling, floor, WARM, HOT)

    assert all(min(floor, ceiling) <= governor.step(one) <= ceiling for one in felt)
