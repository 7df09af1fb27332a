"""The Debian package on a disk without room for it, and on one that has a partition for the state."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian_root import PYTHONS, Root, build_package, debian
from tests.system.test_deb import INSTALL, SETTINGS, WATCH, host

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb, as on Debian")
    return build_package(host(), tmp_path_factory.mktemp("deb"))


@pytest.fixture(params=PYTHONS)
def shop(request: pytest.FixtureRequest, package: Path, tmp_path: Path) -> Iterator[Root]:
    """A system with the package, and a settings file."""
    root = Root((debian(request.param, host()),), tmp_path / "shop")
    root.put(package, "mien.deb")
    root.run(f"{INSTALL} /mien.deb; cat > /etc/mien/settings.toml <<'END'\n{SETTINGS}END\n")
    yield root
    shutil.rmtree(root.work, ignore_errors=True)


def test_an_environment_that_finds_no_room_leaves_the_one_in_use_and_takes_none(shop: Root) -> None:
    configure = "/var/lib/dpkg/info/mien.postinst configure 0.0"
    before = shop.run("readlink /opt/mien/venv; ls -d /opt/mien/env.*")

    said = shop.run(f"for time in 1 2 3; do ! (ulimit -f 2000; {configure}); done")  # no file may be larger than 2 MB

    assert "File too large" in said
    assert shop.run("readlink /opt/mien/venv; ls -d /opt/mien/env.*") == before
    assert "mien, version" in shop.run("mien --version")
    shop.run(f"mkdir /opt/mien/env.left; {configure}")
    assert len(shop.run("ls -d /opt/mien/env.*").split()) == 1
    assert "mien, version" in shop.run("mien --version")


def test_purging_it_empties_a_partition_of_its_own_and_ends_well(shop: Root) -> None:
    mounted = "mount -t tmpfs tmpfs /var/lib/mien; mkdir -m 0700 /var/lib/mien/lost+found; systemd-tmpfiles --create mien.conf"

    said = shop.run(f"{mounted}; {WATCH} apt-get purge -qqy mien; find /var/lib/mien -mindepth 1; dpkg -l mien || true")

    assert said.splitlines()[-2:][0] == "/var/lib/mien/lost+found", said
    assert "no packages found matching mien" in said
    assert not shop.run("ls -d /etc/mien /opt/mien 2>/dev/null || true")
