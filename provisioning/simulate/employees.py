"""The processes with simulated devices, as the one that started them sees them."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from provisioning.errors import BrokerError
from provisioning.simulate.worker import Share

ANSWERS: Final = 120.0  # seconds for a worker's next line, which comes every second on a machine that is not overloaded


class Employee:
    """A worker process, and the lines that it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, order: str) -> None:
        """Give an order: a line, see ``worker``."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then its lines end, which says so
            self._process.stdin.write(order)
            self._process.stdin.flush()

    def line(self) -> dict[str, Any]:
        """The next line. Raises BrokerError when the process ended."""
        try:
            line = self._lines.get(timeout=ANSWERS)
        except queue.Empty:
            line = None
        if line is None:
            raise BrokerError("a process with simulated devices ended or hangs; is there enough memory? Try fewer with -n")
        return line

    def dismiss(self) -> None:
        """End it, at once."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)


@contextmanager
def working(share: Share) -> Iterator[Employee]:
    """A process with these devices, for so long."""
    words = [sys.executable, "-m", "provisioning.simulate.worker"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    employee = Employee(process)
    try:
        employee.tell(share.line())
        yield employee
    finally:
        employee.dismiss()
