"""The systemd unit of enrolment: before sending, and shut in like the sending process."""

from __future__ import annotations

from configparser import ConfigParser

from tests.conftest import ROOT

UNITS = ROOT / "systemd"
TIMES = {"RestartSec", "RestartSteps", "RestartMaxDelaySec", "TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "WatchdogSignal"}
FOLDERS = {"RuntimeDirectory", "WorkingDirectory"}
ITS_OWN = {"ExecStart", "Restart", "RestartPreventExitStatus", "Type", "NotifyAccess"} | TIMES | FOLDERS


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
