"""Every module in device/cameras is a camera: named in the settings, opened with one function, with one port."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from device import plug
from device.cameras import CameraOptions, OpenCamera
from device.errors import CameraError

NAMES = plug.names("device.cameras")


def test_the_cameras_are_those_that_the_handbook_names() -> None:
    assert {"replay", "v4l2", "picamera2"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_camera_module_opens_with_the_signature_of_the_port(name: str) -> None:
    opened = plug.find("device.cameras", name).open_camera

    assert inspect.signature(opened) == inspect.signature(OpenCamera.__call__).replace(
        parameters=list(inspect.signature(OpenCamera.__call__).parameters.values())[1:]
    )
    assert "Raises" in (inspect.getdoc(opened) or "")


@pytest.mark.parametrize("name", NAMES)
def test_a_camera_module_says_in_its_first_line_what_it_is(name: str) -> None:
    assert len((plug.find("device.cameras", name).__doc__ or "").splitlines()[0]) > 20


@pytest.mark.parametrize(("name", "address"), [("replay", "/nowhere/at/all"), ("v4l2", "/dev/video99"), ("picamera2", "99")])
def test_a_camera_that_is_not_there_is_one_clear_line(name: str, address: str) -> None:
    with pytest.raises(CameraError) as error:
        plug.find("device.cameras", name).open_camera(address, CameraOptions(timeout=2))

    assert len(str(error.value).splitlines()) == 1
    assert ";" in str(error.value)  # what is wrong; what to do


@pytest.mark.skipif(importlib.util.find_spec("picamera2") is not None, reason="picamera2 is installed here")
def test_without_picamera2_the_error_says_how_to_get_it() -> None:
    with pytest.raises(CameraError, match=r"sudo apt install python3-picamera2.*--system-site-packages"):
        plug.find("device.cameras", "picamera2").open_camera("", CameraOptions())


@pytest.fixture
def address(tmp_path: Path) -> Callable[[str], str]:
    """Where each camera that can run on any machine finds something to show."""

    def of(name: str) -> str:
        if name == "replay":
            for number in range(3):
                cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 64, 3), 100, np.uint8))
            return str(tmp_path)
        return ""

    return of


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("v4l2", "picamera2")])
def test_a_camera_that_runs_anywhere_keeps_the_promises_of_the_port(name: str, address: Callable[[str], str]) -> None:
    times = []
    with closing(plug.find("device.cameras", name).open_camera(address(name), CameraOptions(fast=True))) as camera:
        for _ in range(3):
            with camera.take() as frame:
                pixels = frame.pixels
                assert pixels.dtype == np.uint8
                assert pixels.flags.writeable
                assert pixels.any()
                times.append(frame.taken_at)
            assert not pixels.any()
        camera.close()

    assert times == sorted(times)
    assert len(set(times)) == 3
