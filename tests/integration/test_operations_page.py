"""The handbook is true of this tree: its commands, codes, words, files and units are those that there are."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import get_args

import click
import pytest

from device import cli, errors
from device.contract import SpoolState, Status, Trouble, Withheld
from device.settings import Settings
from provisioning.cli import main as fleet
from provisioning.fleet import init
from provisioning.mosquitto import Size
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """What stands in the first column of the tables, without their heads."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    heads = {number - 1 for number, line in enumerate(rows) if set(line) <= set("|- ")}
    return [line.split("|")[1].strip() for number, line in enumerate(rows) if number not in heads and number - 1 not in heads]


def test_every_section_says_something() -> None:
    for title in re.findall(r"^## (.+)$", PAGE, re.MULTILINE):
        assert len(section(title).split()) > 20, title


def test_the_exit_codes_are_those_of_the_errors() -> None:
    used = {error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.MienError)}

    assert {int(code) for code in first_cells(section("Exit codes"))} == used | {0, 2}


def test_every_trouble_and_every_reason_for_no_figures_is_explained_once() -> None:
    told = [word for cell in first_cells(section("Health, and what to do")) for word in re.findall(r"`(\w+)`", cell)]

    expected = [*get_args(Trouble), *get_args(Withheld)]
    assert sorted(told) == sorted(expected)


def test_every_unit_that_there_is_and_no_other_is_named() -> None:
    units = {path.name for path in (ROOT / "systemd").iterdir() if path.suffix in {".service", ".timer", ".target"}}
    told = set(re.findall(r"\bmien[a-z-]*\.(?:service|timer|target)\b", section("What runs")))

    assert told | {"mien-egress.timer"} == units


def test_the_places_are_those_of_the_settings_and_of_a_fleet(tmp_path: Path) -> None:
    defaults, told = Settings(), section("Where things are")
    init(tmp_path / "fleet", "mqtts://localhost:8883", Size(10, 1), b"only for this test")

    for folder in (defaults.spool.folder, defaults.state_folder, defaults.inbox_folder, defaults.send_folder, defaults.run_folder):
        assert f"`{folder}" in told
    made = {path.name for path in (tmp_path / "fleet").iterdir()}
    named = set(re.findall(r"`fleet/([\w.]+)", told))
    assert named - made == {"registry.db", "models"}, "these two are made when they are needed"


def commands() -> list[list[str]]:
    """Every command of ours in the blocks of the page."""
    lines = [
        line.strip() for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
    ]
    return [shlex.split(line.removeprefix("sudo ")) for line in lines if re.match(r"(sudo )?mien(-fleet)? ", line)]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_on_the_page_has_words_that_are_known(words: list[str]) -> None:
    """They are parsed, not run."""
    command: click.Command = cli.main if words[0] == "mien" else fleet
    context = click.Context(command, info_name=words[0])
    rest = words[1:]
    while isinstance(command, click.Group):
        name, *rest = rest
        found = command.get_command(context, name)
        assert found is not None, name
        command = found

    command.make_context(command.name, list(rest), parent=context)


def test_what_alarms_are_on_is_in_the_contract() -> None:
    told = {word for cell in first_cells(section("Watching a fleet")) for word in re.findall(r"`([a-z_.]+)`", cell)}

    fields = {*Status.model_fields, *(f"spool.{name}" for name in SpoolState.model_fields), "machine.power"}
    values = {"lost", "degraded", "low", "ok"}
    assert told <= fields | values
    assert len(told & fields) >= 5


def test_the_backup_of_the_registry_is_what_was_stored_while_somebody_writes(tmp_path: Path) -> None:
    (line,) = re.findall(r"^(python3 -c 'import sqlite3.*)$", PAGE, re.MULTILINE)
    words = shlex.split(line)
    original, copy = tmp_path / "registry.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(original, isolation_level=None)) as writer:
        writer.execute("create table t (n)")
        writer.execute("insert into t values (1)")
        writer.execute("begin immediate")
        writer.execute("insert into t values (2)")

        subprocess.run([sys.executable, *words[1:3], str(original), str(copy)], check=True, timeout=60)

        writer.execute("commit")
    with closing(sqlite3.connect(copy)) as reader:
        assert reader.execute("select n from t").fetchall() == [(1,)]
