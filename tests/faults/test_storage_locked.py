"""Folders that may only be read, and a model that is exchanged under a running process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import pytest

from device.manifest import FOLDER
from tests.build import Device
from tests.conftest import Process, wait_for
from tests.faults.test_disk import namespace  # noqa: F401 (a fixture)

pytestmark = pytest.mark.timeout(150)
NOISE = 'noise = "discrete-laplace"\nepsilon_window = 0.01\nepsilon_day = 400.0'
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"; exec "$2" -m device.cli "$4" --settings "$3"'


@pytest.mark.parametrize(("command", "name"), [("watch", "state"), ("send", "send")])
def test_a_read_only_folder_is_73_with_its_path_and_one_line(
    device: Device,
    namespace: tuple[str, ...],  # noqa: F811
    start: Callable[..., Process],
    command: str,
    name: str,
) -> None:
    folder = device.write(top=NOISE).folder / name
    folder.mkdir()

    process = start(*namespace, "sh", "-c", READ_ONLY, "sh", folder, sys.executable, device.settings, command)

    assert process.wait(60) == 73, process.err.read_text()
    (line,) = process.complaints
    assert line.startswith(f"mien: {folder}")
    assert "Read-only file system" in line


def test_a_state_folder_that_becomes_read_only_withholds_what_cannot_be_paid_for_and_says_why(
    device: Device,
    namespace: tuple[str, ...],  # noqa: F811
    start: Callable[..., Process],
) -> None:
    """What is held in memory of the ledger is not enough."""
    folder = device.write(top=NOISE).folder / "state"
    folder.mkdir()
    wait = 'while [ ! -e "$1/../now" ]; do sleep 0.1; done'
    script = f'({wait}; mount -t tmpfs -o ro tmpfs "$1") & exec "$2" -m device.cli "$4" --settings "$3"'
    watch = start(*namespace, "sh", "-c", script, "sh", folder, sys.executable, device.settings, "watch")
    wait_for(lambda: "report" in watch.events(), 60, why="a report")

    (device.folder / "now").touch()

    wait_for(lambda: any("the ε ledger cannot be written" in said for said in watch.events("warning")), 60, why="the reason")
    assert watch.end() == 0


def test_a_model_that_is_exchanged_under_a_running_process_is_found_at_the_next_start(
    device: Device, mien: Callable[..., Process]
) -> None:
    models = device.folder / "models"
    shutil.copytree(FOLDER, models, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    device.write()
    device.settings.write_text(device.settings.read_text() + f'\n[models]\nfolder = "{models}"\n')
    watch = mien("watch", "--settings", device.settings)
    wait_for(lambda: "report" in watch.events(), 60, why="a report")
    seen = len(watch.events())

    for path in models.glob("*.tflite"):
        path.with_suffix(".new").write_bytes(path.read_bytes()[:-1] + b"\0")
        path.with_suffix(".new").replace(path)

    wait_for(lambda: len(watch.events()) > seen + 2, 60, why="further reports, with what was loaded")
    assert watch.end() == 0
    again = mien("watch", "--settings", device.settings)
    assert again.wait(60) == 65
    (line,) = again.complaints
    assert "tflite" in line
    assert "expected" in line
