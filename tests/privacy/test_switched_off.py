"""Each protection of ``switched_off.py``: line, test and row in the document are there; and without it, its test fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.privacy.off import Off
from tests.privacy.switched_off import PROTECTIONS

ROOT = Path(__file__).parents[2]
CODE = ("device", "provisioning", "models", "tests", "systemd", "docs", "pyproject.toml")
EACH = pytest.mark.parametrize("off", PROTECTIONS, ids=lambda off: off.what)


@EACH
def test_the_line_and_the_test_are_there_and_the_document_names_them(off: Off) -> None:
    file, _, name = off.test.partition("::")
    text = (ROOT / "docs" / "proof.md").read_text()

    assert (ROOT / off.file).read_text().count(off.line) == 1
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()
    assert f"| {off.what} | `{off.file}` | `{name}` |" in text


@pytest.mark.system
@pytest.mark.timeout(300)
@EACH
def test_without_this_protection_its_test_fails(off: Off, tmp_path: Path) -> None:
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    file = tmp_path / off.file
    file.write_text(file.read_text().replace(off.line, off.instead))
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", f"tests/{off.test}"]

    ended = subprocess.run(words, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=280)

    assert ended.returncode == 1, ended.stdout  # 1: tests failed; anything else: they could not run
