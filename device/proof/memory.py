"""Drives the process that is searched, and searches it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device.errors import MienError
from device.proof import canary, pictures
from device.proof.search import find_in_process, fingerprints

HERE: Final = Path(__file__).resolve().parents[2]
FORMS: Final = ("RGB", "BGR", "grey", "NV12", "float32", "int8", "rows")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stage did, and what was found in memory a second later.

    Attributes:
        read: Faces that were read.
        failed: How often the stage failed, as it was told to.
        found: Hits by form and place.
    """

    read: int
    failed: int
    found: Counter[str]


class Subject:
    """A running process with the pipeline of ``mien watch`` in it."""

    def __init__(self, process: subprocess.Popen[str], needles: tuple[canary.Needle, ...]) -> None:
        self._process = process
        self._needles = needles
        self._before = fingerprints(process.pid)  # it has not seen a picture yet

    def run(self, stage: str, frames: int, *, wait: bool = True) -> Answer:
        """Let pictures through, with failures in one stage, and search: a second later, or at once."""
        read, failed = self._ask(f"{'run' if wait else 'now'}|{stage}|{frames}").split()
        return Answer(int(read), int(failed), self.search())

    def plant(self, form: str) -> Counter[str]:
        """Keep one picture in this form, search, and let go of it."""
        self._ask(f"plant|{form}")
        try:
            return self.search()
        finally:
            self._ask("forget")

    def forgotten(self) -> Counter[str]:
        """Keep pictures and let go of them without wiping them, as a library would, and search."""
        for form in FORMS:
            self._ask(f"plant|{form}")
        self._ask("forget")
        return self.search()

    def search(self) -> Counter[str]:
        """What is found in the process, which stands still meanwhile."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            return find_in_process(self._process.pid, self._needles, self._before)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return answered(self._process)


def answered(process: subprocess.Popen[str]) -> str:
    """One line of the process.

    Raises:
        MienError: It has ended instead.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise MienError(f"the process that was to be searched has ended with {process.wait()}; see what it said above")
    return line.rstrip("\n")


@contextmanager
def subject(code: Path = HERE) -> Iterator[Subject]:
    """Start the pipeline, with pictures to look at.

    Args:
        code: Where the package ``device`` is; the tests use changed copies of it.

    Raises:
        MienError: It does not start.
    """
    with tempfile.TemporaryDirectory(prefix="mien-proof-") as name:
        folder = Path(name)
        pictures.write(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "device.proof.pipeline", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(code)},
        )  # fmt: skip
        try:
            yield Subject(process, canary.needles(_tensors(json.loads(answered(process)))))
        finally:
            process.kill()
            process.communicate()


def _tensors(kinds: list[Any]) -> list[canary.Tensor]:
    """What the models hold; a layer a little wider than the input of the same channels is that, with a border."""
    inputs = {(model, channels): width for model, width, channels, _ in kinds if channels <= 3}
    return [
        canary.Tensor(model, inputs.get((model, channels), width), width, channels, number)
        for model, width, channels, number in kinds
        if number in canary.NUMBERS
    ]
