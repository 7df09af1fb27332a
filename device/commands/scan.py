"""Reading a QR code with the device's camera: a process of its own, which has the camera and no network, and ends before
anybody connects. What it prints is text; pictures live and die in ``observe``, as everywhere.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from device import settings
from device.cameras import open_camera
from device.contract_claim import PREFIX
from device.errors import CameraError, EndOfFrames, MienError
from device.gpio import open_controls
from device.looking import Eye
from device.nets.codes import CodeReader
from device.observe import observe
from device.process import protect
from device.proof import sandbox
from device.proof.tracer import NotTriedError
from device.settings import Settings
from device.types import Face, Reading

SECONDS: Final = 300.0  # as long as the claim in a code is good for
WORDS: Final = "device.commands.scan"


def code(file: Path | None) -> str:
    """Read the text of a claim's QR code, in a process that has no network where this system permits that.

    Raises:
        CameraError: There is no camera, or no code was seen in time; the message is that of the process.
    """
    words = [sys.executable, "-m", WORDS, str(file or settings.SYSTEM_FILE)]
    with suppress(NotTriedError):  # it has no use for a network anyway, and this process does not connect before it has ended
        words = sandbox.without_network(words)
    done = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["the process that has the camera has ended"]
        raise CameraError(said[-1])
    return done.stdout.strip("\n")


def scan(wanted: Settings, seconds: float = SECONDS) -> str:
    """Look until a claim's code is read.

    Raises:
        CameraError: The camera does not work, or nothing was read within ``seconds``.
    """
    reader, until = CodeReader(), time.monotonic() + seconds
    with (
        closing(open_controls(wanted.consent)) as controls,
        closing(Eye(lambda: open_camera(wanted.camera), controls, keep=True)) as eye,
    ):
        while time.monotonic() < until:
            try:
                observe(eye.open().take, reader.look, _no_reading)
            except EndOfFrames:
                break
            if reader.text is not None and reader.text.startswith(PREFIX):
                return reader.text
    seen = "codes, but none that is a claim" if reader.text else "no code"
    raise CameraError(
        f"the camera has seen {seen}; hold it so that it fills most of the picture, flat and without glare, and run this again"
    )


def _no_reading(_: object, __: Face) -> Reading:
    raise AssertionError("a reader of codes finds no faces")


def main(file: Path) -> int:
    """In the process that has the camera: print the text; returns the exit code."""
    protect(pixels=True)
    try:
        print(scan(settings.load(file)))
    except MienError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
