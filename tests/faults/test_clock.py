"""The clock stands at 1970, or jumps by a year within a window: only the label changes. The real process, under faketime."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.build import Device
from tests.conftest import Process, wait_for

# faketime 0.9.10 takes the monotonic times that Python's sleep asks for as faked ones, and refuses them.
PROGRAM = "import threading, time; time.sleep = threading.Event().wait; from device.cli import main; main()"
FAKETIME = shutil.which("faketime")
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed: sudo apt install faketime"),
]


@pytest.fixture
def watch(device: Device, start: Callable[..., Process], tmp_path: Path) -> Callable[[str], Process]:
    """A function that starts ``mien watch`` at this time; what ``now`` in the folder says counts from then on."""
    device.write(camera="fast = false\nfps = 1\nfps_floor = 1")

    def begin(at: str) -> Process:
        (tmp_path / "now").write_text(f"{at}\n")
        (tmp_path / "zone").write_text("")
        told = {
            "FAKETIME_TIMESTAMP_FILE": f"{tmp_path}/now",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }
        words = [f"{name}={value}" for name, value in told.items()]
        assert FAKETIME is not None
        return start(
            "env", "-u", "FAKETIME", *words, f"LD_PRELOAD={library()}",
            sys.executable, "-c", PROGRAM, "watch", "--settings", device.settings,
        )  # fmt: skip

    return begin


def library() -> str:
    """Where faketime keeps what it is made of."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), *Path("/usr/lib").glob("faketime/libfaketimeMT.so.1")]
    if not found:
        pytest.skip("libfaketimeMT.so.1 is not where Debian has it")
    return str(found[0])


def reports(folder: Path) -> list[Any]:
    return [json.loads(path.read_bytes())["report"] for path in sorted((folder / "spool" / "new").glob("report-*"))]


def starts(found: list[Any]) -> list[datetime]:
    return [datetime.strptime(one["span"]["start"], "%Y-%m-%dT%H:%M:%S%z") for one in found]


def test_a_clock_that_jumps_by_a_year_changes_the_label_and_nothing_else(watch: Callable[[str], Process], tmp_path: Path) -> None:
    process = watch("@2026-11-22 12:00:00")
    wait_for(lambda: len(reports(tmp_path)) >= 2, 60, "two windows")

    (tmp_path / "now").write_text("@2027-11-22 12:00:00\n")  # in the middle of the third
    wait_for(lambda: len(reports(tmp_path)) >= 4, 60, "two more")
    (tmp_path / "now").write_text("@2026-11-22 12:10:00\n")  # and back
    wait_for(lambda: len(reports(tmp_path)) >= 6, 60, "and two more")

    assert process.end() == 0
    found = reports(tmp_path)[:6]
    assert [one["seq"] for one in found] == [1, 2, 3, 4, 5, 6]
    assert {one["span"]["seconds"] for one in found} == {5}
    assert {one["span"]["boot"] for one in found} == {found[0]["span"]["boot"]}
    assert {one["span"]["clock"] for one in found} == {"unsynced"} or os.path.exists("/run/systemd/timesync/synchronized")
    assert [one["quality"]["coverage"] for one in found] == pytest.approx([1.0] * 6, abs=0.11)
    at = starts(found)
    assert [one.year for one in at[:2]] == [2026, 2026]
    assert 2027 in [one.year for one in at]
    assert at[-1].year == 2026


def test_a_device_that_boots_in_1970_watches_and_says_that_its_clock_is_not_set(
    watch: Callable[[str], Process], tmp_path: Path
) -> None:
    process = watch("@1970-01-01 00:00:20")
    wait_for(lambda: len(reports(tmp_path)) >= 1, 60, "a window")

    (tmp_path / "now").write_text("@2026-11-22 12:00:00\n")  # the network is there, and somebody sets the clock
    wait_for(lambda: len(reports(tmp_path)) >= 3, 60, "two more")

    assert process.end() == 0
    found = reports(tmp_path)[:3]
    at = starts(found)
    assert at[0].year == 1970
    assert at[2].year == 2026
    assert at[2] - at[1] < timedelta(days=60 * 365)
    assert [one["seq"] for one in found] == [1, 2, 3]
    assert [one["withheld"] for one in found] == [one["withheld"] for one in found if one["withheld"] in (None, "k")]
    assert not process.complaints
