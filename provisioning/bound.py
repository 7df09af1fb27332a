"""A program of ours that ends with whoever started it, however that ends: ``python -m provisioning.bound PID MODULE WORDS…``.

Linux is asked to send SIGTERM when process PID, the parent, is gone (``prctl(2)``, PR_SET_PDEATHSIG). The child asks for itself: to
run code between fork and exec is not safe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def words(module: str, *given: str) -> list[str]:
    """The command line of a child of this process."""
    return [sys.executable, "-m", __name__, str(os.getpid()), module, *given]


def _become(parent: str, module: str, *given: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it was gone before it was asked for
        sys.exit(128 + signal.SIGTERM)
    sys.argv = [module, *given]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(*sys.argv[1:])
