"""Processes of our own that a command starts and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE = 8.0  # seconds to end by itself


@contextmanager
def child(module: str, *words: str, folder: Path, log: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m module words`` as long as the block lasts.

    It is in a session of its own, so that Ctrl-C reaches only us, and we end it; its standard input closes when we are gone.

    Args:
        folder: Where it works, and where what it says is written.
        log: The name of that file.
    """
    ours = str(Path(__file__).parents[2])
    with open(folder / log, "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.PIPE,
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
        if process.stdin is not None:
            process.stdin.close()
