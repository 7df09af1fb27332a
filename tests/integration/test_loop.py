"""The whole loop, with the real processes and a real broker: from a camera's frame to a report in the fleet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from device.cameras.composite import Painter
from device.scene import Figure
from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for

FPS, SECONDS, WIDTH, HEIGHT = 5, 12, 640, 480


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    """What ``mien contract`` prints about a report."""
    words = [sys.executable, "-m", "device.cli", "contract", "--json-schema", "--message", "up/report"]
    printed = json.loads(subprocess.run(words, check=True, capture_output=True, timeout=30).stdout)
    jsonschema.Draft202012Validator.check_schema(printed)
    return jsonschema.Draft202012Validator(printed)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of one person who walks to and fro."""
    path = tmp_path / "clip.avi"
    painter = Painter(WIDTH, HEIGHT, 0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for n in range(FPS * SECONDS):
        x = 0.5 + 0.1 * float(np.sin(n / 10))
        person = Figure(1, x, 0.45, 150, (("happiness", 1.0),), (1.0, 0.95, 0.9), (60, 40, 30), (40, 60, 90), mirrored=False)
        writer.write(np.ascontiguousarray(painter.paint((person,), n)[..., ::-1]))
    writer.release()
    return path


def arrived(listener: Listener, count: int) -> list[Any]:
    wait_for(lambda: len(listener.reports) >= count, seconds=90, why=f"{count} reports")
    return [message["payload"] for message in listener.reports]


def test_a_person_alone_is_fewer_than_k_so_the_report_withholds_everything(
    device: Device, mosquitto: Mosquitto, clip: Path, schema: jsonschema.Draft202012Validator,
    mien: Callable[..., Process], listen: Callable[..., Listener],
) -> None:  # fmt: skip
    fleet = listen(mosquitto)
    device.write(mosquitto.url)
    mien("send", "--settings", device.settings)

    watch = mien("watch", "--settings", device.settings, "--camera", f"replay:{clip}")

    assert watch.wait() == 0, watch.complaints
    reports = arrived(fleet, 3)
    assert len(reports) == 3  # two whole windows of five seconds, and one that the end of the clip cut short
    for report in reports:
        schema.validate(report)
        assert (report["people"], report["groups"], report["withheld"]) == (None, None, "k")
    assert [report["quality"]["coverage"] for report in reports] == pytest.approx([1.0, 1.0, 0.4], abs=0.05)
    assert [report["seq"] for report in reports] == [1, 2, 3]


def test_a_composite_scene_gives_reports_with_figures_that_keep_the_contract(
    device: Device, mosquitto: Mosquitto, schema: jsonschema.Draft202012Validator,
    mien: Callable[..., Process], listen: Callable[..., Listener],
) -> None:  # fmt: skip
    fleet = listen(mosquitto)
    device.write(mosquitto.url, top="k = 3")
    send = mien("send", "--settings", device.settings)

    watch = mien("watch", "--settings", device.settings)

    reports = arrived(fleet, 4)
    assert watch.end() == 0
    wait_for(lambda: device.held("new") == 0, why="the reports that were made meanwhile")
    assert send.end() == 0
    for message in fleet.reports:
        schema.validate(message["payload"])
    assert fleet.seqs == list(range(1, len(fleet.seqs) + 1))
    assert any(report["people"] is not None and report["people"] >= 3 for report in reports)
    assert all(report["privacy"] | {"k": 3, "noise": "off"} == report["privacy"] for report in reports)


def test_the_status_says_that_watching_is_well_and_then_that_it_has_stopped(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    device.write(mosquitto.url)
    watch = mien("watch", "--settings", device.settings)
    wait_for((device.folder / "run" / "health.json").exists, why="the health")
    well = listen(mosquitto)
    send = mien("send", "--settings", device.settings)
    wait_for(lambda: well.statuses, why="the birth")

    watch.end()
    send.end()

    wait_for(lambda: len(well.statuses) == 2, why="the farewell")
    birth, farewell = (message["payload"] for message in well.statuses)
    assert (birth["health"], birth["trouble"]) == ("ok", None)
    assert (farewell["health"], farewell["trouble"]) == ("degraded", "stopped")
    assert birth["models"] == farewell["models"] == expected_models()


def expected_models() -> dict[str, str]:
    from device.choice import USUAL
    from device.manifest import FOLDER, read_manifest

    manifest = read_manifest(FOLDER)
    return {"face": f"sha256:{manifest['face'].forms[USUAL].sha256}", "emotion": f"sha256:{manifest['emotion'].sha256}"}
