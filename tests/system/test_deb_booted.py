"""The Debian package on a machine that runs: what starts, what an upgrade restarts, what a removal stops. In this order."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.debian_root import build_package, debian
from tests.system.nspawn import Machine, booted
from tests.system.test_deb import SETTINGS

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

BOTH = ("mien-watch.service", "mien-send.service")
APT = ("apt-get", "-qqy", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian 12 that has booted, with the package installed, its settings changed, and nothing else done."""
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("needs systemd-nspawn: sudo apt install systemd-container")
    if os.uname().machine != "x86_64":
        pytest.skip(f"the machine is made for x86-64, and this is {os.uname().machine}")
    base, folder = debian("bookworm", "amd64", "systemd-sysv", "dbus"), tmp_path_factory.mktemp("booted")
    package, root = build_package("amd64", folder), folder / "root"
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    layers = f"lowerdir={base},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    try:
        shutil.copy(package, root / "mien.deb")
        with booted(root, folder / "boot.log") as machine:
            machine.run(*APT, "install", "/mien.deb", timeout=400)
            (root / "etc/mien/settings.toml").write_text(SETTINGS)
            yield machine
    finally:
        subprocess.run(["umount", "-l", root], check=True)


def active(machine: Machine) -> list[str]:
    return [machine.unit(name)["ActiveState"] for name in BOTH]


def test_nothing_runs_and_nothing_will_at_the_next_boot_until_somebody_enables_it(machine: Machine) -> None:
    assert active(machine) == ["inactive", "inactive"]
    for unit in ("mien.target", "mien-watch.service", "mien-send.service", "mien-enroll.service"):
        assert machine.run("systemctl", "is-enabled", unit, check=False).stdout.strip() == "disabled"


def test_one_command_starts_both_processes_now_and_at_every_boot(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--now", "mien.target", timeout=300)

    machine.wait(lambda: active(machine) == ["active", "active"], "both units to be active")
    assert machine.run("systemctl", "is-enabled", "mien.target").stdout.strip() == "enabled"
    machine.wait(lambda: '"delivered"' in machine.journal("mien-send"), "the first report")


def test_an_upgrade_restarts_what_runs(machine: Machine) -> None:
    before = [machine.pid(name) for name in BOTH]

    machine.run(*APT, "install", "--reinstall", "/mien.deb", timeout=400)

    machine.wait(lambda: active(machine) == ["active", "active"], "both units to be active again")
    after = [machine.pid(name) for name in BOTH]
    assert not set(before) & set(after)
    assert len(list((machine.root / "opt/mien").glob("env.*"))) == 1


def test_a_removal_stops_everything_and_installing_again_leaves_it_enabled(machine: Machine) -> None:
    machine.run(*APT, "remove", "mien", timeout=200)

    assert active(machine) == ["inactive", "inactive"]
    assert (
        machine.run(
            "find", "/proc", "-maxdepth", "1", "(", "-user", "mien-watch", "-o", "-user", "mien-send", ")", check=False
        ).stdout
        == ""
    )
    machine.run(*APT, "install", "/mien.deb", timeout=400)
    assert machine.run("systemctl", "is-enabled", "mien.target").stdout.strip() == "enabled"
