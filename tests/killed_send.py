"""``mien send`` that dies by SIGKILL after its nth durable step: ``python -m tests.killed_send N send --settings FILE``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from device import identity
from device.cli import main

write = identity.write
left = int(sys.argv.pop(1))


def write_and_die(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    global left  # noqa: PLW0603 (this program is one function)
    write(path, content, mode=mode)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    identity.write = write_and_die
    main()
