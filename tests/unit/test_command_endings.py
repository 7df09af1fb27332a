"""How the commands of ``models`` end: without the training's packages, stopped, with nobody to take the result."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.data import DataError
from models.errors import run
from tests.conftest import ROOT

WITHOUT = """
import runpy, sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "package"),
    [("train", "torch"), ("train", "tqdm"), ("teach", "torch"), ("export", "litert_torch"), ("quantize_face", "litert_quantizer")],
)
def test_training_without_its_packages_says_which_extra_is_missing(command: str, package: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, package, f"models.{command}"], capture_output=True, text=True, check=False
    )

    assert ended.returncode
    assert re.fullmatch(rf"{command}: \w+ is not installed; pip install 'mien\[train\]'\n", ended.stderr)


def test_a_result_that_the_disk_has_no_room_for_is_one_line(crops: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "models.evaluate", "emotion", "--data", str(crops), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == "evaluate: the result cannot be written (No space left on device)"


def test_an_evaluation_that_is_stopped_ends_with_one_word(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")  # the evaluation waits for whoever writes into it: here, nobody
    listening = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # in the background nobody does
    words = ["photos", "--images", str(tmp_path), "--labels", str(tmp_path / "labels.csv")]
    command = [sys.executable, "-c", f"{listening}; runpy.run_module('models.evaluate', run_name='__main__')", *words]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        writer = os.open(tmp_path / "labels.csv", os.O_WRONLY)  # waits until it reads
        try:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
            os.close(writer)

    assert process.returncode == 130
    assert said == "evaluate: stopped\n"


def test_a_file_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", lambda: Path("/proc/no/such").mkdir(parents=True)) == 2

    assert re.fullmatch(r"train: /proc/no.*: No such file or directory\n", capsys.readouterr().err)


def test_a_message_over_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise DataError("a\nb.png: missing")

    assert run("evaluate", work) == 2
    assert capsys.readouterr().err == "evaluate: a b.png: missing\n"
