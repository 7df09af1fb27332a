"""``mien bench``: how long the models take alone, and how long everything around them.

The frames are drawn beforehand, so drawing is not counted. Each figure is a median over all frames, measured in one run. What it
costs to protect pictures and to look for cards is measured by ``_cost``.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from device.cameras import CameraOptions
from device.cameras.composite import open_camera
from device.commands import _cost
from device.commands._children import child
from device.consent import Consent
from device.errors import MienError
from device.nets import emotion, face
from device.nets.cards import Door
from device.observe import observe
from device.settings import ModelSettings, Settings
from device.settings_policy import PolicySettings
from device.tflite import Wanted, copies
from device.tracks import Tracks
from device.types import Frame, Pixels
from device.watch import Nets, load_nets
from device.window import Windows

Given = ParamSpec("Given")
Result = TypeVar("Result")

RESEARCH: Final = PolicySettings(setting="research", jurisdiction="EU")  # which permits all that is timed
SCENES: Final = 20  # different frames
WARM_UP: Final = 10
SECONDS_OF_MEMORY: Final = 6  # for which each process is watched


def run(frames: int, runtime: str, *, as_json: bool) -> str:
    """Measure, and return the figures as text or JSON.

    Raises:
        ModelError, RuntimeMissingError: The models cannot be loaded.
    """
    nets = load(runtime)
    figures = _measure(Scene(nets, drawn(SCENES)), frames)
    cost = _cost.measure(frames // 2, runtime)
    figures["privacy_cost"] = cost.as_json()
    figures["rss_mb"] = {"watch": _rss("watch", runtime), "send": _rss("send", runtime)}
    figures["runtime"] = nets.face.model.runtime
    return json.dumps(figures, indent=2) if as_json else _table(figures, cost)


def load(runtime: str) -> Nets:
    """The models of the default settings.

    Raises:
        ModelError, RuntimeMissingError: They cannot be loaded.
    """
    wanted: Wanted = runtime  # type: ignore[assignment]  # click has checked it
    return load_nets(Settings(models=ModelSettings(runtime=wanted), policy=RESEARCH))


def drawn(count: int) -> list[Pixels]:
    """Different pictures of the composite scene."""
    options = CameraOptions(fps=0.5, fast=True)
    with closing(open_camera("", options)) as camera:
        pictures = []
        for _ in range(count):
            with camera.take() as frame:
                pictures.append(frame.pixels.copy())
    return pictures


class Scene:
    """Pictures, one after the other through all that ``watch`` does with a frame.

    Args:
        nets: The models.
        pictures: They are shown again and again.
        cards: Whether cards are looked for.
    """

    def __init__(self, nets: Nets, pictures: list[Pixels], *, cards: bool = True) -> None:
        self.nets = nets
        self.pictures = pictures
        self._tracks, self._windows = Tracks(), Windows(10, 0.2)
        self._door = Door(nets.face, Consent())
        self._choose = self._door.choose if cards else None
        self._number = 0

    def draw(self) -> Frame:
        """The next frame."""
        self._number += 1
        return Frame(self.pictures[self._number % len(self.pictures)].copy(), self._number * 0.2)

    def look(self, frame: Frame) -> int:
        """All that ``watch`` does with one frame; returns how many faces were in it."""
        seen = observe(lambda: frame, self._door.faces, self.nets.emotion, self._choose)
        while self._windows.due(seen.taken_at):
            self._tracks.close_window()
        self._windows.frame(seen.taken_at)
        self._tracks.see(seen)
        return len(seen.sightings)


def _measure(scene: Scene, frames: int) -> dict[str, Any]:
    stages: dict[str, list[float]] = {
        name: [] for name in ("face_prepare", "face_invoke", "face_decode", "emotion_prepare", "emotion_invoke", "blank_invoke")
    }
    nets = scene.nets
    whole, bare, faces_seen = [], [], []
    for number in range(-WARM_UP, frames):
        took, faces = _timed(scene.look, scene.draw())
        face_invoke, _ = _timed(nets.face.model.invoke)
        emotion_invoke = statistics.median(_timed(nets.emotion.model.invoke)[0] for _ in range(max(1, faces)))
        if number < 0:
            continue
        whole.append(took)
        bare.append(nets.face.passes * face_invoke + faces * emotion_invoke)
        faces_seen.append(faces)
        stages["face_invoke"].append(face_invoke)
        stages["emotion_invoke"].append(emotion_invoke)
        stages["blank_invoke"].append(_timed(nets.emotion.model.scrub)[0])  # after the last face; not part of each frame
        _stages(stages, nets, scene.pictures[number % len(scene.pictures)])
    frame_ms, invoke_ms = 1000 * statistics.median(whole), 1000 * statistics.median(bare)
    return {
        "frame_ms": round(frame_ms, 3),
        "invoke_ms": round(invoke_ms, 3),
        "overhead_ratio": round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3),
        "frames_per_second": round(1000 / frame_ms, 1),
        "faces_per_frame": round(statistics.mean(faces_seen), 1),
        "stages": {name: round(1000 * statistics.median(times), 4) for name, times in stages.items() if times},
    }


def _stages(stages: dict[str, list[float]], nets: Nets, picture: Pixels) -> None:
    """Time what surrounds the models, on plain arrays of the same shapes as their inputs."""
    net = nets.face
    target = np.zeros(net.detector.inputs[0].shape, net.model.input_dtype)
    seconds, box = _timed(net.prepare, picture, target)
    stages["face_prepare"].append(seconds)
    boxes, logits = net.model.run(lambda out: np.copyto(out, target), copies)
    seconds, found = _timed(lambda: face.merge(*face.hits(net.detector, boxes, logits, box, face.MIN_SCORE)))
    stages["face_decode"].append(seconds)
    if found:
        crop, table = np.zeros(emotion.INPUTS[0].shape, np.float32), emotion.levels(0.0, 0, np.dtype(np.float32))
        seconds, _ = _timed(emotion.prepare, Frame(picture, 0.0), found[0], table, crop)
        stages["emotion_prepare"].append(seconds)


def _timed(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> tuple[float, Result]:
    """Seconds that a call took, and what it returned."""
    began = time.perf_counter()
    result = work(*args, **kwargs)
    return time.perf_counter() - began, result


def _rss(name: str, runtime: str) -> float:
    """Resident memory of a real process of that name, in MB, while it works."""
    with tempfile.TemporaryDirectory(prefix="mien-bench-") as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text(
            f'window_seconds = 5\nnoise = "off"\nrun_folder = "{folder}/run"\ninbox_folder = "{folder}/inbox"\n'
            f'send_folder = "{folder}/send"\n'
            f'[policy]\nsetting = "research"\njurisdiction = "EU"\n'
            f'[camera]\nsource = "composite"\n[models]\nruntime = "{runtime}"\n'
            f'[spool]\nfolder = "{folder}/spool"\n[broker]\nurl = "mqtt://127.0.0.1:9"\n'
        )
        with child("device.entry", name, "--settings", str(settings), folder=Path(folder), log="log") as process:
            memory, end = 0.0, time.monotonic() + SECONDS_OF_MEMORY
            while time.monotonic() < end and process.poll() is None:
                memory = max(memory, _resident(process.pid))
                time.sleep(0.1)
            if process.poll() is not None:
                raise MienError(f"mien {name} ended by itself with {process.returncode}; see mien doctor")
        return round(memory, 1)


def _resident(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0.0)


def _table(figures: dict[str, Any], cost: _cost.Cost) -> str:
    share, cards = cost.everything, cost.cards
    sure = f"95 %: {100 * share.low:.1f} to {100 * share.high:.1f}"
    most = f"half of the pictures: {100 * share.first_quarter:.1f} to {100 * share.last_quarter:.1f}"
    lines = [
        f"a frame with {figures['faces_per_frame']:g} faces   {figures['frame_ms']:8.2f} ms   ({figures['runtime']}, one thread)",
        f"the models alone        {figures['invoke_ms']:8.2f} ms",
        f"overhead ratio          {figures['overhead_ratio']:8.2f}",
        f"frames per second       {figures['frames_per_second']:8.1f}",
        f"memory of watch, send   {figures['rss_mb']['watch']:8.1f} MB, {figures['rss_mb']['send']:.1f} MB",
        f"cost of privacy         {100 * share.share:8.1f} %   ({sure}; {most})",
        f"  looking for cards     {100 * cards.share:8.1f} %   (95 %: {100 * cards.low:.1f} to {100 * cards.high:.1f})",
        f"  processor time        {cost.ms_protected:8.2f} ms a frame, {cost.ms_bare:.2f} ms without any of it",
        "stages (median, ms):",
    ]
    lines += [f"  {name.replace('_', ' '):<20}  {value:8.3f}" for name, value in figures["stages"].items()]
    return "\n".join(lines)
