"""The command line as a person meets it: what it says, and with which code it ends."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from device.manifest import FOLDER
from tests.build import PERMISSIVE, report

ROOT = Path(__file__).parents[2]


def mien(*words: str, timeout: float = 40, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "device.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A settings file for a short composite scene; tests add lines to it."""
    file = tmp_path / "settings.toml"
    file.write_text(
        f'window_seconds = 5\nnoise = "off"\nrun_folder = "{tmp_path}/run"\ninbox_folder = "{tmp_path}/inbox"\n'
        f'send_folder = "{tmp_path}/send"\n'
        f'[policy]\n{PERMISSIVE}\n[notice]\nresponsible = "us"\ncontact = "here"\n[spool]\nfolder = "{tmp_path}/spool"\n'
        '[broker]\nurl = "mqtt://127.0.0.1:9"\n[camera]\nsource = "composite"\n'
    )
    return file


def one_line(ended: subprocess.CompletedProcess[str]) -> str:
    """What a failed command says: one line for the user, and never a traceback."""
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("mien: ")]
    assert len(lines) == 1, ended.stderr
    return lines[0]


def test_help_reads_well() -> None:
    ended = mien("--help")

    assert ended.returncode == 0
    assert "Try it:       mien demo" in ended.stdout
    for command in ("watch", "send", "demo", "doctor", "settings", "contract", "bench"):
        assert command in ended.stdout


@pytest.mark.parametrize(
    ("camera", "code", "words"),
    [
        ("replay:/nowhere/clip.mkv", 69, "/nowhere/clip.mkv"),
        ("nonsense", 2, "choose one of composite, picamera2, replay, v4l2"),
        ("Not A Camera", 2, "--camera"),
    ],
)
def test_a_camera_that_is_not_there_is_named(settings: Path, camera: str, code: int, words: str) -> None:
    ended = mien("watch", "--settings", str(settings), "--camera", camera)

    assert ended.returncode == code
    assert words in one_line(ended)


def test_a_video_that_is_not_one_is_named(settings: Path, tmp_path: Path) -> None:
    fake = tmp_path / "clip.mkv"
    fake.write_text("this is no video")

    ended = mien("watch", "--settings", str(settings), "--camera", f"replay:{fake}")

    assert ended.returncode == 69
    assert str(fake) in one_line(ended)


def damaged(folder: Path, change: str) -> None:
    """A folder of models in which the emotion model is not what the manifest says."""
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    for path in FOLDER.glob("*.tflite"):
        (folder / path.name).write_bytes(path.read_bytes())
    emotion = manifest["models"]["emotion"]
    file = folder / emotion["file"]
    if change == "missing":
        file.unlink()
    elif change == "truncated":
        file.write_bytes(file.read_bytes()[:1000])
    elif change == "hash":
        emotion["sha256"] = "0" * 64
    elif change == "shape":  # a sound model, but the wrong one
        face = (FOLDER / manifest["models"]["face"]["file"]).read_bytes()
        file.write_bytes(face)
        emotion["sha256"] = hashlib.sha256(face).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "cannot read the model"),
        ("truncated", "damaged"),
        ("hash", "expected 000000"),
        ("shape", "expected int8|uint8|float32"),
    ],
)
def test_a_model_that_is_not_the_right_one_is_refused(settings: Path, tmp_path: Path, change: str, words: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    damaged(folder, change)
    with settings.open("a") as file:
        file.write(f'[models]\nfolder = "{folder}"\n')

    ended = mien("watch", "--settings", str(settings))

    assert ended.returncode == 65
    assert words in one_line(ended)
    assert "emotion.tflite" in one_line(ended)


@pytest.mark.parametrize(
    ("line", "words"),
    [("colour = 3", "unknown key"), ("k = 'five'", "expected a valid integer"), ("k = 1000", "expected 3 to 100")],
)
def test_settings_that_are_wrong_end_with_78_and_name_the_line(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"# mine\n{line}\n")

    for command in ("watch", "send"):
        ended = mien(command, "--settings", str(file))

        assert ended.returncode == 78
        assert f"{file}:2: " in one_line(ended)
        assert words in one_line(ended)


def test_wrong_words_end_with_2() -> None:
    assert mien("watch", "--sttings", "x").returncode == 2
    assert mien("contract", "--json-schema", "--message", "up/nothing").returncode == 2
    assert mien("demo", "--seconds", "1").returncode == 2


def test_the_contract_is_json_schema_that_a_report_fits() -> None:
    ended = mien("contract", "--json-schema")

    schema = json.loads(ended.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report().model_dump(mode="json", by_alias=True), schema)


def test_the_example_settings_are_good_and_explain_themselves(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(mien("settings", "example").stdout)

    assert mien("settings", "check", "--settings", str(file)).returncode == 0
    assert "48 a day" not in mien("settings", "explain", "--settings", str(file)).stdout
    assert "96 a day" in mien("settings", "explain", "--settings", str(file)).stdout


def test_doctor_says_what_is_wrong_and_ends_with_1(settings: Path) -> None:
    ended = mien("doctor", "--settings", str(settings), "--json")

    found = json.loads(ended.stdout)
    by_name = {check["name"]: check for check in found["checks"]}
    assert ended.returncode == 1
    assert found["ok"] == 0
    assert [name for name, check in by_name.items() if not check["ok"]] == ["broker"]
    assert "mqtt://127.0.0.1:9" in by_name["broker"]["finding"]


def test_watching_a_clip_to_its_end_leaves_a_report_in_the_spool(settings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((120, 160, 3), 90, np.uint8))

    ended = mien("watch", "--settings", str(settings), "--camera", f"replay:{folder}")

    assert ended.returncode == 0, ended.stderr
    (file,) = (tmp_path / "spool" / "new").iterdir()
    stored = json.loads(file.read_text())["report"]
    assert stored["withheld"] == "k"
    assert stored["quality"]["coverage"] == pytest.approx(0.4, abs=0.05)


def test_logs_are_json_lines_and_hold_no_box_and_no_track(settings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.full((120, 160, 3), 90, np.uint8))

    ended = mien("watch", "--settings", str(settings), "--camera", f"replay:{folder}")

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {"watching", "report", "stopped watching"} <= {line["event"] for line in lines}
    allowed = {
        "process",
        "event",
        "level",
        "timestamp",
        "camera",
        "runtime",
        "window_seconds",
        "k",
        "noise",
        "policy",
        "seq",
        "people",
        "withheld",
    }
    assert set().union(*lines) <= allowed
