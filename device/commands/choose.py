"""``mien bench --choose``: which form of the face detector is the fastest on this device, and no worse.

All detectors and forms look at the same drawn scenes in turn, so that a machine that slows down slows all of them. A form is no
worse when it finds the faces that float16 finds there, but for one in a hundred, and as few others.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from device.choice import USUAL, Choice, write_choice
from device.commands.bench import SCENES, drawn
from device.errors import MienError
from device.manifest import FOLDER, Manifest, read_manifest
from device.nets.face import DETECTORS, FaceNet, overlaps
from device.settings import ModelSettings, Settings
from device.tflite import find_runtime
from device.types import Face, Frame, Pixels

REFERENCE: Final = "float16"
WORSE: Final = 0.01  # share of the faces that may be missing, or too many
FASTER: Final = 0.95  # of the default form's time: what takes longer than this is not worth a change
SAME: Final = 0.5  # overlap of two boxes around one face
WARM_UP: Final = 3
FORMS: Final = [form for form in get_args(ModelSettings.model_fields["form"].annotation) if form != "auto"]


@dataclass
class Runner:
    """One form of one detector, and what it has done so far."""

    detector: str
    form: str
    net: FaceNet
    size: int
    seconds: list[float] = field(default_factory=list)
    faces: list[tuple[Face, ...]] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        return 1000 * statistics.median(self.seconds)

    def look(self, picture: Pixels) -> None:
        with Frame(picture.copy(), 0.0) as frame:
            began = time.perf_counter()
            faces = self.net(frame)
            self.seconds.append(time.perf_counter() - began)
        self.faces.append(faces)


def run(settings: Settings, frames: int, *, write: bool, as_json: bool) -> str:
    """Measure, choose, and keep the choice if that is wanted; returns the figures as text or JSON.

    Raises:
        ModelError, RuntimeMissingError: The models cannot be loaded.
        OutputError: The choice cannot be kept.
    """
    wanted = settings.models
    manifest, runtime = read_manifest(wanted.folder or FOLDER), find_runtime(wanted.runtime)[0]
    runners = measure(manifest, settings, frames)
    rows = [row for detector in DETECTORS for row in _rows([runner for runner in runners if runner.detector == detector])]
    model = DETECTORS[wanted.detector].name
    form = choose([row for row in rows if row["detector"] == wanted.detector], USUAL)
    choice = Choice(runtime=runtime, detector=wanted.detector, form=form, sha256=manifest.file(model, form).sha256)
    figures = {
        "runtime": runtime,
        "detector": wanted.detector,
        "tiles": wanted.tiles,
        "form": form,
        "written": str(write_choice(settings.state_folder, choice)) if write else None,
        "forms": rows,
    }
    return json.dumps(figures, indent=2) if as_json else _table(figures, settings)


def measure(manifest: Manifest, settings: Settings, frames: int) -> list[Runner]:
    """Load every form that there is and let all look at the same pictures, in turn."""
    wanted, runners = settings.models, []
    for detector, graph in DETECTORS.items():
        for form in FORMS:
            if graph.name in manifest.entries and form in manifest[graph.name].forms:
                file = manifest.file(graph.name, form)
                net = FaceNet(file, detector=detector, tiles=wanted.tiles, runtime=wanted.runtime)
                runners.append(Runner(detector, form, net, file.path.stat().st_size))
    if not any((runner.detector, runner.form) == (wanted.detector, REFERENCE) for runner in runners):
        raise MienError(
            f"{manifest.folder / 'manifest.json'}: {wanted.detector} has no form {REFERENCE} to compare with; reinstall mien"
        )
    pictures = drawn(min(SCENES, frames))
    for number in range(-WARM_UP, frames):
        for runner in runners:
            runner.look(pictures[number % len(pictures)])
            if number < 0:
                runner.seconds.clear()
                runner.faces.clear()
    return runners


def _rows(runners: list[Runner]) -> list[dict[str, Any]]:
    """The figures of one detector's forms."""
    reference = next((runner for runner in runners if runner.form == REFERENCE), None)
    rows = []
    for runner in runners:
        row = {"detector": runner.detector, "form": runner.form, "ms": round(runner.milliseconds, 3), "bytes": runner.size}
        if reference is not None:
            truths = sum(map(len, reference.faces))
            both = sum(_same(*pair) for pair in zip(runner.faces, reference.faces, strict=True))
            found = sum(map(len, runner.faces))
            row |= {"found": round(both / max(1, truths), 4), "more": round((found - both) / max(1, truths), 4)}
        rows.append(row)
    return rows


def _same(found: tuple[Face, ...], wanted: tuple[Face, ...]) -> int:
    """How many of the wanted faces are among those found."""
    return sum(any(overlaps(face.box, other.box) > SAME for other in found) for face in wanted)


def choose(rows: list[dict[str, Any]], default: str) -> str:
    """The fastest of one detector's forms that is no worse; the default one if none is clearly faster."""
    good = [row for row in rows if 1 - row["found"] <= WORSE and row["more"] <= WORSE]
    usual = next((row for row in good if row["form"] == default), None)
    best = min(good, key=lambda row: float(row["ms"]))
    return default if usual is not None and best["ms"] > FASTER * usual["ms"] else str(best["form"])


def _table(figures: dict[str, Any], settings: Settings) -> str:
    lines = [
        f"a drawn frame of 640x480 pixels, tiles = {figures['tiles']}, {figures['runtime']}, one thread; medians",
        f"{'detector':<10}{'form':<14}{'ms':>8}{'of float16':>12}{'more':>8}{'KB':>8}",
    ]
    for row in figures["forms"]:
        mark = "  <- " if (row["detector"], row["form"]) == (figures["detector"], figures["form"]) else ""
        lines.append(
            f"{row['detector']:<10}{row['form']:<14}{row['ms']:>8.2f}{row['found']:>12.1%}{row['more']:>8.1%}"
            f"{row['bytes'] / 1000:>8.0f}{mark}"
        )
    kept = figures["written"]
    lines += ["", f"{figures['detector']}: {figures['form']} is the fastest form that is no worse"]
    if kept:
        wins = (
            ""
            if settings.models.form == "auto"
            else f'; but [models] form = "{settings.models.form}" in the settings goes before it'
        )
        lines.append(f"written to {Path(kept)}, and taken at the next start{wins}")
    else:
        lines += ["to use it, add --write, or set:", "", "[models]", f'form = "{figures["form"]}"']
    return "\n".join(lines)
