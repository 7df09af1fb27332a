"""Rehearsals with real processes: workers, broker, services and database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioning import fleet as fleets
from provisioning.cli import main
from provisioning.errors import BrokerError
from provisioning.mosquitto import Size
from provisioning.simulate import world
from provisioning.simulate.figures import missed
from provisioning.simulate.habits import Habits
from provisioning.simulate.processes import children, memory, seconds
from provisioning.simulate.run import Picture, Plan, rehearse
from tests.build import free_port
from tests.conftest import MOSQUITTO, Process, wait_for

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(240),
]
HASTY = Habits(report_every=1, status_every=2, longest_wait=2, fails_every=10, away=1, spread=1)


def test_a_small_fleet_enrols_reports_loses_its_broker_and_its_power_and_no_report(url: str) -> None:
    """On either database, with two services and two processes of devices."""
    shown: list[Picture] = []
    with world.of_its_own(6, services=2, database=url) as servers:
        found = rehearse(Plan(6, seconds=12, workers=2, restart=True, habits=HASTY, settle=3), servers, shown.append)
        pids = [*servers.service_pids, servers.broker_pid]

    assert found["enrolment"]["enrolled"] == 6
    assert found["registry"] == url.partition(":")[0]
    assert found["enrolment"]["requests_sent"] >= found["enrolment"]["requests_handled"] >= 3 * 6
    assert found["restart"]["back"] == found["restart"]["cut_off"] > 0
    assert found["reports"]["made"] == found["reports"]["arrived"] > 12
    assert missed(found) == []
    assert all(0 < size < 200 for size in found["service"]["peak_mib"])
    assert {picture.phase for picture in shown} >= {"enrolling", "reporting", "the broker restarts", "the last reports"}
    assert not [pid for pid in pids if pid and Path(f"/proc/{pid}/exe").exists()], "what was started is stopped"


def test_it_is_one_command_that_prints_its_figures(start: Callable[..., Process]) -> None:
    words = ("-n", "3", "--minutes", "0.3", "--no-restart-broker", "--json", "--report-every", "1")

    ended = start(sys.executable, "-m", "provisioning.cli", "simulate", *words)

    assert ended.wait(120) == 0, ended.err.read_text()
    found = json.loads(ended.out.read_text())
    assert (found["devices"], found["restart"], found["reports"]["lost"]) == (3, None, 0)
    assert "enrolling" in ended.err.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_behind(start: Callable[..., Process], number: int) -> None:
    process = start(sys.executable, "-m", "provisioning.cli", "simulate", "-n", "3", "--minutes", "5")
    wait_for(lambda: "enrolling" in process.err.read_text(), 60, why="the devices")
    started = [*children(process.process.pid)]
    started += [below for one in started for below in children(one)]

    assert process.end(number) != 0

    assert len(started) >= 4, "broker, Mosquitto, service, devices"
    wait_for(lambda: not [pid for pid in started if Path(f"/proc/{pid}/exe").exists()], 30, why="their end")


def test_killed_it_leaves_no_process_behind(start: Callable[..., Process]) -> None:
    process = start(sys.executable, "-m", "provisioning.cli", "simulate", "-n", "3", "--minutes", "5")
    wait_for(lambda: "enrolling" in process.err.read_text(), 60, why="the devices")
    started = [*children(process.process.pid)]
    started += [below for one in started for below in children(one)]

    process.end(signal.SIGKILL)

    assert len(started) >= 4, "broker, Mosquitto, service, devices"
    wait_for(lambda: not [pid for pid in started if Path(f"/proc/{pid}/exe").exists()], 60, why="their end")


def test_what_is_bound_to_a_parent_that_is_gone_does_not_begin() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()

    ended = subprocess.run([sys.executable, "-m", "provisioning.bound", str(gone.pid), "this"], capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (143, b"", b"")


def test_what_a_person_got_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "waited_for", world.listens)
    secret = tmp_path / "passphrase"
    secret.write_text("only for this test\n")
    secret.chmod(0o600)
    folder = tmp_path / "fleet"
    fleets.init(folder, f"mqtts://localhost:{free_port()}", Size(10, 1), b"only for this test")
    run = CliRunner()

    restart = run.invoke(main, ["simulate", str(folder), "--restart-broker", "--passphrase-file", str(secret)])
    nobody = run.invoke(main, ["simulate", str(folder), "--passphrase-file", str(secret)])
    nothing = run.invoke(main, ["simulate", str(tmp_path / "nothing")])

    assert (restart.exit_code, nobody.exit_code, nothing.exit_code) == (2, 69, 73)
    assert "leave DIR out" in restart.output
    assert "nobody listens there; start it with mien-fleet broker" in nobody.output
    assert "mien-fleet init makes one" in nothing.output


def test_a_service_that_does_not_start_is_said_with_its_last_words() -> None:
    with (
        pytest.raises(BrokerError, match=r"serve-1 did not start: .*not a database that can be used"),
        world.of_its_own(1, services=1, database="mysql://nowhere/at-all"),
    ):
        pass


def test_the_kernel_tells_the_memory_and_the_time_of_a_process() -> None:
    now, peak = memory(os.getpid())
    gone = subprocess.Popen(["true"])
    gone.wait()

    assert 10 < now <= peak < 4000
    assert seconds(os.getpid()) > 0
    assert memory(gone.pid) == (0.0, 0.0)
    assert seconds(gone.pid) == 0.0
