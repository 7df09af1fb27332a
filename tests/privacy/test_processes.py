"""The real processes protect themselves, and their units ask the kernel for the rest."""

from __future__ import annotations

from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from device.process import ALLOCATOR, LOCK_LIMIT, NO_CACHE
from tests.build import Device
from tests.conftest import Process, wait_for

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "pixels"), [("watch", True), ("send", False)])
def test_a_running_process_has_forbidden_its_core_dump_and_with_pictures_the_caches_that_keep_freed_rows(
    device: Device, mien: Callable[..., Process], name: str, pixels: bool
) -> None:
    process = mien(name, "--settings", device.write().settings)
    wait_for(process.events, 60, why="the process to run")

    about = Path(f"/proc/{process.process.pid}")

    (core,) = (line.split() for line in (about / "limits").read_text().splitlines() if line.startswith("Max core file size"))
    assert core[4:6] == ["0", "0"]
    environment = (about / "environ").read_text().split("\0")
    assert (f"GLIBC_TUNABLES={NO_CACHE}" in environment) == pixels
    assert ("=".join(ALLOCATOR) in environment) == pixels


def service(name: str) -> dict[str, str]:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # names of a unit's settings are as they are written
    unit.read(UNITS / f"mien-{name}.service")
    return dict(unit["Service"])


def test_the_unit_of_the_camera_has_no_network_and_that_of_the_network_no_camera() -> None:
    watch, send = service("watch"), service("send")

    assert (watch["PrivateNetwork"], watch["RestrictAddressFamilies"]) == ("yes", "AF_UNIX AF_NETLINK")
    assert f"LimitMEMLOCK={watch['LimitMEMLOCK']}" == LOCK_LIMIT
    assert (watch["IPAddressDeny"], send["IPAddressDeny"]) == ("any", "any")
    assert watch["DevicePolicy"] == "closed"
    assert send["PrivateDevices"] == "yes"
    assert send["InaccessiblePaths"] == "-/var/lib/mien/state"  # the ε ledger
    assert (watch["User"], send["User"]) == ("mien-watch", "mien-send")
    for unit in (watch, send):
        assert (unit["LimitCORE"], unit["NoNewPrivileges"], unit["ProtectSystem"]) == ("0", "yes", "strict")
