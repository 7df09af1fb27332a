"""What tells a process to stop, and how often it takes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ROOT

WAITS = """
import signal, sys
from device.stop import Stop
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1:] == ["nohup"] else signal.SIG_DFL)  # the tests may run under nohup
stop = Stop().on_signals()
print("ready", flush=True)
while not stop.wait(0.05):
    pass
print("stopped", flush=True)
sys.stdin.read()
"""


@contextmanager
def waiting(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that waits until it is told to stop, then for the end of its input."""
    command = [sys.executable, "-c", WAITS, *words]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_stops_in_order_and_the_second_at_once(number: signal.Signals) -> None:
    with waiting() as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(number)

        assert process.wait(10) == -number


def test_a_terminal_that_is_closed_does_not_stop_what_nohup_has_started() -> None:
    with waiting("nohup") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

        assert process.communicate(timeout=10)[0] == "stopped\n"
        assert process.returncode == 0
