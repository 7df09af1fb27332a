"""The contract of commands, and the page that tells of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from device import checkup
from device.checkup import Checkup, findings
from device.contract_command import LONGEST, Check, Command, CommandResult, Name, Reason
from device.contract_read import read
from provisioning.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


def test_the_page_tells_every_command_and_every_reason() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"\w+", row)}

    assert told == {*get_args(Name), *get_args(Reason)}


def test_the_commands_on_the_page_are_commands() -> None:
    typed = re.findall(r"^mien-fleet command (\w+)", PAGE, re.MULTILINE)
    (payload,) = re.findall(r"-m '(.*)'", PAGE)

    assert isinstance(read(Command, payload.encode()), Command)
    for word in {*typed, *get_args(Name)}:
        assert CliRunner().invoke(main, ["command", word, "--help"]).exit_code == 0
    assert f"{LONGEST:,} seconds" in PAGE


@pytest.mark.parametrize("said", [{"state": "failed"}, {"state": "rejected"}, {"state": "succeeded", "reason": "busy"}])
def test_a_result_says_why_exactly_when_it_was_not_done(said: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        CommandResult.model_validate({"schema": 1, **said})


@pytest.mark.parametrize("more", [{"people": 3}, {"findings": {"people": "ok"}}, {"findings": {"camera": "3 people"}}])
def test_a_result_has_room_for_nothing_about_people(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CommandResult.model_validate({"schema": 1, "state": "succeeded", **more})


def test_of_what_a_doctor_says_only_names_and_good_or_wrong_are_kept() -> None:
    said = b'{"ok": 0, "checks": [{"name": "broker", "ok": false, "finding": "mqtt://u:pw@host"}, {"name": "x", "ok": true}]}'

    assert findings(said) == {"broker": "wrong"}
    assert findings(b"Traceback") == "unavailable"
    assert findings(b'{"checks": [1]}') == "unavailable"
    assert set(get_args(Check)) >= {"settings", "camera", "models"}


def test_a_doctor_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LONGEST", 0.0)
    doctor = Checkup(tmp_path / "none.toml")

    assert doctor() == "timeout"

    assert doctor._process.returncode == -9
