"""A Debian root with systemd, a broker and mien in /opt/mien, as a device has it: made once, kept in ``build/``, never changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
KEPT = PROJECT / "build" / "debian"
SUITE, PYTHON = "bookworm", "3.11"
PACKAGES = "systemd,systemd-sysv,dbus,udev,mosquitto,mosquitto-clients,python3,iproute2,procps"
TAGS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64")
MIEN = """#!/bin/sh
PYTHONPATH=/opt/mien/site:/opt/mien/lib PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 -m device.entry "$@"
"""


def need(*tools: tuple[str, str]) -> None:
    """Skip, and say why, where this machine has no root or lacks a tool; each is a program and its Debian package."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a Debian root and start it")
    if os.uname().machine != "x86_64":
        pytest.skip(f"the root is made of wheels for x86-64, and this is {os.uname().machine}")
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("apt-get", "apt"), *tools):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"needs {tool}: apt-get install {package}")


def debian() -> Path:
    """The root, without mien; about 90 s when it is not there yet."""
    lock = PROJECT / "requirements.lock"
    key = hashlib.sha256(f"{SUITE} {PACKAGES} {TAGS}".encode() + lock.read_bytes()).hexdigest()[:16]
    root = KEPT / key
    if root.exists():
        return root
    making = KEPT / f"{key}.{os.getpid()}"
    shutil.rmtree(making, ignore_errors=True)
    making.parent.mkdir(parents=True, exist_ok=True)
    listed = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    mirror = next(one for one in found if one.rstrip("/").endswith("/debian"))
    options = ["-q", "--variant=minbase", "--mode=root", '--aptopt=Apt::Install-Recommends "false"', f"--include={PACKAGES}"]
    _do("mmdebstrap", *options, SUITE, making, f"deb {mirror} {SUITE} main")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore", "--disable-pip-version-check", "--no-deps"]
    tags = [word for tag in TAGS for word in ("--platform", tag)]
    wheels = ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *tags]
    _do(*pip, *wheels, "--target", making / "opt/mien/lib", "-r", lock)
    making.rename(root)
    return root


def install(root: Path) -> None:
    """Put mien of this tree into a root: program, units, users, folders, settings folder."""
    site = root / "opt/mien/site"
    shutil.copytree(PROJECT / "device", site / "device", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (site / "models").mkdir(exist_ok=True)
    for file in (*PROJECT.glob("models/*.tflite"), *PROJECT.glob("models/*.json")):
        shutil.copy(file, site / "models")
    program = root / "opt/mien/bin/mien"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(MIEN)
    program.chmod(0o755)
    (root / "etc/mien").mkdir(exist_ok=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/resolv.conf").write_text("")
    for unit in (PROJECT / "systemd").glob("mien*.*"):
        kind = {".sysusers": "usr/lib/sysusers.d/mien.conf", ".tmpfiles": "usr/lib/tmpfiles.d/mien.conf"}
        shutil.copy(unit, root / kind.get(unit.suffix, f"lib/systemd/system/{unit.name}"))


@contextmanager
def layer(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The root with mien, on which everything may be written: yields it, and the folder where all that is written turns up."""
    base, upper, work, merged = debian(), folder / "upper", folder / "work", folder / "root"
    for one in (upper, work, merged):
        one.mkdir(parents=True)
    _do("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={base},upperdir={upper},workdir={work}", merged)
    try:
        install(merged)
        yield merged, upper
    finally:
        _do("umount", "-l", merged)


def _do(*words: str | Path) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{words[0]}: {done.stderr}"
