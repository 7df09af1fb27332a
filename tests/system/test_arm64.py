"""The package on 64-bit Arm: Debian 12 and 13 under an emulator, which says whether it is right and not how fast it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.debian_root import PI_4, PI_5, PYTHONS, Root, build_package, debian

pytestmark = [pytest.mark.system, pytest.mark.timeout(3600)]  # a Debian for Arm is made once, which takes many minutes

HERE = Path(__file__).parent
SCRIPTS = (HERE / "reference_kernels.py", HERE.parent / "integration" / "model_outputs.py")
INSTALL = "apt-get install -qqy --no-install-recommends -o Dpkg::Use-Pty=0 /mien.deb"
RUN = "PYTHONPATH=/tflite-runtime /opt/mien/venv/bin/python"
OLDER = "tflite-runtime==2.14.0"  # its wheels end at Python 3.11, so it is tried on Debian 12
# The kernels of the older runtime round differently on Arm and on x86, in every layer, as the two runtimes do (test_both_runtimes).
LOGITS_DIFFER_BY = 0.25
DETECTOR_AGREES = 0.98  # correlation of all outputs of an int8 detector
BOARDS = {"bookworm": PI_4, "trixie": PI_5}
CASES = [("bookworm", "ai-edge-litert"), ("bookworm", "tflite-runtime"), ("trixie", "ai-edge-litert")]
Answers = dict[str, Any]
SETTINGS = """\
device = "board"
window_seconds = 5
k = 2
noise = "off"
demo = true
[camera]
source = "composite"
fast = true
fps = 3.0
[models]
detector = "back"
tiles = 1
[broker]
publisher = "stdout"
[policy]
setting = "research"
jurisdiction = "EU"
"""


def with_package(suite: str, architecture: str, folder: Path) -> Root:
    """A Debian with the package and, where it has wheels, the older runtime beside it."""
    emulated = architecture == "arm64" and os.uname().machine != "aarch64"
    root = Root((debian(suite, architecture),), folder / "root", BOARDS[suite] if emulated else None)
    root.put(build_package(architecture, folder), "mien.deb")
    for script in SCRIPTS:
        root.put(script, script.name)
    if suite == "bookworm":
        machine = {"arm64": "aarch64", "amd64": "x86_64"}[architecture]
        words = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11", f"--dest={folder}", OLDER]
        words += [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 28, 34)] + [f"--platform=manylinux2014_{machine}"]
        subprocess.run([sys.executable, "-m", "pip", "download", *words], check=True, capture_output=True)
        with zipfile.ZipFile(next(folder.glob("tflite_runtime-*.whl"))) as wheel:
            wheel.extractall(root.work / "upper" / "tflite-runtime")
    root.run(INSTALL, seconds=900)
    return root


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Root]]:
    """Systems that were needed so far, by suite and processor."""
    made: dict[tuple[str, str], Root] = {}
    yield made
    for root in made.values():
        shutil.rmtree(root.work, ignore_errors=True)


@pytest.fixture(scope="module", params=PYTHONS)
def board(request: pytest.FixtureRequest, systems: dict[tuple[str, str], Root], tmp_path_factory: pytest.TempPathFactory) -> Root:
    return needed(systems, tmp_path_factory, request.param, "arm64")


def needed(systems: dict[tuple[str, str], Root], folders: pytest.TempPathFactory, suite: str, architecture: str) -> Root:
    if (suite, architecture) not in systems:
        systems[suite, architecture] = with_package(suite, architecture, folders.mktemp(f"{suite}-{architecture}"))
    return systems[suite, architecture]


def test_doctor_finds_everything_that_the_package_brings(board: Root) -> None:
    said = board.run("uname -m; mien doctor --without broker --without camera --without policy --without notice")

    assert said.startswith("aarch64")
    assert "wrong" not in said
    assert "ai-edge-litert is installed" in said
    assert "hashes and tensors are right" in said


def test_watch_counts_people_and_send_hands_out_the_report(board: Root) -> None:
    said = board.run(
        f"""
        cat > /etc/mien/settings.toml <<'END'\n{SETTINGS}END
        install -d -o mien-watch -g mien -m 0750 /run/mien
        mien watch & watching=$!
        until ls /var/lib/mien/spool/new/report-* >/dev/null 2>&1; do kill -0 $watching; sleep 2; done
        kill -KILL $watching
        mien send --once
        """,
        seconds=900,
    )

    reports = [json.loads(line) for line in said.splitlines() if line.startswith('{"schema"') or '"people"' in line]
    assert reports[0]["people"] >= 2, said


def test_the_demo_sends_reports_through_its_broker(board: Root) -> None:
    """Emulated, it takes up to minutes to start, so that the last reports of those that it waits for may not come."""
    said = board.run("mien demo --seconds 120 --window 20 --json", seconds=600, check=False)

    reports = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert reports, said
    assert [report["seq"] for report in reports] == list(range(1, len(reports) + 1))


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def answers(
    request: pytest.FixtureRequest, systems: dict[tuple[str, str], Root], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Answers, Answers]:
    """What the models answer to the same pictures on Arm and on x86: the same package, NumPy and runtime."""
    if os.uname().machine != "x86_64":
        pytest.skip("needs an x86-64 machine, to compare Arm with")
    suite, runtime = request.param
    both = []
    for architecture in ("arm64", "amd64"):
        root = needed(systems, tmp_path_factory, suite, architecture)
        said: Answers = {}
        for script in SCRIPTS:
            root.run(f"{RUN} /{script.name} {runtime} > /answers.json", seconds=900)
            said |= json.loads((root.work / "upper" / "answers.json").read_text())
        both.append(said)
    return both[0], both[1]


def test_int8_models_answer_the_same_as_on_x86_where_the_arithmetic_is_the_same(answers: tuple[Answers, Answers]) -> None:
    """To a thousandth of what the model says at most: below one step of any of its layers."""
    for name in ("emotion", "face-short"):
        arm, pc = (np.array(said[f"{name}, reference kernels"]) for said in answers)
        assert np.ptp(arm) > 1
        np.testing.assert_allclose(arm, pc, rtol=1e-3, atol=1e-4)


def test_detectors_with_float_arithmetic_answer_the_same_as_on_x86(answers: tuple[Answers, Answers]) -> None:
    for detector in ("face", "face-back", "face-short"):
        for form in ("float16", "int8-weights"):
            arm, pc = (np.array(said[f"{detector} {form}"]) for said in answers)
            np.testing.assert_allclose(arm, pc, rtol=1e-3, atol=1e-3 * np.abs(pc).max())


def test_int8_models_answer_the_same_as_on_x86_as_they_run_on_a_board(
    answers: tuple[Answers, Answers], request: pytest.FixtureRequest
) -> None:
    """With the processor's own fast kernels. To a thousandth: no value within the network is then a step away from that on x86."""
    older = "tflite-runtime" in request.node.callspec.params["answers"]
    for name in ("emotion", "face int8", "face-back int8", "face-short int8"):
        arm, pc = (np.array(said[name]) for said in answers)
        if not older:
            np.testing.assert_allclose(arm, pc, rtol=1e-3, atol=1e-3 * np.abs(pc).max(), err_msg=name)
        elif name == "emotion":
            assert np.abs(arm - pc).max() < LOGITS_DIFFER_BY
            assert abs(float((arm - pc).mean())) < 0.02  # rounding has no direction; a wrong scale or zero point would
        else:
            assert np.corrcoef(arm.ravel(), pc.ravel())[0, 1] > DETECTOR_AGREES, name
