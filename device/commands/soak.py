"""``mien soak``: the real processes for hours, measured from outside, with a log that loses nothing in a crash.

``watch`` runs as ``mien watch`` does, with its pictures timed (``_soaked``); ``send`` is ``mien send``. How long frames take tells
how many people are in view, so with a real camera it is told for the whole run only, and with a scene for each sample.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO
from uuid import uuid4

from device import durable
from device.commands._children import child
from device.commands._device import absolute, settings_text
from device.commands._files import check_writable, write
from device.commands.broker import embedded
from device.commands.subscriber import Subscriber
from device.errors import MienError, OutputError, WordsError
from device.looking import RECORDINGS
from device.settings import Settings, with_camera
from device.settings_care import CameraSettings
from device.soak import lost
from device.soak_plot import plot
from device.soak_report import report, text
from device.spool import seq_of
from device.stop import Stop
from device.usage import usage
from device.version import VERSION

SAMPLES: Final = 480  # of a run, unless they would be more than a minute or less than half a second apart
MAX_BYTES: Final = 256 * 2**20  # of a log
PATIENCE: Final = 30.0  # seconds for the last reports to arrive
HEARING: Final = 0.25  # seconds between two looks at what has arrived
EPSILON: Final = {"epsilon_window": 0.02, "epsilon_day": 500}  # noise as in a shop, and a budget for the shortest windows

Show = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for: seconds to run, seconds of a window, and where the log and the picture go."""

    seconds: float
    camera: str
    broker: str | None
    window: int
    log: Path
    picture: Path | None


def run(options: Options, show: Show) -> dict[str, Any]:
    """Run for so long, or until told to stop, and return the report.

    Raises:
        MienError: Something it needs is missing, or a process ended before it had worked.
        OutputError: The log or the picture cannot be written.
    """
    camera = with_camera(Settings(), absolute(options.camera)).camera
    check_writable(options.picture)
    stop = Stop().on_signals()
    with ExitStack() as stack:
        log = stack.enter_context(_opened(options.log))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-soak-")))
        url = options.broker or stack.enter_context(embedded(folder))
        device = f"soak-{uuid4().hex[:6]}"
        settings = folder / "settings.toml"
        settings.write_text(_settings(device, camera, url, folder, options.window))
        subscriber = stack.enter_context(Subscriber(url, device))
        _Run(options, camera, folder, subscriber, log).measure(stop, show)
    return again(options.log, options.picture)


def again(log: Path, picture: Path | None) -> dict[str, Any]:
    """The report of a log that is there, and its picture.

    Raises:
        WordsError: It is no log of a soak run.
        OutputError: The picture cannot be written.
    """
    lines = _lines(log)
    try:
        found, drawn = report(lines), "" if picture is None else plot(lines)
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # whatever another program puts into such lines
        raise WordsError(f"{log}: a line is not as mien soak writes it ({error!r}); give a log that nobody has changed") from error
    if picture is not None:
        write(picture, drawn)
    return found


def told(found: dict[str, Any], *, as_json: bool) -> str:
    """The report as it is printed."""
    return json.dumps(found) if as_json else text(found)


