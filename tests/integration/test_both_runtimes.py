"""The models on ``tflite-runtime``, in an environment of their own that these tests build, beside ``ai-edge-litert``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(400)  # the environment is downloaded once

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-tflite-runtime"
NEEDED = ("tflite-runtime==2.14.0", "numpy<2", "opencv-python-headless>=4.10,<4.12", "pydantic>=2,<3", "pytest")
NEWEST = (3, 11)  # Python that tflite-runtime has wheels for
OLDEST = (3, 10)  # Python that mien supports
Answers = tuple[dict[str, list[list[float]]], dict[str, list[list[float]]]]
OUTPUTS = Path(__file__).with_name("model_outputs.py")

# With the same kernels the two runtimes agree exactly. By default ai-edge-litert runs int8 layers in XNNPACK and tflite-runtime in
# its own kernels; they round differently, and over 13 layers that adds up to more than a step of the last one: on 2,406 held-out
# faces logits (-2.9 to 6.0) differ by 0.14 at most, and 99.7 % of the answers are the same (accuracy 87.24 % and 87.16 %).
LOGITS_DIFFER_BY = 0.25
DETECTOR_AGREES = 0.99  # correlation of all outputs of an int8 detector


def candidates() -> Iterator[Path]:
    """Pythons that may be old enough: this one, those on PATH, those of pyenv."""
    yield Path(sys.executable)
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.1[01]*/bin/python3"), reverse=True)


def old_python() -> Path | None:
    """A Python that ``tflite-runtime`` has wheels for and that can make environments."""
    question = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    for python in candidates():
        answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False, timeout=30)
        if answer.returncode == 0 and OLDEST <= tuple(int(part) for part in answer.stdout.split()) <= NEWEST:
            return python
    return None


@pytest.fixture(scope="module")
def other_python() -> Path:
    """The Python of an environment with ``tflite-runtime`` and NumPy 1, made once and used again while it is complete."""
    ENVIRONMENT.mkdir(exist_ok=True)
    complete, python = ENVIRONMENT / "complete", ENVIRONMENT / "env" / "bin" / "python"
    with (ENVIRONMENT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests of this file may run in several processes
        if not (complete.exists() and complete.read_text() == "\n".join(NEEDED) and python.exists()):
            old = old_python()
            if old is None:
                pytest.skip("no Python 3.10 or 3.11 with venv on this machine: tflite-runtime has no wheels for later ones")
            complete.unlink(missing_ok=True)
            run(old, "-m", "venv", "--clear", ENVIRONMENT / "env")
            run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDED)
            complete.write_text("\n".join(NEEDED))
    return python


def run(*words: str | Path) -> str:
    """Run a command in the project's folder with nothing of this environment in it; its output, or a failed test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(words, cwd=ROOT, env={**kept, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
    return done.stdout


def test_the_model_tests_pass_with_tflite_runtime(other_python: Path) -> None:
    tests = ["test_models.py", "test_nets_face.py", "test_nets_emotion.py"]
    plain: list[str | Path] = ["-c", os.devnull, "--rootdir", ROOT, "--noconftest", "-p", "no:cacheprovider", "-W", "error", "-q"]

    said = run(other_python, "-m", "pytest", *plain, *(Path("tests", "unit", name) for name in tests))

    assert "passed" in said
    assert "skipped" not in said


def test_that_environment_holds_one_runtime_and_numpy_1(other_python: Path) -> None:
    question = "import numpy; from device.tflite import find_runtime; print(find_runtime()[0], numpy.__version__)"

    said = run(other_python, "-c", question)

    runtime, numpy_version = said.split()
    assert runtime == "tflite-runtime"
    assert numpy_version.startswith("1.")


def test_evaluation_runs_with_the_packages_of_a_device_alone(other_python: Path) -> None:
    assert "clips" in run(other_python, "-m", "models.evaluate", "--help")


@pytest.fixture(scope="module")
def answers(other_python: Path) -> Answers:
    """What the models answer to the same pictures on either runtime."""
    pytest.importorskip("ai_edge_litert", reason="this environment has no ai-edge-litert to compare with")
    ours, theirs = run(sys.executable, OUTPUTS, "ai-edge-litert"), run(other_python, OUTPUTS, "tflite-runtime")
    return json.loads(ours), json.loads(theirs)


@pytest.mark.parametrize("name", ["face", "face-back", "face-short"])
@pytest.mark.parametrize("form", ["float16", "int8-weights"])
def test_a_detector_with_float_arithmetic_answers_the_same_on_both(answers: Answers, name: str, form: str) -> None:
    ours, theirs = (np.array(answer[f"{name} {form}"]) for answer in answers)

    assert np.abs(ours).max() > 1
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(ours).max())


@pytest.mark.parametrize("name", ["face", "face-back", "face-short"])
def test_an_int8_detector_differs_between_runtimes_by_rounding_only(answers: Answers, name: str) -> None:
    ours, theirs = (np.array(answer[f"{name} int8"]) for answer in answers)

    assert np.abs(ours).max() > 1
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > DETECTOR_AGREES


def test_the_int8_model_answers_the_same_on_both_when_they_use_the_same_kernels(answers: Answers) -> None:
    ours, theirs = (np.array(answer["emotion, plain kernels"]) for answer in answers)

    assert np.ptp(ours) > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_int8_model_as_shipped_differs_between_runtimes_by_rounding_only(answers: Answers) -> None:
    ours, theirs = (np.array(answer["emotion"]) for answer in answers)

    assert np.ptp(ours) > 1
    assert np.abs(ours - theirs).max() < LOGITS_DIFFER_BY
    assert abs(float((ours - theirs).mean())) < 0.02  # rounding has no direction; a wrong scale or zero point would
