"""``mien doctor``: is everything there that this device needs? One line each, and what to do where it is wrong."""

from __future__ import annotations

import json
import queue
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import click

from device import ledger, notice, plug
from device import settings as settings_file
from device.bound import bind
from device.cameras import open_camera
from device.choice import read_choice
from device.clock import SYNCHRONIZED, kept_by_the_kernel
from device.commands._machine import LOOKS
from device.commands.show import explain as explain_twin
from device.contract import Status, dump, topic
from device.errors import EndOfFrames, MienError, SettingsError
from device.gpio import open_controls
from device.machine import ROOT
from device.model_store import read_progress
from device.policy import INFERENCES
from device.process import LOCK_LIMIT, Protection
from device.publishers import Connected, Disconnected, Message
from device.settings import Settings
from device.spool import Spool
from device.tflite import find_runtime
from device.twin_keeper import in_force, kept, told
from device.watch import load_nets

BROKER_TIMEOUT: Final = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and what to do when it is not good."""

    name: str
    ok: bool
    finding: str


def run(file: Path | None, protection: Protection, *, as_json: bool, without: Collection[str] = ()) -> int:
    """Check everything, print it, and return the exit code: 0 when all is well, else 1.

    Args:
        file: The settings.
        protection: What this system has granted to this process, as it would to ``mien watch``.
        as_json: Print JSON.
        without: Checks to leave out.
    """
    try:
        settings = bind(settings_file.load(file))
        first = Check("settings", True, f"{file or settings_file.SYSTEM_FILE}: every key is good")
    except MienError as error:
        settings = Settings()
        first = Check("settings", False, f"{error} (the checks below use the defaults)")
    looks: dict[str, Callable[[Settings], str]] = {
        "policy": _policy,
        "notice": _notice,
        "runtime": _runtime,
        "models": _models,
        "memory": lambda _: _memory(protection),
        "camera": _camera,
        "clock": _clock,
        **{name: _of_the_machine(look) for name, look in LOOKS.items()},
        "spool": _spool,
        "budget": _budget,
        "broker": _broker,
    }
    if settings.consent.pins:
        looks["gpio"] = _gpio
    if settings.broker.twin:
        looks = {"twin": _twin, **{name: _as_in_force(look) for name, look in looks.items()}}
    checks = [first]
    if not as_json:
        _print(first)
    for name, look in looks.items():
        if name in without:
            continue
        try:
            check = Check(name, True, look(settings))
        except MienError as error:
            check = Check(name, False, str(error))
        checks.append(check)
        if not as_json:
            _print(check)
    ok = all(check.ok for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": int(ok), "checks": [asdict(check) for check in checks]}, indent=2))
    return 0 if ok else 1


def _print(check: Check) -> None:
    mark = click.style("ok   ", fg="green") if check.ok else click.style("wrong", fg="red", bold=True)
    first, *more = check.finding.splitlines()
    click.echo(f"{mark}  {check.name:<9} {first}")
    for line in more:
        click.echo(f"{'':<17}{line}")


def _as_in_force(look: Callable[[Settings], str]) -> Callable[[Settings], str]:
    """The same check of the settings that people are watched with."""
    return lambda settings: look(in_force(settings))


def _twin(settings: Settings) -> str:
    said = told(settings) or kept(settings)
    if said is not None and said.state == "rejected":
        raise MienError(f"{explain_twin(settings, said)}\nset what fits this device's own file with mien-fleet set")
    return explain_twin(settings, said)


def _policy(settings: Settings) -> str:
    stated, policy = settings.policy.stated, settings.policy.decided
    may = [inference for inference in INFERENCES if inference in policy.may]
    told = [f"{inference} may not be inferred: {policy.why[inference]}" for inference in INFERENCES if inference not in policy.may]
    found = "\n".join((f"{policy.id} permits {', '.join(may)}", *told))
    if policy.region == "unknown":
        missing = [f"{key} is not stated" for key in ("setting", "jurisdiction") if getattr(stated, key) is None]
        wrong = "; ".join(missing) or f"jurisdiction {stated.jurisdiction!r} is not known (expected a country's two letters, or EU)"
        raise MienError(
            f"{wrong}: the strictest rules apply, and people are counted without any emotion; set it under [policy]\n{found}"
        )
    return found


def _notice(settings: Settings) -> str:
    made = notice.message(settings)
    if made is None:
        raise MienError("nobody is named as responsible, so no notice can be made; set responsible and contact under [notice]")
    return (
        f"{len(dump(made))} bytes in {made.language!r}, sent to up/notice; to print it: mien notice --format html --out notice.html"
    )


def _gpio(settings: Settings) -> str:
    try:
        open_controls(settings.consent).close()
    except SettingsError as error:
        if "in use" in str(error) or "busy" in str(error):
            return f"{error} (mien watch may be using it)"
        raise
    return ", ".join(f"{name} {pin}" for name, pin in settings.consent.pins.items()) + ": there and free"


def _runtime(settings: Settings) -> str:
    name, _ = find_runtime(settings.models.runtime)
    return f"{name} is installed"


def _models(settings: Settings) -> str:
    nets = load_nets(settings)
    read_choice(settings.state_folder)
    read_progress(settings.state_folder)
    emotion = f"emotion {nets.emotion.model.sha256[:12]}…" if nets.emotion_net else "no emotion model, as the policy has it"
    wanted = settings.models
    detector = f"{wanted.detector} camera" if wanted.detector == "back" else f"{wanted.detector} range"
    return f"face {nets.face.model.sha256[:12]}… ({detector}, tiles = {wanted.tiles}), {emotion}: hashes and tensors are right"


def _memory(protection: Protection) -> str:
    if complaints := protection.complaints():
        raise MienError("\n".join(complaints))
    swap = {
        "locked": "memory is locked, so nothing of it is swapped",
        "no swap": "there is no swap",
        "may be swapped": f"swap is on and memory cannot be locked here: mien watch needs {LOCK_LIMIT}, or no swap",
    }
    return f"no core dumps; what is freed is overwritten; {swap[protection.memory]}"


def _camera(settings: Settings) -> str:
    with closing(open_camera(settings.camera)) as camera:
        began = time.monotonic()
        try:
            with camera.take() as frame:
                width, height = frame.size
        except EndOfFrames:
            raise MienError(f"{settings.camera.source}: the recording has no frame; give another one") from None
    return f"{settings.camera.source}: a frame of {width}x{height} after {time.monotonic() - began:.2f} s"


def _of_the_machine(look: Callable[[Settings, Path], str]) -> Callable[[Settings], str]:
    return lambda settings: look(settings, ROOT)


def _clock(_: Settings) -> str:
    if SYNCHRONIZED.exists():
        return "set from the network"
    if kept_by_the_kernel():
        return (
            "kept by another program than systemd-timesyncd; a service may not ask for that unless its unit says ProtectClock=no "
            "and SystemCallFilter=adjtimex: else reports say clock = unsynced"
        )
    return "not set from the network: reports say clock = unsynced; windows do not depend on it"


def _spool(settings: Settings) -> str:
    folder = settings.spool.folder
    for side in ("watch", "send"):
        try:
            Spool(folder, side).close()
        except MienError as error:
            if "another" not in str(error):
                raise
    free = shutil.disk_usage(folder).free / 1024 / 1024
    if free < settings.spool.megabytes:
        raise MienError(f"{folder}: {free:.0f} MB free, the spool may need {settings.spool.megabytes:g}; free space, or lower it")
    waiting = sum(1 for _ in (folder / "new").iterdir())
    return f"{folder}: writable, {free:.0f} MB free, {waiting} reports waiting, room for {settings.spool_files}"


def _budget(settings: Settings) -> str:
    if settings.noise == "off":
        return "noise is off: there is no ε to spend, and each report says so"
    return ledger.look(settings.state_folder)


def _readable(path: Path) -> bool:
    """Whether this user may read a file; also where there is none, which is another mistake."""
    try:
        path.open("rb").close()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _broker(settings: Settings) -> str:
    if (key := settings.broker.key_file) is not None and not _readable(key):
        return f"{settings.broker.url}: not tried: {key} is another user's, as it should be; see systemctl status mien-send"
    # A name and a status topic of its own, so that a device that is running keeps its session and its status.
    probe = f"doctor-{uuid4().hex[:8]}"
    will = Message(topic(probe, "up/status"), dump(Status(schema=1, state="lost", session="00000000")), retain=False)
    publisher = plug.find("device.publishers", settings.broker.publisher).open_publisher(settings.broker, probe, (), will)
    try:
        match publisher.events.get(timeout=BROKER_TIMEOUT):
            case Connected():
                return f"{settings.broker.url}: connected, MQTT 5; whether it takes reports shows when it gets one"
            case Disconnected(reason):
                raise MienError(reason)
            case other:
                raise MienError(f"{settings.broker.url}: unexpected {other}")
    except queue.Empty:
        raise MienError(f"{settings.broker.url}: no answer within {BROKER_TIMEOUT:.0f} s; does it speak MQTT 5?") from None
    finally:
        publisher.close(None, 2.0)
