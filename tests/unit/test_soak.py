"""What a soak run's samples say: slopes, percentiles, losses, and the words for them."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device.latency import Latencies
from device.soak import DAY, Slope, lost, slope, student, warm_up
from device.soak_plot import bounds, plot
from device.soak_report import report, settled, text
from device.usage import usage
from tests.conftest import ROOT

HOURS_2 = 7200
GROWS = 24.0  # MiB a day: one an hour


def samples(
    per_day: float = 0.0, *, noise: float = 0.02, ramp: float = 20, seconds: int = HOURS_2, descriptors: float = 0.0
) -> list[dict[str, Any]]:
    """Samples every 15 s: first 20 MiB more while it gets going, then a straight line with noise; outliers now and then."""
    rng = random.Random(1)
    took, lines = Latencies(), []
    for at in range(15, seconds + 1, 15):
        for _ in range(75):
            took.add(0.010 * rng.uniform(0.9, 1.4))
        memory = 100 + ramp * min(at, 600) / 600 + per_day * at / DAY + rng.gauss(0, noise) + (30 if at % 900 == 0 else 0)
        held = {"rss": memory, "descriptors": 5 + descriptors * at / DAY, "threads": 2, "processor": at / 10}
        lines.append({"at": float(at), "watch": held, "send": {**held, "rss": 45.0}, "latency": took.as_json()})
    return lines


def run(lines: list[dict[str, Any]], **end: Any) -> list[dict[str, Any]]:
    """A whole log."""
    last = {"seconds": lines[-1]["at"], "why": "the time is over", "made": 9, "arrived": 9, "lost": [], "twice": 0}
    exits = {"exits": {"watch": 0, "send": 0}, "latency": lines[-1]["latency"]}
    return [{"begin": {"camera": "composite"}}, *lines, {"end": {**last, **exits, **end}}]


def test_a_process_that_gets_going_and_then_stays_as_it_is_is_flat() -> None:
    found = report(run(samples()))

    memory = found["processes"]["watch"]["memory"]
    assert memory["verdict"] == found["processes"]["watch"]["descriptors"]["verdict"] == "flat"
    assert abs(memory["slope"]["per_day"]) < 0.5
    assert memory["first"] == pytest.approx(120, abs=0.3), "the time in which it gets going is left out"
    assert found["broken"] == found["unknown"] == []
    assert text(found).endswith("everything within its limits")


def test_a_leak_of_a_mebibyte_an_hour_is_found_and_named_with_its_process() -> None:
    found = report(run(samples(GROWS)))

    low, high = found["processes"]["watch"]["memory"]["slope"]["interval_95"]
    assert low <= GROWS <= high
    assert found["broken"] == [one for one in found["broken"] if one.startswith("memory of watch: +")]
    assert len(found["broken"]) == 1


def test_a_leak_of_descriptors_is_found() -> None:
    found = report(run(samples(descriptors=240)))

    assert {one.partition(":")[0] for one in found["broken"]} == {"descriptors of watch", "descriptors of send"}


def test_a_run_too_short_to_tell_breaks_nothing_and_proves_nothing() -> None:
    found = report(run(samples(seconds=300, noise=1.0, ramp=0)))

    assert found["broken"] == []
    assert found["processes"]["watch"]["memory"]["verdict"] == "too short to tell"
    assert any(one.startswith("memory of watch") and one.endswith("run it for longer") for one in found["unknown"])


def test_the_interval_of_the_fit_holds_the_truth_nineteen_times_of_twenty() -> None:
    rng, inside = random.Random(7), 0
    for _ in range(400):
        line = slope([(float(at), 3 * at / DAY + rng.gauss(0, 1)) for at in range(0, 6000, 30)])
        assert line is not None
        inside += line.low <= 3 <= line.high

    assert 0.92 <= inside / 400 <= 0.98


@pytest.mark.parametrize(("free", "quantile"), [(4, 2.776), (5, 2.571), (8, 2.306), (12, 2.179), (18, 2.101), (30, 2.042)])
def test_students_quantiles_are_those_of_the_tables(free: int, quantile: float) -> None:
    assert student(free) == pytest.approx(quantile, rel=0.01)


@given(st.floats(-100, 100), st.floats(0, 500), st.integers(24, 200))
def test_a_straight_line_is_found_as_it_is(per_day: float, first: float, count: int) -> None:
    line = slope([(60.0 * n, first + per_day * 60 * n / DAY) for n in range(count)])

    assert line is not None
    assert line.per_day == pytest.approx(per_day, abs=1e-6)
    assert line.high - line.low < 1e-5


def test_too_few_samples_have_no_slope() -> None:
    assert slope([(float(n), 1.0) for n in range(11)]) is None
    assert slope([]) is None


@pytest.mark.parametrize(("low", "high", "verdict"), [(-1, 0.9, "flat"), (1.0, 2.0, "too large"), (0.5, 1.5, "too short to tell")])
def test_a_verdict_needs_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert Slope((low + high) / 2, low, high, (0, 0), (1, 1)).verdict(1.0) == verdict


def test_the_warm_up_is_a_quarter_and_half_an_hour_at_most() -> None:
    assert (warm_up(600), warm_up(HOURS_2), warm_up(86_400)) == (150, 1800, 1800)
    assert settled([(float(n), 0.0) for n in range(100)])[0][0] == 25


@given(st.lists(st.floats(1e-4, 50), min_size=1, max_size=200), st.sampled_from((0.5, 0.95, 0.99, 1.0)))
def test_percentiles_of_latencies_are_right_to_one_percent(took: list[float], share: float) -> None:
    latencies = Latencies()
    for one in took:
        latencies.add(one)

    exact = sorted(took)[max(1, -int(-share * len(took) // 1)) - 1]
    assert latencies.quantile(share) == pytest.approx(exact, rel=0.0101)
    assert Latencies(latencies.as_json()).as_json() == latencies.as_json()


def test_what_was_before_can_be_taken_away() -> None:
    early, late = Latencies({"100": 5}), Latencies({"100": 6, "300": 2})

    assert late.since(early).as_json() == {"100": 1, "300": 2}
    assert Latencies().quantile(0.5) is None


def test_frames_that_take_twice_the_median_break_the_limit() -> None:
    lines = samples()
    slow = {**lines[-1]["latency"], "500": len(Latencies(lines[-1]["latency"])) // 50}

    found = report(run(lines, latency=slow))

    assert found["latency_ms"]["ratio"] > 2
    assert found["broken"] == [
        f"the slowest frames of a hundred take {found['latency_ms']['ratio']:.2f} times the median; expected less than 2"
    ]


def test_lost_reports_and_processes_that_fail_break_the_limit() -> None:
    found = report(run(samples(), lost=lost(9, [1, 2, 3, 5, 6, 7, 8, 9, 9]), exits={"watch": 0, "send": -9}))

    assert found["broken"] == ["1 reports were lost, the first of them number 4", "mien send ended with -9"]


def test_a_run_that_was_cut_off_has_a_report_that_says_so() -> None:
    found = report(run(samples())[:-1])

    assert not found["complete"]
    assert found["reports"] is None
    assert found["latency_ms"]["frames"] == 75 * len(samples())
    assert found["unknown"] == ["losses: the run was cut off"]


def test_the_picture_draws_every_figure_inside_of_its_panel() -> None:
    drawn = ET.fromstring(plot(run(samples())))

    lines = [one for one in drawn.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 4 + 4 + 2, "two processes and their fits in two panels, and two percentiles"
    width, height = (float(drawn.attrib[name]) for name in ("width", "height"))
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.attrib["points"].split()]
    assert all(0 < x < width and 0 < y < height for x, y in points)


@example([0.95])
@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=20))
def test_an_axis_holds_all_of_its_values(values: list[float]) -> None:
    low, high = bounds(values)

    assert low <= min(values)
    assert high >= max(values)
    assert low < high


def test_usage_reads_what_the_kernel_tells_about_a_process(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    (folder / "fd").mkdir(parents=True)
    for number in range(7):
        (folder / "fd" / str(number)).touch()
    (folder / "status").write_text("Name:\tmien\nVmRSS:\t   2048 kB\nThreads:\t3\n")
    (folder / "stat").write_text("42 (mien (a b)) S " + " ".join(str(n) for n in range(4, 53)))

    found = usage(42, tmp_path)

    assert found is not None
    assert (found.rss, found.descriptors, found.threads) == (2.0, 7, 3)
    assert usage(43, tmp_path) is None


def test_the_page_says_and_shows_what_the_program_makes_of_its_samples() -> None:
    lines = [json.loads(line) for line in (ROOT / "docs" / "soak.jsonl").read_text().splitlines()]

    assert text(report(lines)) in (ROOT / "docs" / "operations.md").read_text()
    assert plot(lines) == (ROOT / "docs" / "images" / "soak.svg").read_text()
    assert report(lines)["seconds"] >= HOURS_2
    assert report(lines)["broken"] == report(lines)["unknown"] == []
