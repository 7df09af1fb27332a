"""Runs inside the root: drives our adapter through a camera's life and prints what happened, as JSON."""

import gc
import json
import os
import time

from device.cameras import CameraOptions
from device.cameras.picamera2 import open_camera
from device.errors import CameraError

OPTIONS = CameraOptions(width=320, height=240, fps=5, timeout=2)


def take(camera, count):
    shots = []
    for _ in range(count):
        with camera.take() as frame:
            pixels = frame.pixels
            shots.append(
                {
                    "at": frame.taken_at,
                    "size": frame.size,
                    "colour": pixels.reshape(-1, 3).mean(0).tolist(),
                    "spread": float(pixels.reshape(-1, 3).std(0).max()),
                }
            )
    return shots


def complaint(call, *arguments):
    start = time.monotonic()
    try:
        call(*arguments)
    except CameraError as error:
        return {"error": type(error).__name__, "message": str(error), "seconds": time.monotonic() - start}
    return None


def open_files():
    gc.collect()  # picamera2's selectors are in reference cycles
    return len(os.listdir("/proc/self/fd"))


def stall(camera):
    """Hold every buffer, as a camera does that hangs, then let go."""
    held = []
    while len(held) < 4:
        held.append(camera._camera.capture_request(wait=2))
    outcome = complaint(camera.take)
    for request in held:
        request.release()
    return outcome


def brightest_left(camera):
    """The brightest byte in any buffer that our adapter gave back to the driver, and how many buffers those were."""
    brightest, buffers = 0, 0
    blank = camera._blank

    def blank_and_look(request):
        nonlocal brightest, buffers
        blank(request)
        for name in camera._streams:
            brightest, buffers = max(brightest, int(request.make_buffer(name).max())), buffers + 1

    camera._blank = blank_and_look
    take(camera, 2)
    camera._blank = blank
    return {"brightest": brightest, "buffers": buffers}


def main():
    found = {"before": time.monotonic()}
    camera = open_camera("", OPTIONS)
    found["layout"] = camera._layout
    found["shots"] = take(camera, 12)
    found["after"] = time.monotonic()
    found["left"] = brightest_left(camera)
    found["busy"] = complaint(open_camera, "", OPTIONS)
    found["stall"] = stall(camera)
    found["after_stall"] = take(camera, 2)
    camera.close()
    camera.close()
    found["closed"] = complaint(camera.take)
    found["open_files"] = []
    for _ in range(4):
        camera = open_camera("0", OPTIONS)
        found["reopened"] = take(camera, 2)
        camera.close()
        found["open_files"].append(open_files())
    found["stalled_closes"] = []
    for _ in range(3):
        camera = open_camera("Pictures from files", OPTIONS)
        found["stalled_closes"].append(stall(camera))
        camera.close()
    found["unknown"] = complaint(open_camera, "7", OPTIONS)
    print(json.dumps(found), flush=True)


main()
