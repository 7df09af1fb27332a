"""Processes of our own that a command starts and ends."""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

GRACE: Final = 8.0  # seconds to end by itself
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


@contextmanager
def child(module: str, *words: str, folder: Path, log: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m module words`` as long as the block lasts, and no longer than this process, however that ends.

    It is in a session of its own, so that Ctrl-C reaches only us, and we end it.

    Args:
        folder: Where it works, and where what it says is written.
        log: The name of that file.
    """
    ours = str(Path(__file__).parents[2])
    with open(folder / log, "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, module, *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=folder,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _become(module: str, *words: str) -> None:
    """In the new process: ask the kernel to end it when its parent is gone, then run the module."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(*sys.argv[1:])
