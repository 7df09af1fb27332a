"""The package as it is installed, under the systemd of Debian 12 and of Debian 13: both processes work, and waits grow."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian_root import PYTHONS, Root, build_package, debian
from tests.system.debian import need
from tests.system.nspawn import Machine, booted
from tests.system.settings import demonstration

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

SETTINGS = demonstration(broker='publisher = "stdout"')
STEPS_SINCE = 254  # of systemd: RestartSteps


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(("systemd-nspawn", "systemd-container"), ("dpkg-deb", "dpkg"))
    return build_package("amd64", tmp_path_factory.mktemp("deb"))


@pytest.fixture(params=PYTHONS)
def machine(request: pytest.FixtureRequest, package: Path, tmp_path: Path) -> Iterator[Machine]:
    """A system with the package that has booted, with nothing started."""
    base = debian(request.param, "amd64")
    installed = Root((base,), tmp_path / "installed")
    installed.put(package, "mien.deb")
    installed.run("dpkg -i /mien.deb")
    merged = tmp_path / "root"
    for folder in (merged, tmp_path / "upper", tmp_path / "work"):
        folder.mkdir()
    layers = f"lowerdir={installed.work}/upper:{base},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, merged], check=True)
    try:
        (merged / "etc/mien/settings.toml").write_text(SETTINGS)
        with booted(merged, tmp_path / "boot.log") as found:
            yield found
    finally:
        subprocess.run(["umount", "-l", merged], check=True)
        shutil.rmtree(tmp_path / "upper", ignore_errors=True)


def test_what_is_installed_starts_reports_and_comes_back_after_waits_that_grow(machine: Machine) -> None:
    machine.run("systemctl", "start", "--no-block", "mien.target")
    machine.wait(lambda: '"event": "delivered"' in machine.journal("mien-send"), "a report")
    machine.wait(lambda: machine.unit("mien-watch")["ActiveState"] == "active", "the camera's process to be ready")

    for _ in range(3):
        before = machine.pid("mien-watch")
        machine.kill("mien-watch", signal.SIGKILL)
        machine.wait(lambda before=before: machine.pid("mien-watch") not in (0, before), "another process")  # type: ignore[misc]

    version = int(machine.run("systemctl", "--version").stdout.split()[1])
    said = machine.run("journalctl", "-u", "mien-watch", "-o", "short-monotonic", "--no-pager").stdout
    ended, began = (
        [float(at) for at in re.findall(rf"\[ *([\d.]+)\].*mien-watch\.service: {what}", said)]
        for what in ("Main process exited", "Scheduled restart job")
    )
    waits = [round(start - end) for end, start in zip(ended, began, strict=True)]
    assert waits == pytest.approx([2, 4, 8] if version >= STEPS_SINCE else [2, 2, 2], abs=1)
