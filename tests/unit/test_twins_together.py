"""Several processes at one registry, on each kind of database: every wish gets a version of its own, and is sent by one of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioning import manage, twins
from tests.fleet import Box, Manager

MANY = 4


@pytest.fixture
def managers(tmp_path: Path, url: str) -> Iterator[list[Manager]]:
    """What so many ``mien-fleet serve`` have open, with three devices."""
    first = Manager(tmp_path, url).batch()
    for serial in ("SN-1", "SN-2", "SN-3"):
        box = Box(serial)
        manage.add_batch(first.registry, "berlin", "retail", "DE", {serial: box.id})
        first.enrol(box)
    made = [first, *(Manager(tmp_path, url, first.clock) for _ in range(MANY - 1))]
    yield made
    for one in made:
        one.close()


def test_wishes_at_the_same_time_get_versions_of_their_own_and_none_is_lost(managers: list[Manager]) -> None:
    (device, *_) = twins.select_devices(managers[0].registry, [], [], everybody=True)
    keys = ("k", "window_seconds", "max_hold", "consent.pause_seconds")
    values = (7, 1800, 2, 1200)

    with ThreadPoolExecutor(MANY) as pool:
        wishes = [{key: value} for key, value in zip(keys, values, strict=True)]
        versions = list(
            pool.map(lambda pair: twins.wish(pair[0].registry, [device], pair[1])[device], zip(managers, wishes, strict=True))
        )

    (twin,) = twins.twins(managers[0].registry, device)
    assert sorted(versions) == [1, 2, 3, 4]
    assert (twin.version, twin.desired) == (4, dict(zip(keys, values, strict=True)))


def test_each_wish_is_sent_by_one_of_them(managers: list[Manager]) -> None:
    devices = twins.select_devices(managers[0].registry, [], [], everybody=True)
    twins.wish(managers[0].registry, devices, {"k": 7})

    with ThreadPoolExecutor(MANY) as pool:
        sent = [device for found in pool.map(lambda one: twins.due(one.registry), managers) for device, _ in found]

    assert sorted(sent) == devices
