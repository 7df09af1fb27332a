"""A disk that is full, or fails, at any call: the service goes on or ends with the reason, loses nothing, and comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(240)
COMPILER = shutil.which("cc") or shutil.which("gcc")
LEAST = {"watch": 50, "send": 40, "twin": 60, "commands": 40, "models": 200}  # calls on the disk in a life, about
SYSTEM = (pytest.mark.system, pytest.mark.timeout(1200))


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A library that makes calls on a disk fail."""
    if COMPILER is None:
        pytest.skip("no C compiler is installed: sudo apt install gcc libc6-dev")
    library = tmp_path / "failing.so"
    source = Path(__file__).with_name("failing.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where it is fast: it is not this machine's disk that is tried."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as made:
        yield Path(made)


@pytest.mark.parametrize(
    ("store", "every"),
    [
        ("watch", 4),
        ("send", 6),
        ("twin", 4),
        ("commands", 3),
        ("models", 40),
        *(pytest.param(store, 7 if store == "models" else 1, marks=SYSTEM) for store in LEAST),
    ],
)
def test_whichever_call_that_reads_or_writes_fails_once_nobody_has_to_come(
    failing: Path, folder: Path, store: str, every: int
) -> None:
    words = (sys.executable, "-m", "tests.faults.bad_disk", store, "EIO", "1", str(every), folder)
    shim = {"LD_PRELOAD": str(failing), "FAIL_READS": "1"}
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **shim}, capture_output=True, text=True, check=False, timeout=1100)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lives"] * every > 2 * LEAST[store]


@pytest.mark.parametrize("lasts", ["1", "0"], ids=["once", "for long"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize(
    ("store", "every"),
    [
        ("watch", 1),
        ("send", 1),
        ("twin", 1),
        ("commands", 1),
        ("models", 40),
        pytest.param("models", 1, marks=SYSTEM),
    ],
)
def test_whichever_call_fails_nothing_is_lost_and_nobody_has_to_come(
    failing: Path, folder: Path, store: str, every: int, error: str, lasts: str
) -> None:
    words = (sys.executable, "-m", "tests.faults.bad_disk", store, error, lasts, str(every), folder)
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "LD_PRELOAD": str(failing)}, capture_output=True, text=True, check=False, timeout=1100
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["lives"] * every > LEAST[store]
    if store in ("watch", "send"):  # of which some calls are those that it cannot begin without
        assert 0 < said["again"] < said["lives"]
    if store == "models":
        assert said["again"] == 0
