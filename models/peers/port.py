"""How the workers are asked, and their side of it in Python (``port.mjs`` is the same for Node).

A request is one line of JSON on stdin, ``{"do": "faces" | "frames", "count", "height", "width", "channels"}``, followed by
``uint8[count, height, width, channels]``. The answer is one line of JSON on stdout: per picture what was *said* (the peer's own
word for the emotion, or how many faces were found) and the milliseconds that took, by the clock on the wall and on the processor.
The first line, unasked, is ``{"ready": true, "runtime"}``. A worker ends when its stdin does, so it never outlives us.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal

import numpy as np

from device.types import Pixels, wiped

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 300.0  # seconds for one answer
GRACE: Final = 8.0  # seconds to end by itself
What = Literal["faces", "frames"]


class PeerError(Exception):
    """A contestant cannot be measured; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker said about each picture, and the milliseconds it took: on the wall, and on the processor."""

    said: list[Any]
    wall: list[float]
    cpu: list[float]


class Worker:
    """A contestant's process, running as long as the ``with`` block lasts.

    Args:
        name: For messages.
        command: What to run.

    Raises:
        PeerError: It cannot be started, or ends by itself; the message holds the last thing that it said.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        try:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True
            )
        except OSError as error:
            self._log.close()
            raise PeerError(f"{name}: cannot start {command[0]} ({error.strerror})") from error
        self.runtime = ""

    def __enter__(self) -> Worker:
        try:
            self.runtime = str(self._answer()["runtime"])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def ask(self, what: What, pictures: Pixels) -> Answer:
        """Let it look at pictures, ``uint8[count, height, width, channels]``: grey faces (1 channel) or RGB frames (3).

        Raises:
            PeerError: It ended, or gave no answer in time.
        """
        count, height, width, channels = pictures.shape
        words = {"do": what, "count": count, "height": height, "width": width, "channels": channels}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(words).encode() + b"\n" + pictures.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return Answer(**self._answer())

    def peak_mb(self) -> float | None:
        """The most memory that it has had resident so far, in MB; ``None`` where the system does not tell."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmHWM:")), None)

    def close(self) -> None:
        """End it; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:
                continue
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()
        if not line:
            raise self._ended()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise PeerError(f"{self.name}: {line[:60].decode(errors='replace')!r} is no answer; is it another version?") from error
        return answer

    def _ended(self) -> PeerError:
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return PeerError(f"{self.name}: closed its pipe and went on")
        if code == -9:
            return PeerError(f"{self.name}: gave no answer within {PATIENCE:g} s, or was killed (out of memory?)")
        self._log.seek(0)
        said = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        last = next((line for line in reversed(said) if "Error" in line), said[-1] if said else "it said nothing")
        return PeerError(f"{self.name}: ended with code {code} ({last})")


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work returned, and its milliseconds on the wall and on the processor (all threads of this process)."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = work()
    return value, 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def serve(runtime: str, workers: dict[What, Callable[[Pixels], Callable[[], Any]]]) -> None:
    """Answer requests until stdin ends.

    Args:
        runtime: What the peer runs on, for people.
        workers: For each request, a function from one picture (``uint8[height, width, channels]``) to the work that is timed.
    """
    print(json.dumps({"ready": True, "runtime": runtime}), flush=True)
    for line in iter(sys.stdin.buffer.readline, b""):
        asked = json.loads(line)
        shape = (asked["count"], asked["height"], asked["width"], asked["channels"])
        content = bytearray(sys.stdin.buffer.read(int(np.prod(shape))))
        with wiped(np.frombuffer(content, np.uint8).reshape(shape)) as pictures:
            answers = [timed(workers[asked["do"]](picture)) for picture in pictures]
        said, wall, cpu = (list(column) for column in zip(*answers, strict=True))
        print(json.dumps({"said": said, "wall": wall, "cpu": cpu}), flush=True)
