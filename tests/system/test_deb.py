"""The Debian package, installed by apt into minimal Debian 12 and 13 systems that have no network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian_root import PROJECT, PYTHONS, Root, build_package, debian

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

INSTALL = "apt-get install -qqy --no-install-recommends -o Dpkg::Use-Pty=0"
SETTINGS = """\
device = "shop-1"
window_seconds = 5
max_hold = 1
demo = true
epsilon_day = 20000.0
[camera]
source = "composite"
[broker]
publisher = "stdout"
[policy]
setting = "research"
jurisdiction = "EU"
[notice]
responsible = "Corner Shop Ltd"
contact = "privacy@corner-shop.example"
"""
WATCH = """
install -d -o mien-watch -g mien -m 0750 /run/mien
mien watch & watching=$!
until ls /var/lib/mien/spool/new/report-* >/dev/null 2>&1; do kill -0 $watching; sleep 0.1; done
kill -TERM $watching; wait $watching
"""
STRANGE = """
mkdir -p /tmp/strange/device && cd /tmp/strange
echo 'open("/tmp/strange/ran", "w")' | tee sitecustomize.py usercustomize.py json.py device/__init__.py device/entry.py >/dev/null
chmod -R a+rwX /tmp/strange
export HOME=$PWD
packages=$(/usr/bin/python3 -Ec 'import site; print(site.getusersitepackages())')
mkdir -p "$packages" && cp usercustomize.py "$packages"
export PYTHONPATH=$PWD PYTHONHOME=$PWD PYTHONSTARTUP=$PWD/json.py PYTHONINSPECT=1 PYTHONPYCACHEPREFIX=$PWD
"""
LIST = "find /var/lib/mien /etc/mien -type f ! -name '.*.lock' -exec sha256sum {} + | sort -k2"


def host() -> str:
    """Debian's name of this machine's processor."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    if os.uname().machine not in names:
        pytest.skip(f"the package is made for {', '.join(names)}; this machine is {os.uname().machine}")
    return names[os.uname().machine]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb, as on Debian")
    return build_package(host(), tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package as a later version, whose settings file has another default."""
    folder = tmp_path_factory.mktemp("newer")
    subprocess.run(["dpkg-deb", "-R", package, folder / "tree"], check=True)
    control, settings = folder / "tree/DEBIAN/control", folder / "tree/etc/mien/settings.toml"
    control.write_text(control.read_text().replace("Version: 0.", "Version: 1."))
    settings.write_text(settings.read_text().replace("window_seconds = 900", "window_seconds = 1800"))
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", folder / "tree", folder / "newer.deb"], check=True, capture_output=True)
    shutil.rmtree(folder / "tree")
    return folder / "newer.deb"


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A system with the package, installed as a person would."""
    work = tmp_path_factory.mktemp(request.param)
    root = Root((debian(request.param, host()),), work)
    root.put(package, "mien.deb")
    said = root.run(f"{INSTALL} /mien.deb")
    assert "Setting up mien" in said
    yield root
    shutil.rmtree(work, ignore_errors=True)


@pytest.fixture
def shop(installed: Root, tmp_path: Path) -> Iterator[Root]:
    """That system with a settings file, to be changed by one test."""
    root = installed.fork(tmp_path / "shop")
    root.run(f"cat > /etc/mien/settings.toml <<'END'\n{SETTINGS}END\n")
    yield root
    shutil.rmtree(root.work, ignore_errors=True)


def test_doctor_finds_everything_that_the_package_brings(shop: Root) -> None:
    said = shop.run("mien doctor --without broker")

    assert "wrong" not in said
    for name in ("settings", "runtime", "models", "camera", "spool", "budget"):
        assert f"ok     {name}" in said


def test_root_leaves_no_file_of_its_own_where_the_services_write(shop: Root) -> None:
    shop.run("mien doctor --without broker; mien pause --seconds 10")

    assert shop.run("find /var/lib/mien -mindepth 1 -user root") == ""


@pytest.mark.parametrize("words", ["doctor --without broker", "bench --frames 20", "pause --seconds 1", "send --once", "--version"])
def test_neither_variables_nor_the_folder_it_is_called_from_choose_what_is_run(shop: Root, words: str) -> None:
    said = shop.run(f"{STRANGE}\nmien {words} </dev/null; ls /tmp/strange")

    assert "device" in said.split()
    assert "ran" not in said.split()


def test_no_variable_has_the_keys_of_its_connections_written_down(shop: Root) -> None:
    shop.run("sed -i '/^publisher/c url = \"mqtts://localhost:1\"' /etc/mien/settings.toml")

    said = shop.run("chmod 1777 /tmp; SSLKEYLOGFILE=/tmp/keys mien doctor || ls /tmp")

    assert "wrong  broker    mqtts://localhost:1: " in said
    assert "keys" not in said.split()


def test_numpy_is_the_systems_own_and_everything_else_the_packages(shop: Root) -> None:
    said = shop.run(
        "/opt/mien/venv/bin/python -I -c 'import numpy, cv2, ai_edge_litert, pydantic;"
        " print(*(module.__file__ for module in (numpy, cv2, ai_edge_litert, pydantic)))'"
    ).split()

    assert said[0].startswith("/usr/lib/python3/dist-packages/numpy/")
    assert all(name.startswith("/opt/mien/venv/") for name in said[1:4])
    assert shop.run("find /opt/mien -iname 'numpy*'") == ""


def test_it_runs_with_a_read_only_root_where_only_the_state_folder_is_written(shop: Root) -> None:
    said = shop.run(f"systemd-tmpfiles --create mien.conf; {WATCH} mien send --once; touch /opt/mien/x || true", read_only=True)

    assert '"schema":1' in said.replace(" ", "")
    assert "touch: cannot touch '/opt/mien/x': Read-only file system" in said


def test_nothing_is_written_beside_the_program_when_it_runs(shop: Root) -> None:
    said = shop.run(f"touch /tmp/before; {WATCH} mien send --once >/dev/null; find / -xdev -newer /tmp/before -type f")

    assert {line.split("/")[3] for line in said.splitlines() if line.startswith("/")} == {"mien"}
    assert not [line for line in said.splitlines() if line.startswith("/") and not line.startswith("/var/lib/mien/")]


def test_an_upgrade_keeps_settings_identity_ledger_and_unsent_reports(shop: Root, newer: Path) -> None:
    shop.run(f"{WATCH} install -m 0600 -o mien-send -g mien /dev/stdin /var/lib/mien/identity/device.key <<< key")
    before = shop.run(LIST)
    for name in ("settings.toml", "device.key", "ledger.json", "spool/new/report-000000000001.json"):
        assert name in before
    shop.put(newer, "newer.deb")

    shop.run(f"{INSTALL} -o Dpkg::Options::=--force-confold /newer.deb")

    assert [line for line in shop.run(LIST).splitlines() if ".dpkg-" not in line] == before.splitlines()
    assert shop.run("dpkg-query -Wf '${Version}' mien").startswith("1.")
    assert len(shop.run("ls -d /opt/mien/env.*").split()) == 1
    assert "1" in shop.run("mien send --once | wc -l")


def test_a_power_cut_during_an_upgrade_leaves_a_program_that_runs(shop: Root, newer: Path) -> None:
    shop.put(newer, "newer.deb")
    halfway = "until [ $(ls -d /opt/mien/env.* | wc -l) = 2 ]; do sleep 0.02; done"

    shop.run(f"(dpkg --force-confold -i /newer.deb >/dev/null 2>&1 &); {halfway}; kill -KILL -1", check=False)

    assert "wrong" not in shop.run("mien doctor --without broker")
    assert shop.run("dpkg-query -Wf '${Status}' mien") in ("install ok unpacked", "install ok half-configured")
    shop.run("dpkg --force-confold --configure -a")
    assert "wrong" not in shop.run("mien doctor --without broker")
    assert len(shop.run("ls -d /opt/mien/env.*").split()) == 1


def test_a_new_python_of_the_system_gets_an_environment_of_its_own(shop: Root) -> None:
    shop.run("mv /opt/mien/venv/lib/python3.* /opt/mien/venv/lib/python3.9; ! mien --version 2>/dev/null")

    shop.run("dpkg-trigger --by-package=mien /usr/bin/python3; dpkg --triggers-only --pending")

    assert "wrong" not in shop.run("mien doctor --without broker")
    assert len(shop.run("ls -d /opt/mien/env.*").split()) == 1


def test_a_python_without_wheels_is_named_and_the_one_in_use_stays(shop: Root) -> None:
    said = shop.run("rm -r /opt/mien/wheels/3.*; ! /var/lib/dpkg/info/mien.postinst configure; mien --version")

    assert "mien: /usr/bin/python3 is Python 3." in said
    assert "Install a package of mien that was built for this system." in said
    assert "mien, version" in said


def test_removing_it_keeps_what_belongs_to_the_owner_and_installing_again_goes_on_with_it(shop: Root) -> None:
    shop.run(WATCH)
    before = shop.run(LIST)

    shop.run("apt-get remove -qqy mien")

    assert shop.run(LIST) == before
    assert "No such file" in shop.run("ls /opt/mien 2>&1 || true")
    shop.run(f"{INSTALL} /mien.deb")
    assert shop.run(LIST) == before
    assert '"seq":1' in shop.run("mien send --once").replace(" ", "")


def test_purging_it_leaves_nothing_but_the_two_users(shop: Root) -> None:
    shop.run(f"{WATCH} mkdir -p /etc/mien/claim /etc/systemd/system/mien-send.service.d; systemctl enable mien.target")

    shop.run("apt-get purge -qqy mien")

    left = shop.run("find / -xdev -name '*mien*' ! -name '*.deb' -not -path '/proc/*' -not -path '/root/*'").split()
    assert [name for name in left if "/var/lib/apt" not in name and "/var/lib/systemd" not in name] == []
    assert shop.run("getent passwd mien-watch mien-send | wc -l").strip() == "2"


def test_lintian_finds_no_error(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian: sudo apt install lintian")

    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", package], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert "E:" not in done.stdout


def test_the_same_tree_and_date_make_the_same_bytes_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    made = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, tmp_path / "one", ignore=made)
    shutil.copytree(tmp_path / "one", tmp_path / "another")

    first, second = (build_package(host(), tmp_path / f"{name}-out", tmp_path / name) for name in ("one", "another"))

    assert first.read_bytes() == second.read_bytes()
