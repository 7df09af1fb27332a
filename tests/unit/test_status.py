"""The status, and the health that it is made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from device import health
from device.health import WatchHealth
from device.publishers import Connected, Disconnected
from device.sender import STATUS_EVERY
from tests.build import HASHES
from tests.sending import Make


def test_the_status_says_who_sends_what_is_watched_and_how_it_is(bench: Make) -> None:
    b = bench(2)
    health.write(b.settings.run_folder, WatchHealth(at=b.clock.now(), health="degraded", trouble="disk", models=HASHES))

    b.happens(Connected())

    assert b.statuses[0] | {"software": "?"} == {
        "schema": 1,
        "state": "online",
        "session": "5e55104a",
        "software": "?",
        "models": HASHES.model_dump(),
        "health": "degraded",
        "trouble": "disk",
        "machine": None,
        "spool": {"waiting": 2, "dropped": 0, "set_aside": 0},
        "connections": 1,
        "taken_over": 0,
        "box": None,
    }


def test_the_status_comes_on_its_schedule_and_after_each_connection(bench: Make) -> None:
    b = bench().happens(Connected())

    b.later(STATUS_EVERY - 1)
    assert len(b.statuses) == 1
    b.later(1)
    assert len(b.statuses) == 2
    b.happens(Disconnected("it broke", 1.0), Connected())
    assert len(b.statuses) == 3


@pytest.mark.parametrize(
    ("left", "trouble"),
    [
        (None, "stopped"),
        (b"", "stopped"),
        (b'{"at": 1000.0, "health": "o', "stopped"),
        (b'{"at": 1000.5, "health": "ok", "trouble": null, "models": null}', "stopped"),
        (b'{"at": 969.0, "health": "ok", "trouble": null, "models": null}', "stopped"),
        (b'{"at": NaN, "health": "ok", "trouble": null, "models": null}', "stopped"),
        (b'{"at": 971.0, "health": "ok", "trouble": null, "models": null}', None),
        (b'{"at": 999.0, "health": "degraded", "trouble": "camera", "models": null}', "camera"),
    ],
    ids=["missing", "empty", "half", "later", "old", "no number", "good", "trouble"],
)
def test_health_that_is_missing_damaged_old_or_of_another_boot_means_that_nobody_watches(
    tmp_path: Path, left: bytes | None, trouble: str | None
) -> None:
    if left is not None:
        (tmp_path / "health.json").write_bytes(left)

    found = health.read(tmp_path, now=1000.0)

    assert found.trouble == trouble
    assert found.health == ("degraded" if trouble else "ok")
