"""The table of faults names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = [
    line
    for line in (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\|(?! fault |-)", line)
]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_each_row_names_tests_that_there_are(row: str) -> None:
    named = re.findall(r"`([^`]+)`", row.split("|")[4])
    files = [TESTS / (name if "/" in name else f"faults/{name}") for name in named if name.endswith(".py")]
    words = [name.strip("…") for name in named if not name.endswith(".py")]

    assert files
    content = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [one for one in words if one not in content] == []
