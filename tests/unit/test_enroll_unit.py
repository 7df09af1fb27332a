"""The systemd unit of enrolment: good for systemd, before sending, and shut in like the sending process."""

from __future__ import annotations

import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.conftest import ROOT

UNITS = ROOT / "systemd"
ITS_OWN = {"ExecStart", "Restart", "RestartSec", "RestartPreventExitStatus", "WatchdogSec", "Type", "NotifyAccess"}


def unit(name: str) -> ConfigParser:
    class Parser(ConfigParser):
        def optionxform(self, optionstr: str) -> str:
            return optionstr

    parsed = Parser(strict=False, interpolation=None)
    parsed.read(UNITS / name)
    return parsed


def test_it_runs_once_before_sending_and_only_where_there_is_a_claim() -> None:
    own = unit("mien-enroll.service")

    assert own["Unit"]["Before"] == own["Install"]["WantedBy"] == "mien-send.service"
    assert own["Unit"]["ConditionPathExists"] == "/etc/mien/claim/claim.key"
    assert own["Service"]["Type"] == "oneshot"
    assert {"65", "78"} == set(own["Service"]["RestartPreventExitStatus"].split())


def test_it_is_shut_in_like_the_sending_process() -> None:
    own, send = unit("mien-enroll.service")["Service"], unit("mien-send.service")["Service"]

    missing = {key: value for key, value in send.items() if key not in ITS_OWN and own.get(key) != value}
    assert missing == {}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_has_nothing_to_say_about_it(tmp_path: Path) -> None:
    for name in ("mien-enroll.service", "mien-send.service"):
        text = (
            (UNITS / name).read_text().replace("/opt/mien/bin/mien", "/bin/true").replace("file:///opt/mien", "https://example.org")
        )
        (tmp_path / name).write_text(text)

    words = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "mien-enroll.service")]
    done = subprocess.run(words, check=False, capture_output=True, text=True)

    ours = [line for line in (done.stdout + done.stderr).splitlines() if "mien" in line]
    assert (done.returncode, ours) == (0, [])
