"""``mien`` that dies by SIGKILL at a step: ``python -m tests.killed_at EVENT SUFFIX N watch --settings FILE``.

The Nth time that EVENT (``open`` or ``os.rename``, as ``sys.audit`` calls them) is about to happen to a path that ends with SUFFIX.
For a rename, that is the path it leads to. Nothing of the program is changed.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from device.cli import main

event, suffix, left = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))


def step(name: str, about: tuple[Any, ...]) -> None:
    global left  # noqa: PLW0603 (this program is one function)
    if name == event and str(about[1 if name == "os.rename" else 0]).endswith(suffix):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.addaudithook(step)
    main()
