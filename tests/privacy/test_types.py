"""Who may make a report, and who may see a frame: checked by mypy, and in the source itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from device.proof import sources

ROOT = Path(__file__).parents[2]
SKIPPED = """
from datetime import datetime
from device.contract import Envelope, Report
from device.window import Window

window = Window(start=0.0, seconds=900)
report: Report = {value}
Envelope(time=datetime.now(), report={value})
"""


def test_only_privacy_makes_a_report_and_frames_are_seen_only_where_they_live() -> None:
    assert sources.strangers() == []
    assert sources.report_makers((ROOT / sources.MAKES_REPORTS).read_text())


@pytest.mark.parametrize("code", sources.SECOND_MAKERS)
def test_a_second_maker_of_reports_is_caught(code: str) -> None:
    assert sources.report_makers(code)


@pytest.mark.parametrize("code", sources.SECOND_SEERS)
def test_a_second_importer_of_frames_is_caught(code: str) -> None:
    assert sources.sees_frames(code)


def checked(code: str, folder: Path) -> str:
    file = folder / "snippet.py"
    file.write_text(code)
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(folder / "cache"),
        str(file),
    ]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT, timeout=170).stdout


@pytest.mark.timeout(180)
def test_a_window_that_skipped_privacy_is_rejected_by_mypy_and_a_report_is_not(tmp_path: Path) -> None:
    wrong = checked(SKIPPED.format(value="window"), tmp_path)
    right = checked(SKIPPED.replace("report: Report = {value}", "def made() -> Report: ...").format(value="made()"), tmp_path)

    assert 'Incompatible types in assignment (expression has type "Window", variable has type "Report")' in wrong
    assert 'Argument "report" to "Envelope" has incompatible type "Window"; expected "Report' in wrong
    assert "Window" not in right.replace("device.window", "")
