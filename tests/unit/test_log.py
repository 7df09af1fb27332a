"""What is logged has a priority in the journal, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.journal import prefix
from tests.conftest import ROOT

SAY = """
from device import log
said = log.set_up("watch", "debug")
said.debug("a")
said.info("b")
said.warning("c")
said.error("d\\ne")
said.critical("f")
"""


def said(folder: Path, *words: str, journal: bool | str) -> list[str]:
    """What a program says to standard error, which is a file; with ``journal``, one that systemd says is its journal."""
    file = folder / "said"
    with file.open("w") as stream:
        found = os.fstat(stream.fileno())
        there = f"{found.st_dev}:{found.st_ino}" if journal is True else journal
        environment = {**os.environ, "JOURNAL_STREAM": there or ""}
        subprocess.run((sys.executable, *words), stderr=stream, cwd=ROOT, env=environment, check=False, timeout=60)
    return file.read_text().splitlines()


def test_a_line_in_the_journal_begins_with_its_priority(tmp_path: Path) -> None:
    lines = said(tmp_path, "-c", SAY, journal=True)

    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert [json.loads(line[3:])["level"] for line in lines] == ["debug", "info", "warning", "error", "critical"]


@pytest.mark.parametrize("elsewhere", ["", "1:1", "nonsense"])
def test_a_line_anywhere_else_is_json_alone(tmp_path: Path, elsewhere: str) -> None:
    lines = said(tmp_path, "-c", SAY, journal=elsewhere)

    assert [json.loads(line)["event"] for line in lines] == ["a", "b", "c", "d\ne", "f"]


def test_what_ends_a_command_is_an_error_in_the_journal_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("nonsense = 1\nk = 2\n")
    words = ("-m", "device.entry", "watch", "--settings", str(tmp_path / "s.toml"))

    lines = said(tmp_path, *words, journal=True)

    assert len(lines) > 1
    assert all(line.startswith("<3>mien: ") for line in lines)
    assert said(tmp_path, *words, journal=False) == [line.removeprefix("<3>") for line in lines]


def test_a_stream_that_is_closed_does_not_lead_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")

    with open(os.devnull) as stream:
        pass

    assert prefix("error", stream) == ""


def test_no_unit_keeps_systemd_from_reading_priorities() -> None:
    units = list((ROOT / "systemd").glob("*.service"))

    assert len(units) >= 4
    assert not [unit.name for unit in units if "SyslogLevel" in unit.read_text()]
