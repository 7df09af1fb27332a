"""A watching process that holds more memory than it may publishes its window and ends, for systemd to start another."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.build import Device
from tests.conftest import Process


@pytest.mark.timeout(120)
def test_a_process_above_its_ceiling_ends_with_its_window_and_says_why(device: Device, mien: Callable[..., Process]) -> None:
    device.write(camera="[care]\nmemory_megabytes = 64")  # its models alone take more

    watch = mien("watch", "--settings", device.settings)

    assert watch.wait(100) == 75
    assert device.seqs("new") == [1]
    report = json.loads(next((device.folder / "spool" / "new").iterdir()).read_bytes())["report"]
    assert report["quality"]["coverage"] > 0.8
    health = json.loads((device.folder / "run" / "health.json").read_bytes())
    assert (health["health"], health["trouble"]) == ("degraded", "memory")
    assert health["machine"]["memory"] == "high"
    assert "more than memory_megabytes, and ends so that it is started again" in watch.complaints[-1]
