"""Python imports this at its start: so ``mien`` itself finds a picamera2 that runs here, and a camera that can be made to hang.

While the file ``/t/hang`` is there, every buffer of the camera is held, as by a driver that hangs, also when it is opened again.
"""

import os
import threading
import time

import shim

HANG = "/t/hang"
BUFFERS = 4
held = {}  # requests, by the camera that they are of


def hold(camera):
    held[camera] = [camera.capture_request(wait=5) for _ in range(BUFFERS)]


def start(camera, *arguments, _start=shim.picamera2.Picamera2.start, **named):
    _start(camera, *arguments, **named)
    held[camera] = []
    if os.path.exists(HANG):
        hold(camera)


def watch():
    while True:
        time.sleep(0.05)
        hangs = os.path.exists(HANG)
        for camera, requests in list(held.items()):
            if hangs and not requests:
                hold(camera)
            elif not hangs and requests:
                for request in held.pop(camera):
                    request.release()


shim.picamera2.Picamera2.start = start
threading.Thread(target=watch, daemon=True).start()
