"""Runs inside the machine, with the package's Python: our V4L2 adapter on the device of ``vivid``; prints JSON.

``vivid`` shows eight upright colour bars: white, yellow, cyan, green, magenta, red, blue, black.
"""

import json
import os
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import cv2

from device.cameras import CameraOptions, v4l2
from device.errors import CameraError

VIVID = Path("/sys/bus/platform/drivers/vivid")
DEVICE = "/dev/video0"
OPTIONS = CameraOptions(width=640, height=480, fps=5, timeout=20)
FORMATS = ("YUYV", "UYVY", "NV12", "NV21", "YU12", "YV12", "BGR3", "RGB3")
open_device = v4l2._open_device


def frames(camera, count):
    """When each was taken, its size, and the colour in the middle of each bar, RGB, of the last."""
    times, size, bars = [], None, None
    for _ in range(count):
        with camera.take() as frame:
            width, height = size = frame.size
            times.append(frame.taken_at)
            rows = frame.pixels[height * 3 // 4 : height * 7 // 8]  # the text is written above
            bars = [rows[:, round(width * (n + 0.5) / 8)].mean(0).round().tolist() for n in range(8)]
    return {"times": times, "size": size, "bars": bars}


def complaint(call, *arguments):
    start = time.monotonic()
    try:
        call(*arguments)
    except CameraError as error:
        return {"error": type(error).__name__, "message": str(error), "seconds": time.monotonic() - start}
    return None


def with_format(fourcc):
    """The device in this format, as a camera has it that knows no other; OpenCV takes what it likes best otherwise."""

    def open_so(path, options):
        capture = open_device(path, options)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
        return capture

    v4l2._open_device = open_so
    got = open_so(DEVICE, OPTIONS)
    number = int(got.get(cv2.CAP_PROP_FOURCC))
    got.release()
    with closing(v4l2.open_camera(DEVICE, OPTIONS)) as camera:
        return {"format": number.to_bytes(4, "little").decode(), **frames(camera, 2)}


def unplugged():
    """Taken away while it streams, twice; opened again after each."""
    found = {"errors": [], "missing": [], "again": []}
    for _ in range(2):
        with closing(v4l2.open_camera(DEVICE, OPTIONS)) as camera:
            frames(camera, 1)
            (VIVID / "unbind").write_text("vivid.0")
            found["errors"].append(complaint(frames, camera, 50))
        found["missing"].append(complaint(v4l2.open_camera, DEVICE, OPTIONS))
        (VIVID / "bind").write_text("vivid.0")
        while not os.path.exists(DEVICE):
            time.sleep(0.1)
        with closing(v4l2.open_camera(DEVICE, OPTIONS)) as camera:
            found["again"].append(frames(camera, 1))
    found["descriptors"] = open_files()
    return found


def open_files():
    """The names of what this process has open."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that listed them
            names.append(os.readlink(f"/proc/self/fd/{number}"))
    return names


def main():
    found = {"python": sys.version.split()[0], "opencv": cv2.__version__}
    with closing(v4l2.open_camera(DEVICE, OPTIONS)) as camera:
        found["plain"] = frames(camera, 10)
        found["busy"] = complaint(v4l2.open_camera, DEVICE, OPTIONS)
    found["formats"] = {fourcc: with_format(fourcc) for fourcc in FORMATS}
    v4l2._open_device = open_device
    found["sizes"] = {}
    for width, height in ((320, 180), (640, 360), (1280, 720)):
        with closing(v4l2.open_camera("", CameraOptions(width=width, height=height, fps=5, timeout=20))) as camera:
            found["sizes"][f"{width}x{height}"] = frames(camera, 2)["size"]
    found["unplugged"] = unplugged()
    print(json.dumps(found), flush=True)


main()
