"""The units that sign the models' metadata anew: systemd's own checker agrees, and what they call works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioning import fleet as fleets
from provisioning.cli import main
from provisioning.errors import WordsError
from provisioning.mosquitto import Size
from provisioning.timer import units
from tests.conftest import ROOT

SECRET = "only for this test"
ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[Path, Path]:
    """A fleet in a folder with a name that needs quotes, and the file with its passphrase."""
    folder, secret = tmp_path / "our 100 % fleet", tmp_path / "pass phrase"
    fleets.init(folder, "mqtts://localhost:8883", Size(10, 1), SECRET.encode())
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    return folder, secret


def written(fleet: tuple[Path, Path], to: Path, *words: str) -> str:
    to.mkdir()
    ended = CliRunner().invoke(main, ["timer", str(fleet[0]), "--passphrase-file", str(fleet[1]), "--to", str(to), *words])
    assert ended.exit_code == 0, ended.output
    return (to / "mien-fleet-refresh.service").read_text()


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed: sudo apt install systemd")
@pytest.mark.parametrize("then", [(), ("--then", "/usr/bin/rsync -a /srv/a/ web:/srv/models/")])
def test_systemd_accepts_the_units_with_and_without_something_after_them(
    fleet: tuple[Path, Path], tmp_path: Path, then: tuple[str, ...]
) -> None:
    written(fleet, tmp_path / "units", *then)

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", *map(str, (tmp_path / "units").iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    said = [line for line in checked.stderr.splitlines() if "mien-fleet-refresh" in line and "rsync" not in line]
    assert said == []


def test_what_the_unit_calls_signs_anew_with_the_passphrase_as_a_credential(fleet: tuple[Path, Path], tmp_path: Path) -> None:
    folder, secret = fleet
    assert CliRunner().invoke(main, ["model", "init", str(folder), "--passphrase-file", str(secret)]).exit_code == 0
    text = written(fleet, tmp_path / "units")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    name, _, source = (
        next(line for line in text.splitlines() if line.startswith("LoadCredential=")).partition("=")[2].partition(":")
    )
    shutil.copy(source.replace("%%", "%"), credentials / name)
    call = next(line for line in text.splitlines() if line.startswith("ExecStart=")).partition("=")[2]
    assert call.startswith(f'{sys.executable} -m provisioning.cli model refresh "')

    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
    ended = subprocess.run(
        call.replace("%%", "%"), shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == "nothing ends soon"


def test_it_has_no_network_unless_something_is_to_be_done_afterwards(fleet: tuple[Path, Path], tmp_path: Path) -> None:
    alone, copying = written(fleet, tmp_path / "a"), written(fleet, tmp_path / "b", "--then", "/usr/bin/rsync -a a b")

    assert "PrivateNetwork=yes" in alone
    assert "PrivateNetwork" not in copying
    assert "ExecStartPost=/usr/bin/rsync -a a b\n" in copying


@pytest.mark.parametrize("then", ["", "one\nExecStart=/bin/sh"])
def test_what_would_be_another_line_of_the_unit_is_refused(then: str, tmp_path: Path) -> None:
    with pytest.raises(WordsError, match="expected one line"):
        units(program=("p",), folder=tmp_path, user="mien", passphrase=tmp_path / "p", then=then)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(fleet: tuple[Path, Path], tmp_path: Path) -> None:
    words = ["timer", str(fleet[0]), "--passphrase-file", str(fleet[1]), "--to", str(tmp_path / "nowhere")]

    ended = CliRunner().invoke(main, words)

    assert ended.exit_code == 73
    assert "run it as root, or give --to" in ended.output
