"""Which form of the detector a device loads: the settings, else what was measured here, else the usual one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from device.choice import NAME, Choice, form_for, read_choice, write_choice
from device.commands import choose
from device.errors import ModelError, OutputError
from device.manifest import read_manifest
from device.settings import ModelSettings, Settings
from device.tflite import Runtime
from device.watch import load_nets

ROOT = Path(__file__).parents[2]
MANIFEST = read_manifest()
USUAL = MANIFEST["face"].forms["int8-weights"]
INT8 = Choice(runtime="ai-edge-litert", detector="full", form="int8", sha256=MANIFEST["face"].forms["int8"].sha256)


def form(folder: Path, *, detector: Literal["back", "full"] = "full", runtime: Runtime = "ai-edge-litert") -> str | None:
    settings = Settings(state_folder=folder, models=ModelSettings(detector=detector))
    return form_for(MANIFEST, "face", settings, runtime)


def test_without_a_choice_a_device_loads_the_usual_form(tmp_path: Path) -> None:
    nets = load_nets(Settings(state_folder=tmp_path))

    assert nets.face.model.sha256 == USUAL.sha256


def test_what_was_chosen_here_is_loaded(tmp_path: Path) -> None:
    write_choice(tmp_path, INT8)

    nets = load_nets(Settings(state_folder=tmp_path, models=ModelSettings(runtime="ai-edge-litert")))

    assert nets.face.model.sha256 == INT8.sha256


def test_the_settings_go_before_what_was_chosen(tmp_path: Path) -> None:
    write_choice(tmp_path, INT8)

    nets = load_nets(Settings(state_folder=tmp_path, models=ModelSettings(form="float16", detector="short", tiles=2)))

    assert nets.face.model.sha256 == MANIFEST["face-short"].forms["float16"].sha256
    assert nets.face.tiles == 2


def test_a_choice_for_another_runtime_or_detector_says_nothing(tmp_path: Path) -> None:
    write_choice(tmp_path, INT8)

    assert form(tmp_path) == "int8"
    assert form(tmp_path, runtime="tflite-runtime") == "int8-weights"
    assert form(tmp_path, detector="back") == "int8-weights"


def test_a_choice_between_models_of_an_earlier_release_says_nothing(tmp_path: Path) -> None:
    write_choice(tmp_path, INT8.model_copy(update={"sha256": "0" * 64}))

    assert form(tmp_path) == "int8-weights"


def test_a_choice_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_choice(tmp_path / "new", INT8)
    write_choice(tmp_path / "new", INT8.model_copy(update={"form": "float16"}))

    chosen = read_choice(tmp_path / "new")
    assert chosen is not None
    assert chosen.form == "float16"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [NAME]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": "int8"}', json.dumps({**INT8.model_dump(), "more": 1}), "x" * 9999])
def test_a_damaged_choice_is_named_with_what_to_do_and_the_usual_form_watches(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)

    with pytest.raises(
        ModelError, match=r"models\.json: not what mien bench --choose --write writes .*; run that again, or remove"
    ):
        read_choice(tmp_path)
    assert load_nets(Settings(state_folder=tmp_path)).hashes == load_nets(Settings(state_folder=tmp_path / "none")).hashes


def test_a_choice_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")

    with pytest.raises(OutputError, match=r"models\.json: cannot keep the choice"):
        write_choice(tmp_path / "state", INT8)


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """The real command: it starts itself again, which a test cannot let it do in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "device.entry", "bench", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def row(form: str, ms: float, found: float = 1.0, more: float = 0.0) -> dict[str, object]:
    return {"form": form, "ms": ms, "found": found, "more": more}


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([row("float16", 8.0), row("int8-weights", 8.0), row("int8", 12.0)], "int8-weights"),
        ([row("float16", 20.0), row("int8-weights", 20.0), row("int8", 9.0)], "int8"),
        ([row("float16", 20.0), row("int8-weights", 20.0), row("int8", 9.0, found=0.98)], "int8-weights"),
        ([row("float16", 20.0), row("int8-weights", 20.0), row("int8", 9.0, more=0.02)], "int8-weights"),
        ([row("float16", 7.9), row("int8-weights", 8.0), row("int8", 12.0)], "int8-weights"),
        ([row("float16", 7.0), row("int8-weights", 8.0), row("int8", 12.0)], "float16"),
        ([row("float16", 9.0), row("int8-weights", 8.0, found=0.5), row("int8", 12.0)], "float16"),
    ],
)
def test_the_fastest_form_that_is_no_worse_is_chosen_and_the_default_where_none_is_clearly_faster(
    rows: list[dict[str, object]], chosen: str
) -> None:
    assert choose.choose(rows, "int8-weights") == chosen


def test_the_command_measures_every_form_and_keeps_its_choice_where_the_device_reads_it(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'state_folder = "{tmp_path}"\n[models]\ndetector = "short"\n')

    done = bench("--choose", "--write", "--json", "--frames", "20", "--settings", str(settings))

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said["forms"]) == 9
    assert all(one["ms"] > 0 for one in said["forms"])
    assert all(one["found"] == 1 for one in said["forms"] if one["form"] == "float16")
    assert (said["detector"], said["written"]) == ("short", str(tmp_path / NAME))
    chosen = read_choice(tmp_path)
    assert chosen is not None
    assert (chosen.form, chosen.runtime) == (said["form"], said["runtime"])


def test_for_people_it_is_a_table_with_the_lines_for_the_settings(tmp_path: Path) -> None:
    """One detector is enough here: the others take longest."""
    models, settings = tmp_path / "models", tmp_path / "settings.toml"
    models.mkdir()
    known = json.loads((MANIFEST.folder / "manifest.json").read_text())
    short = known["models"]["face-short"]
    for form in short["forms"].values():
        (models / form["file"]).symlink_to(MANIFEST.folder / form["file"])
    (models / "manifest.json").write_text(json.dumps({**known, "models": {"face-short": short}}))
    settings.write_text(f'state_folder = "{tmp_path}"\n[models]\ndetector = "short"\nfolder = "{models}"\n')

    done = bench("--choose", "--frames", "20", "--settings", str(settings))

    assert "[models]\nform = " in done.stdout
    assert not (tmp_path / NAME).exists()


def test_write_goes_with_choose() -> None:
    done = bench("--write")

    assert done.returncode == 2
    assert "--write and --settings go with --choose" in done.stderr
