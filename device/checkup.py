"""``mien doctor`` beside the watching process, which goes on meanwhile: what it finds, without its words.

Its words may name files, hosts and people in charge; what goes up is the name of each check, and whether it is good.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, get_args

from device.contract_command import Check, Finding, Reason

LONGEST: Final = 60.0  # seconds
HELD: Final = ("camera", "broker")  # by the processes that run; they say themselves how these are


class Checkup:
    """A doctor at work, in a process of its own.

    Args:
        settings: The settings file; ``None``: where it always is.
    """

    def __init__(self, settings: Path | None) -> None:
        words = [*("--settings", str(settings))] if settings else []
        without = [word for name in HELD for word in ("--without", name)]
        self._end = time.monotonic() + LONGEST
        self._process = subprocess.Popen(
            [sys.executable, "-m", "device.entry", "doctor", "--json", *without, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __call__(self) -> dict[Check, Finding] | Reason | None:
        """What was found, or why nothing was; ``None`` while it works. What it says fits into a pipe, so it never waits for us."""
        if self._process.poll() is None:
            if time.monotonic() < self._end:
                return None
            self.close()
            return "timeout"
        assert self._process.stdout is not None
        with self._process.stdout as said:
            return findings(said.read())

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def findings(said: bytes) -> dict[Check, Finding] | Reason:
    """The names of the checks in what ``mien doctor --json`` prints, and whether each is good."""
    try:
        checks = {str(check["name"]): bool(check["ok"]) for check in json.loads(said)["checks"]}
    except (ValueError, KeyError, TypeError):
        return "unavailable"
    return {name: "ok" if checks[name] else "wrong" for name in get_args(Check) if name in checks}
