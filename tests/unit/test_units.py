"""The systemd units, as systemd itself reads them: what is left open, counted, and what happens when a process ends.

``make check`` runs this file: it is the gate for the score of ``systemd-analyze security``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from device.settings import Settings
from tests.conftest import ROOT

UNITS = ROOT / "systemd"
ALLOWED = (
    "[Service]\nIPAddressAllow=192.0.2.7 2001:db8::7 192.0.2.53\n"  # as mien egress sets it: a broker's addresses, a name server
)
LIMITS = {"mien-watch.service": 0.5, "mien-send.service": 1.0, "mien-enroll.service": 1.0}
STEPS_SINCE = 254  # of systemd: RestartSteps, RestartMaxDelaySec
OFFLINE_SINCE = 250  # systemd-analyze security --offline


def version() -> int:
    """Of this machine's systemd; 0 where there is none."""
    if shutil.which("systemd-analyze") is None:
        return 0
    said = subprocess.run(["systemd-analyze", "--version"], check=True, capture_output=True, text=True).stdout
    return int(re.split(r"\D+", said.split()[1])[0])


needs_systemd = pytest.mark.skipif(
    version() < OFFLINE_SINCE, reason=f"units are not checked: this needs systemd-analyze {OFFLINE_SINCE} (apt-get install systemd)"
)


def text(name: str) -> str:
    """A unit, with a program that is there on any machine."""
    return re.sub(r"(?m)^(Exec\w+=\+?)/opt/mien/bin/mien.*", r"\1/bin/true", (UNITS / name).read_text())


def values(name: str, key: str) -> list[str]:
    return re.findall(rf"(?m)^{key}=(.*)$", (UNITS / name).read_text())


def seconds(name: str, key: str) -> float:
    (value,) = values(name, key)
    return float(value)


def exposure(folder: Path, name: str, content: str, limit: float) -> tuple[bool, str]:
    """Whether a unit's score is within a limit, and the table that says why."""
    (folder / name).write_text(content)
    words = ["systemd-analyze", "security", "--no-pager", "--offline=yes", f"--threshold={limit * 10:.0f}", f"./{name}"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=folder)
    assert "Overall exposure level" in done.stdout, done.stderr
    return done.returncode == 0, done.stdout


@needs_systemd
@pytest.mark.parametrize("name", sorted(LIMITS))
def test_a_unit_leaves_no_more_open_than_its_limit(tmp_path: Path, name: str) -> None:
    allowed = "" if name == "mien-watch.service" else ALLOWED

    within, table = exposure(tmp_path, name, text(name) + allowed, LIMITS[name])

    assert within, table


@needs_systemd
@pytest.mark.parametrize(
    ("name", "line"), [("mien-watch.service", "PrivateNetwork=yes"), ("mien-send.service", "CapabilityBoundingSet=")]
)
def test_the_gate_closes_when_a_line_is_missing(tmp_path: Path, name: str, line: str) -> None:
    content = text(name).replace(f"{line}\n", "")

    within, _ = exposure(tmp_path, name, content, LIMITS[name])

    assert not within


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    names = [path.name for path in UNITS.iterdir() if path.suffix in {".service", ".target", ".timer"}]
    for name in names:
        content = text(name).replace("file:///opt/mien", "https://example.org")
        if version() < STEPS_SINCE:
            content = re.sub(r"(?m)^(RestartSteps|RestartMaxDelaySec)=.*\n", "", content)
        (tmp_path / name).write_text(content)

    words = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)

    ours = [line for line in (done.stdout + done.stderr).splitlines() if "mien" in line]
    assert len(names) == 6
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", ["mien-watch.service", "mien-send.service"])
def test_a_process_that_ends_comes_back_for_ever_unless_its_settings_are_wrong(name: str) -> None:
    assert values(name, "Type") == ["notify"]
    assert values(name, "Restart") == ["always"]
    assert values(name, "StartLimitIntervalSec") == ["0"]
    assert values(name, "RestartPreventExitStatus") == ["78"]
    assert seconds(name, "RestartSec") < seconds(name, "RestartMaxDelaySec") <= 120


def test_the_watchdog_of_the_camera_waits_longer_than_any_camera_may_take() -> None:
    (most,) = (limit.le for limit in Settings().camera.__class__.model_fields["timeout_seconds"].metadata if hasattr(limit, "le"))
    watchdog = seconds("mien-watch.service", "WatchdogSec")

    assert most + watchdog / 4 < watchdog


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_no_process_leaves_a_core_dump_or_is_swapped_out(name: str) -> None:
    assert values(name, "LimitCORE") == ["0"]
    assert values(name, "MemorySwapMax") == ["0"]
    assert values(name, "MemoryMax")


def test_no_unit_has_a_supplementary_group_and_the_camera_gets_its_own_through_its_user() -> None:
    groups = [values(name, key) for name in LIMITS for key in ("SupplementaryGroups", "DynamicUser")]

    assert not any(groups)
    assert "m mien-watch video" in (UNITS / "mien.sysusers").read_text()
    assert {values(name, "Group")[0] for name in LIMITS} == {"mien"}
