"""Runs inside the root: takes frame after frame as fast as they come, then closes and opens again and again; prints JSON.

Two words: how many frames, and how many times.
"""

import gc
import json
import os
import sys
import time

import cv2

from device.cameras import CameraOptions
from device.cameras.picamera2 import open_camera

OPTIONS = CameraOptions(width=640, height=480, fps=1000, timeout=5)
PAGE = os.sysconf("SC_PAGESIZE")
EVERY = 100  # frames between two looks


def memory():
    """Resident, KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE // 1024


def descriptors():
    return len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them


def main(frames, times):
    cv2.setNumThreads(1)
    gc.disable()  # what only the collector would close is seen
    found = {"before": descriptors(), "looks": [], "times": [], "closed": [], "opened": []}
    camera = open_camera("", OPTIONS)
    start = time.monotonic()
    for number in range(frames):
        with camera.take() as frame:
            found["times"].append(frame.taken_at)
        if number % EVERY == EVERY - 1:
            found["looks"].append([number + 1, memory(), descriptors()])
    found["seconds"] = time.monotonic() - start
    for _ in range(times):
        camera.close()
        found["closed"].append([memory(), descriptors()])
        camera = open_camera("", OPTIONS)
        with camera.take():
            found["opened"].append(descriptors())
    camera.close()
    print(json.dumps(found), flush=True)


main(*map(int, sys.argv[1:]))
