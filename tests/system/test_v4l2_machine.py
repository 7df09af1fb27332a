"""The package on a whole emulated 64-bit Arm machine: its kernel, systemd, vivid as the camera, a broker. Slow: once a release.

``make test-machine`` builds the package, and sets ``MIEN_MACHINE``; without it this says that it did not run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "machine"
KEPT = PROJECT / "build" / "machine"
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-aarch64-static": "qemu-user-static",
    "modprobe": "kmod",
    "cpio": "cpio",
    "debugfs": "e2fsprogs",
}
SECONDS = 5400  # the longest that the machine may be on
BARS = ((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0))  # of vivid, from the left, RGB

pytestmark = [pytest.mark.system, pytest.mark.timeout(SECONDS + 5400)]


def package() -> Path:
    """The newest package for 64-bit Arm. Skips, saying why, where the machine cannot be tried."""
    if "MIEN_MACHINE" not in os.environ:
        pytest.skip("takes a quarter of an hour and more: make test-machine")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a Debian root")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for tool, of in TOOLS.items():
        if shutil.which(tool, path=path) is None:
            pytest.skip(f"needs {tool}: apt-get install {of}")
    made = sorted((PROJECT / "dist").glob("mien_*_arm64.deb"), key=lambda file: file.stat().st_mtime)
    if not made:
        pytest.skip("there is no dist/mien_*_arm64.deb: make deb")
    return made[-1]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``machine/trial.py`` found, on a new disk."""
    deb = package()
    extra = tmp_path_factory.mktemp("machine") / "t"
    shutil.copytree(HERE, extra, ignore=shutil.ignore_patterns("__pycache__", "machine.sh"))
    shutil.copy(deb, extra / "mien.deb")
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        _build()
        _do("image", extra, timeout=300)
        console = _do("boot", str(SECONDS), timeout=SECONDS + 60)
        found: dict[str, Any] = json.loads(_do("read", "/var/trial.json", timeout=60) or "{}")
    assert found, console[-4000:]
    print(json.dumps({key: value for key, value in found.items() if key == "up" or key.endswith("_seconds")}))
    return found


def _build() -> None:
    recipe = hashlib.sha256((HERE / "machine.sh").read_bytes()).hexdigest()
    made_of = KEPT / "made-of"
    if not made_of.is_file() or made_of.read_text() != recipe:
        shutil.rmtree(KEPT, ignore_errors=True)
        _do("build", timeout=3600)
        made_of.write_text(recipe)


def _do(action: str, *words: str | Path, timeout: float) -> str:
    done = subprocess.run(
        [HERE / "machine.sh", action, KEPT, *words], check=False, capture_output=True, text=True, errors="replace", timeout=timeout
    )
    assert done.returncode == 0, f"{action}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def test_the_machine_is_64_bit_arm_and_systemd_is_its_first_process(trial: dict[str, Any]) -> None:
    assert trial["system"].endswith("aarch64")
    assert trial["init"] == "systemd"


def test_the_package_installs_and_doctor_finds_what_it_brought(trial: dict[str, Any]) -> None:
    assert trial["install"]["code"] == 0, trial["install"]
    assert "Traceback" not in trial["doctor"]["out"] + trial["doctor"]["err"]
    for good in ("settings", "runtime", "models", "memory", "spool"):
        assert f"ok     {good}" in trial["doctor"]["out"]


def test_frames_come_in_order_at_the_rate_and_size_that_were_asked_for(trial: dict[str, Any]) -> None:
    plain = trial["camera"]["plain"]

    assert plain["size"] == [640, 480]
    assert (np.diff(plain["times"]) > 0).all()
    assert np.diff(plain["times"]).mean() >= 0.15  # 5 a second, or fewer: the processor is emulated


@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12", "NV21", "YU12", "YV12", "BGR3", "RGB3"])
def test_the_colours_are_right_in_every_format_that_drivers_deliver(trial: dict[str, Any], fourcc: str) -> None:
    shown = trial["camera"]["formats"][fourcc]

    assert shown["format"] == fourcc
    assert shown["size"] == [640, 480]
    for colour, bar in zip(shown["bars"], BARS, strict=True):
        assert [channel > 100 for channel in colour] == [bool(channel) for channel in bar]


def test_other_sizes_are_delivered_as_asked_for(trial: dict[str, Any]) -> None:
    assert trial["camera"]["sizes"] == {"320x180": [320, 180], "640x360": [640, 360], "1280x720": [1280, 720]}


def test_a_camera_in_use_is_named(trial: dict[str, Any]) -> None:
    assert "/dev/video0" in trial["camera"]["busy"]["message"]
    assert "close other programs that use it" in trial["camera"]["busy"]["message"]


def test_a_camera_that_is_unplugged_is_named_in_time_and_found_again(trial: dict[str, Any]) -> None:
    unplugged = trial["camera"]["unplugged"]

    for error in unplugged["errors"]:
        assert error["error"] == "CameraStoppedError"
        assert "check its cable and power" in error["message"]
        assert error["seconds"] < 25
    assert all("/dev/video0: no such camera" in error["message"] for error in unplugged["missing"])
    assert [again["size"] for again in unplugged["again"]] == [[640, 480]] * 2
    assert not [name for name in unplugged["descriptors"] if "video" in name]


def test_under_systemd_reports_arrive_at_the_broker(trial: dict[str, Any]) -> None:
    services = trial["services"]

    assert services["reports"], services
    assert services["reports"][0]["withheld"] == "k"  # nobody is in a picture of colour bars
    assert services["before"]["ActiveState"] == "active"
    assert services["before"]["NRestarts"] == "0"


def test_under_systemd_an_unplugged_camera_is_told_and_watched_again(trial: dict[str, Any]) -> None:
    services = trial["services"]

    assert services["unplugged"], services["statuses"]
    assert services["again"], services["log"]
    assert {report["withheld"] for report in services["all"]} == {"k", "unwatched"}  # never an empty shop
    assert services["after"]["watch"]["NRestarts"] == "0"  # the same process
    seqs = [report["seq"] for report in services["all"]]
    assert seqs == list(range(1, len(seqs) + 1))


def test_under_systemd_both_services_stop_cleanly(trial: dict[str, Any]) -> None:
    assert {unit["Result"] for unit in trial["services"]["stopped"].values()} == {"success"}
