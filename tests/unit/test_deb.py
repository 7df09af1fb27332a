"""What goes into the Debian package: packaging/deb.py is a program, so it is run like one."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def deb() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "packaging" / "deb.py"))


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_every_package_that_mien_needs_is_taken_by_hash_and_numpy_is_not(deb: dict[str, Any], python: str, machine: str) -> None:
    lines = deb["locked"](LOCK, python, machine)

    names = {line.partition("==")[0] for line in lines}
    assert {"ai-edge-litert", "click", "cryptography", "opencv-python-headless", "pydantic", "tuf", "iotcore", "rich"} <= names
    assert not names & {"numpy", "tomli", "hatchling"}
    assert all(re.search(r"==\S+( --hash=sha256:[0-9a-f]{64})+$", line) for line in lines)


def test_a_mark_is_judged_by_the_device_and_not_by_the_machine_that_builds(deb: dict[str, Any]) -> None:
    old, arm = 'python_full_version < "3.12"', 'platform_machine == "aarch64"'
    lock = f"a==1 ; {old} \\\n    --hash=sha256:aa\nb==2 ; {arm} \\\n    --hash=sha256:bb\n"

    assert deb["locked"](lock, "3.11", "x86_64") == ["a==1 --hash=sha256:aa"]
    assert deb["locked"](lock, "3.13", "aarch64") == ["b==2 --hash=sha256:bb"]


def test_every_unit_and_every_page_that_a_unit_names_is_in_the_package(deb: dict[str, Any]) -> None:
    placed = {file.name: place for place, file in deb["systemd_files"]()}
    documents = {place for place, _ in deb["documents"]()}

    for file in (ROOT / "systemd").iterdir():
        assert file.name in placed or file.name == "README.md", f"{file}: packaging/deb.py does not know where it belongs"
        for page in re.findall(r"file:///(\S+)", file.read_text()):
            assert page in documents, f"{file} names {page}"


def test_every_page_that_the_handbook_links_to_is_in_the_package(deb: dict[str, Any]) -> None:
    placed = dict(deb["documents"]()).values()

    for name in ("install-raspberry-pi.md", "install-debian.md", "operations.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+\.md)", (ROOT / "docs" / name).read_text()):
            assert (ROOT / "docs" / target).resolve() in placed, f"{name} links to {target}, which is not on the device"


def test_scripts_that_run_as_root_are_good_shell() -> None:
    for name in ("mien", "postinst", "prerm", "postrm"):
        subprocess.run(["sh", "-n", ROOT / "packaging" / "debian" / name], check=True)


def test_the_folder_from_which_it_is_called_does_not_choose_what_is_run_where_pip_has_installed_it(tmp_path: Path) -> None:
    """Each Python has its own way to look there: ``make check`` asks all."""
    strange, place = tmp_path / "strange", tmp_path / "opt"
    (strange / "device").mkdir(parents=True)
    for name in ("device/__init__.py", "device/entry.py", "sitecustomize.py", "json.py"):
        (strange / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    venv.create(place / "venv", with_pip=False, symlinks=True)
    (packages,) = (place / "venv").glob("lib/python3*/site-packages")
    (packages / "here.pth").write_text("\n".join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]))
    (place / "venv" / "bin" / "mien").write_text("import sys\nfrom device.entry import main\nsys.exit(main())\n")
    script = (ROOT / "packaging" / "debian" / "mien").read_text().replace("/opt/mien", str(place))
    words = ["sh", "-c", script, "mien", "--version"]

    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(strange)}
    said = subprocess.run(words, check=True, capture_output=True, text=True, cwd=strange, env=environment).stdout

    assert said.startswith("mien, version ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("enrols", [True, False])
def test_a_claim_that_belongs_to_root_is_lent_to_the_command_and_ends_with_its_use(tmp_path: Path, enrols: bool) -> None:
    claim, stubs, lent = tmp_path / "claim", tmp_path / "bin", tmp_path / "run"
    for folder in (claim, stubs, lent):
        folder.mkdir()
    for name in ("claim.pem", "claim.key", "ca.pem"):
        (claim / name).write_text(name)
    use = 'rm "$CREDENTIALS_DIRECTORY"/claim.*; exit 0' if enrols else "exit 75"
    setpriv = f'cat "$CREDENTIALS_DIRECTORY/claim.key" > {tmp_path}/saw; echo "$@" > {tmp_path}/words; {use}'
    for name, does in (("id", "echo 0"), ("chown", f'echo "$@" > {tmp_path}/owner'), ("setpriv", setpriv)):
        (stubs / name).write_text(f"#!/bin/sh\n{does}\n")
        (stubs / name).chmod(0o755)
    script = (ROOT / "packaging" / "debian" / "mien").read_text()
    script = script.replace("/etc/mien/claim", str(claim)).replace("/run/mien-claim", f"{lent}/mien-claim")

    ended = subprocess.run(["sh", "-c", script, "mien", "enroll", "--again"], check=False, env={"PATH": f"{stubs}:/usr/bin:/bin"})

    assert ended.returncode == (0 if enrols else 75)
    assert (tmp_path / "saw").read_text() == "claim.key"
    assert (tmp_path / "owner").read_text().startswith("-R mien-send:mien ")
    assert "--reuid=mien-send" in (tmp_path / "words").read_text()
    assert (tmp_path / "words").read_text().endswith("device.entry enroll --again\n")
    assert list(lent.iterdir()) == []
    assert {path.name for path in claim.iterdir()} == ({"ca.pem"} if enrols else {"ca.pem", "claim.key", "claim.pem"})


def test_a_machine_without_git_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "packaging").mkdir()
    (tmp_path / "packaging" / "deb.py").write_bytes((ROOT / "packaging" / "deb.py").read_bytes())
    words: list[str | Path] = [sys.executable, tmp_path / "packaging" / "deb.py", "amd64"]

    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})

    assert done.returncode == 1
    assert done.stderr.startswith("deb: ")
    assert "SOURCE_DATE_EPOCH" in done.stderr or "dpkg-deb is not installed" in done.stderr
