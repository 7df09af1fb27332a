"""``mien demo``: the real thing on one machine, for a minute.

Broker, ``watch`` and ``send`` are processes of their own, as on a device; this one is the fleet: it subscribes, and draws.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from device import health
from device.commands._children import child
from device.commands._device import absolute, settings_text
from device.commands._files import check_writable, write
from device.commands.broker import embedded
from device.commands.subscriber import Subscriber
from device.contract import Report, dump
from device.errors import BrokerError, CameraError, MienError, WordsError
from device.scene import Scene
from device.settings import BrokerSettings, Settings, with_camera
from device.settings_care import CameraSettings
from device.spool import seq_of
from device.stop import Stop

K: Final = 2
PATIENCE: Final = 25.0  # seconds beyond the planned end after which missing reports are not waited for any more


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    camera: str
    broker: str | None
    seconds: int
    window: int
    seed: int
    as_json: bool
    truth: Path | None
    picture: Path | None


class DemoError(MienError):
    """A process of the demo ended by itself."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # the failed process's own


def run(options: Options) -> int:
    """Run the demo and return its exit code.

    Raises:
        MienError: Something it needs is missing, or one of its processes failed; the message says which and why.
    """
    camera = with_camera(Settings(), absolute(options.camera)).camera
    _check(options)
    screen = _screen(options)
    with ExitStack() as stack:
        stop = Stop().on_signals()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-demo-")))
        url = options.broker or stack.enter_context(embedded(folder))
        device = f"demo-{uuid4().hex[:6]}"
        settings = folder / "settings.toml"
        settings.write_text(_settings(device, camera, url, folder, options))
        subscriber = stack.enter_context(Subscriber(url, device))
        stack.enter_context(screen)
        watch = stack.enter_context(child("device.entry", "watch", "--settings", str(settings), folder=folder, log="watch.log"))
        send = stack.enter_context(child("device.entry", "send", "--settings", str(settings), folder=folder, log="send.log"))
        reports: list[Report] = []
        wanted = max(1, options.seconds // options.window)
        end = time.monotonic() + options.seconds + PATIENCE
        while len(reports) < wanted and not stop() and time.monotonic() < end:
            over = watch.poll() is not None
            if over and watch.returncode:
                raise _failure("watch", watch, folder)
            if send.poll() is not None:
                raise _failure("send", send, folder)
            unseen = all(report.withheld == "unwatched" for report in reports)
            blind = unseen and health.read(folder / "run", time.monotonic()).trouble == "camera"
            if blind and (said := _said(folder, "watch")):  # in the field it would wait for its camera
                raise CameraError(said[-1])
            report = subscriber.next_report(timeout=0.2)
            if report is not None:
                reports.append(report)
                screen.show(report)
            elif over and len(reports) >= _made(folder / "spool"):
                break
            screen.tick()
        missing = wanted - len(reports) if time.monotonic() >= end else 0
        troubles = _troubles(folder)
    if options.truth is not None:
        _write_truth(options, reports)
    screen.summary(reports)
    if options.picture is not None:
        screen.save(options.picture)
    if missing and not stop():
        why = "; ".join(troubles) or "nothing was said why; see mien doctor"
        raise BrokerError(f"{missing} of {wanted} reports did not arrive within {options.seconds + PATIENCE:.0f} s: {why}")
    return 0


def _check(options: Options) -> None:
    """Refuse what cannot be done before anything starts."""
    if options.window > options.seconds:
        raise WordsError(f"--window {options.window} is longer than --seconds {options.seconds}: no window would end")
    if options.truth is not None and options.camera.partition(":")[0] != "composite":
        raise WordsError(f"--truth: only a composite scene has a known truth, not {options.camera!r}")
    if options.picture is not None and options.as_json:
        raise WordsError("--picture: there is no picture with --json; leave one of the two out")
    if options.broker is not None:
        try:
            plain = not BrokerSettings(url=options.broker).tls
        except ValidationError:
            plain = False
        if not plain:
            raise WordsError("--broker: expected mqtt://host:port, without a name and a password")
    for file in (options.truth, options.picture):
        check_writable(file)


def _screen(options: Options) -> Any:
    if options.as_json:
        return JsonLines()
    try:
        from device.commands.screen import Screen
    except ImportError as error:
        raise MienError("the demo draws with rich, which is not installed; pip install 'mien[demo]', or use --json") from error
    return Screen(options.camera, options.window, options.seconds, options.broker)


class JsonLines:
    """Reports as JSON lines on standard output."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, report: Report) -> None:
        sys.stdout.write(dump(report).decode() + "\n")
        sys.stdout.flush()

    def tick(self) -> None:
        pass

    def summary(self, reports: list[Report]) -> None:
        pass

    def save(self, file: Path) -> None:
        pass


def _settings(device: str, camera: CameraSettings, url: str, folder: Path, options: Options) -> str:
    return settings_text(
        folder,
        {"device": device, "window_seconds": options.window, "k": K, "noise": "off", "demo": True},
        {
            "camera": {"source": camera.source, "seed": options.seed},
            "spool": {"days": 1.0},
            "broker": {"url": url, "keepalive_seconds": 10, "longest_wait_seconds": 2.0},
        },
    )


def _failure(name: str, process: subprocess.Popen[bytes], folder: Path) -> DemoError:
    lines = (folder / f"{name}.log").read_text(errors="replace").splitlines()
    ours = [line.removeprefix("mien: ") for line in lines if line.startswith("mien: ")]
    return DemoError("; ".join(ours) or f"mien {name} ended: {' / '.join(lines[-3:])}", process.returncode)


def _made(spool: Path) -> int:
    """How many reports were made so far: the highest sequence number."""
    return max((seq_of(file) for name in ("new", "sent") for file in (spool / name).glob("*")), default=0)


def _troubles(folder: Path) -> list[str]:
    """The last warning or error of each process."""
    return [line for name in ("watch", "send") for line in _said(folder, name)[-1:]]


def _said(folder: Path, name: str) -> list[str]:
    """Its warnings and errors."""
    lines = [json.loads(line) for line in (folder / f"{name}.log").read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line.get("level") in ("warning", "error")]


def _write_truth(options: Options, reports: list[Report]) -> None:
    _, _, address = options.camera.partition(":")
    script = Scene(int(address or options.seed), CameraSettings().width, CameraSettings().height)
    windows = []
    for report in reports:
        truth = script.truth((report.seq - 1) * options.window, options.window)
        start = report.span.model_dump(mode="json")["start"]
        windows.append({"seq": report.seq, "start": start, **asdict(truth)})
    if options.truth is not None:
        write(options.truth, json.dumps({"windows": windows}, indent=2) + "\n")