@dataclass(slots=True)
class _Run:
    """The processes of one run, from the first sample to the last line."""

    options: Options
    camera: CameraSettings
    folder: Path
    subscriber: Subscriber
    log: TextIO
    arrived: list[int] = field(default_factory=list)
    _began: float = 0.0

    def measure(self, stop: Stop, show: Show) -> None:
        """Start both, sample them until the time is over, stop them, and wait for what is on its way."""
        settings, name = str(self.folder / "settings.toml"), self.camera.source.partition(":")[0]
        recording = name in RECORDINGS
        said = {"camera": self.camera.source if recording else name, "planned_seconds": self.options.seconds, "software": VERSION}
        self._say({"begin": said})
        words = (settings, name, str(self.folder / "latency.json"))
        self._began = time.monotonic()
        with child("device.entry", "send", "--settings", settings, folder=self.folder, log="send.log") as send:
            with child("device.commands._soaked", *words, folder=self.folder, log="watch.log") as watch:
                why = self._sample({"watch": watch, "send": send}, stop, show, recording=recording)
            if not self._latency():
                raise MienError(f"mien watch has read no frame: {self._last_words('watch')}")
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and send.poll() is None and lost(self._made(), self.arrived):
                self._hear(HEARING)
        self._hear(0.0)
        missing, made = lost(self._made(), self.arrived), self._made()
        end_line = {
            "seconds": round(time.monotonic() - self._began, 1), "why": why, "made": made, "arrived": len(set(self.arrived)),
            "lost": missing, "twice": len(self.arrived) - len(set(self.arrived)), "latency": self._latency(),
            "exits": {"watch": watch.returncode, "send": send.returncode},
        }  # fmt: skip
        self._say({"end": end_line})

    def _sample(self, processes: dict[str, subprocess.Popen[bytes]], stop: Stop, show: Show, *, recording: bool) -> str:
        """Until something ends it; returns what did."""
        every = min(60.0, max(0.5, self.options.seconds / SAMPLES))
        due = self._began + every
        while (at := time.monotonic()) - self._began < self.options.seconds:
            self._hear(min(HEARING, max(0.01, due - at)))
            if stop():
                return "stopped"
            for name, process in processes.items():
                if process.poll() is not None:
                    ended = name == "watch" and recording and process.returncode == 0
                    return "the recording ended" if ended else f"mien {name} ended: {self._last_words(name)}"
            if (now := time.monotonic()) >= due:
                due += every * max(1, round((now - due) / every))
                held = {name: asdict(found) for name, one in processes.items() if (found := usage(one.pid))}
                took = {"latency": self._latency()} if recording else {}
                self._say({"at": round(now - self._began, 2), **held, "made": self._made(), "arrived": len(self.arrived), **took})
                show(now - self._began)
        return "the time is over"

    def _hear(self, seconds: float) -> None:
        """Note the reports that arrive within so long."""
        while (found := self.subscriber.next_report(timeout=max(0.001, seconds))) is not None:
            self.arrived.append(found.seq)
            seconds = 0.0

    def _made(self) -> int:
        return max((seq_of(file) for name in ("new", "sent") for file in (self.folder / "spool" / name).glob("*")), default=0)

    def _latency(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads((self.folder / "latency.json").read_text())
        except OSError:
            return {}
        return found

    def _last_words(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
        ours = [line.removeprefix("mien: ") for line in lines if line.startswith("mien: ")]
        return "; ".join(ours) or " / ".join(lines[-2:]) or "it says nothing"

    def _say(self, line: dict[str, Any]) -> None:
        """A line that is there also after a power cut."""
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()
        os.fsync(self.log.fileno())


def _lines(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; the last one may be cut off."""
    try:
        written = durable.read_given(log, MAX_BYTES).decode().splitlines()
        lines = [json.loads(line) for line in written if line.endswith("}")]
    except (OSError, ValueError) as error:
        raise WordsError(f"{log}: no log of a soak run ({error}); give one that mien soak has written") from None
    if not any("begin" in line for line in lines):
        raise WordsError(f"{log}: no log of a soak run; give one that mien soak has written")
    return lines


@contextmanager
def _opened(log: Path) -> Iterator[TextIO]:
    try:
        with open(log, "x", encoding="utf-8") as file:
            yield file
    except FileExistsError:
        raise OutputError(f"{log}: is there already; choose another --log, or see it again with --again {log}") from None
    except OSError as error:
        raise OutputError(f"{log}: cannot be written ({error.strerror}); choose another --log") from error


def _settings(device: str, camera: CameraSettings, url: str, folder: Path, window: int) -> str:
    return settings_text(
        folder,
        {"device": device, "window_seconds": window, **EPSILON, "max_hold": 1},
        {"camera": {"source": camera.source}, "broker": {"url": url, "longest_wait_seconds": 2.0}},
    )
