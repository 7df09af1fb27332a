"""What takes long to load is loaded by those who need it: commands are started often, and a device has little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [("device.cli, device.send", {"numpy", "cv2"}), ("provisioning.cli", {"numpy", "structlog", "alembic"})],
)
def test_a_process_starts_without_what_it_does_not_need(modules: str, absent: set[str]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()

    assert "pydantic" in loaded
    assert absent.isdisjoint(loaded)


def test_the_command_calls_itself_mien_however_it_is_started() -> None:
    words = (sys.executable, "-m", "device.entry", "bench", "--frames", "5")

    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 2
    assert done.stderr.startswith("Usage: mien bench ")
