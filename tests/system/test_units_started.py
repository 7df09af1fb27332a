"""The units, really started: systemd as process 1, a real broker, and a camera whose scene is drawn."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.debian import layer, need
from tests.system.nspawn import Machine, booted
from tests.system.settings import demonstration

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SETTINGS = demonstration(broker='url = "mqtt://localhost:1883"\nkeepalive_seconds = 5')
BROKER = "listener 1883\nallow_anonymous true\n"
BOTH = ("mien-watch.service", "mien-send.service")
# What the same sandbox lets a program do; it prints one word for each try.
TRY = """
import os, socket, ctypes, sys
def tried(name, call):
    try: call(); print(name, "done")
    except OSError as error: print(name, error.strerror)
libc = ctypes.CDLL(None, use_errno=True)
def syscall(name, *words):
    if getattr(libc, name)(*words) < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
tried("unshare", lambda: syscall("unshare", 0x10000000))
tried("mount", lambda: syscall("mount", b"none", b"/tmp", b"tmpfs", 0, None))
tried("write-open", lambda: open("/usr/open/x", "w"))
tried("write-state", lambda: open("/var/lib/mien/x", "w").close())
tried("inet", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
tried("ledger", lambda: os.listdir("/var/lib/mien/state"))
tried("device", lambda: os.open("/dev/fuse", os.O_RDONLY))
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine on which both units run and reports arrive; what was written to its disk is below ``upper``."""
    need(("systemd-nspawn", "systemd-container"))
    folder = tmp_path_factory.mktemp("units")
    with layer(folder) as (root, _):
        (root / "etc/mien/settings.toml").write_text(SETTINGS)
        (root / "etc/mosquitto/conf.d/mien.conf").write_text(BROKER)
        (root / "usr/try.py").write_text(TRY)
        (root / "usr/open").mkdir()
        (root / "usr/open").chmod(0o777)
        with booted(root, folder / "boot.log") as machine:
            machine.run("ip", "link", "set", "lo", "up")
            machine.run("systemctl", "start", "mien.target", timeout=200)
            machine.wait(lambda: "delivered" in machine.journal("mien-send"), "the first report")
            yield machine


def delivered(machine: Machine) -> list[int]:
    lines = [line for line in machine.journal("mien-send").splitlines() if line.startswith("{")]
    return [said["seq"] for said in map(json.loads, lines) if said["event"] == "delivered"]


@pytest.fixture(autouse=True)
def both_run(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves both processes at work."""
    yield
    machine: Machine = request.getfixturevalue("machine")
    machine.wait(lambda: all(machine.unit(name)["ActiveState"] == "active" for name in BOTH), "both units to be active again")


def test_systemd_hears_that_both_are_ready_and_reports_arrive_one_after_the_other(machine: Machine) -> None:
    for name in BOTH:
        assert machine.unit(name)["SubState"] == "running"

    machine.wait(lambda: len(delivered(machine)) >= 3, "three reports")

    seqs = delivered(machine)
    assert seqs == list(range(1, len(seqs) + 1))
    assert machine.unit("mien-send")["StatusText"] == "connected"


@pytest.mark.parametrize("name", BOTH)
def test_a_process_that_is_killed_comes_back(machine: Machine, name: str) -> None:
    before, restarts = machine.pid(name), int(machine.unit(name)["NRestarts"])

    machine.kill(name, signal.SIGKILL)

    machine.wait(lambda: machine.unit(name)["ActiveState"] == "active" and machine.pid(name) not in (0, before), "another process")
    assert int(machine.unit(name)["NRestarts"]) == restarts + 1


@pytest.mark.parametrize("name", BOTH)
def test_a_process_that_hangs_is_killed_by_the_watchdog_and_comes_back(machine: Machine, name: str) -> None:
    drop_in = machine.root / f"etc/systemd/system/{name}.d/soon.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=8\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", name)
    before = machine.pid(name)

    machine.kill(name, signal.SIGSTOP)

    machine.wait(lambda: machine.pid(name) not in (0, before), "another process")
    machine.wait(lambda: machine.unit(name)["ActiveState"] == "active", "it to be ready")
    assert f"{name}: Watchdog timeout" in machine.journal(name)
    drop_in.unlink()
    machine.run("systemctl", "daemon-reload")


@pytest.mark.parametrize("name", BOTH)
def test_a_process_that_goes_round_is_left_alone_by_a_short_watchdog(machine: Machine, name: str) -> None:
    drop_in = machine.root / f"etc/systemd/system/{name}.d/soon.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("[Service]\nWatchdogSec=8\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", name)
    before, count = machine.pid(name), len(delivered(machine))

    machine.wait(lambda: len(delivered(machine)) >= count + 4, "four more windows of five seconds")

    assert machine.pid(name) == before
    drop_in.unlink()
    machine.run("systemctl", "daemon-reload")


@pytest.mark.parametrize("name", BOTH)
def test_wrong_settings_end_it_with_78_once_and_for_all_until_they_are_right(machine: Machine, name: str) -> None:
    settings = machine.root / "etc/mien/settings.toml"
    settings.write_text(SETTINGS + "keepalive = 5\n")
    machine.run("systemctl", "restart", name, check=False)

    machine.wait(lambda: machine.unit(name)["ActiveState"] == "failed", "it to be given up")
    found = machine.unit(name)
    assert (found["ExecMainStatus"], found["NRestarts"]) == ("78", "0")
    assert "unknown key; did you mean 'keepalive_seconds'?" in machine.journal(name)
    errors = machine.run("journalctl", "-u", name, "-p", "err", "-o", "cat", "--no-pager").stdout
    assert "unknown key; did you mean 'keepalive_seconds'?" in errors
    assert '"level": "info"' in machine.journal(name)
    assert '"level": "info"' not in errors

    settings.write_text(SETTINGS)
    machine.run("systemctl", "restart", name)


def tries(machine: Machine, name: str) -> dict[str, str]:
    """What ``TRY`` says in the sandbox of a unit."""
    text = machine.run("systemctl", "cat", name).stdout
    kept = [
        line for line in text.splitlines() if not line.startswith(("ExecStart=", "Type=", "Restart", "Watchdog", "NotifyAccess"))
    ]
    own = "\n".join(kept).replace("[Service]", "[Service]\nType=oneshot\nExecStart=/usr/bin/python3 /usr/try.py", 1)
    (machine.root / "etc/systemd/system/mien-tries.service").write_text(own)
    machine.run("systemctl", "daemon-reload")
    (marker,) = machine.run("date", "+%s.%N").stdout.split()
    machine.run("systemctl", "start", "mien-tries")
    said = machine.run("journalctl", "-u", "mien-tries", "-o", "cat", "--no-pager", f"--since=@{marker}").stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if line.split(" ", 1)[0] in TRY)


def test_the_sandboxes_refuse_what_they_should(machine: Machine) -> None:
    refused, away, gone = "Operation not permitted", "Read-only file system", "No such file or directory"
    common = {"unshare": refused, "mount": refused, "write-open": away, "write-state": "done"}

    machine.run("mknod", "-m", "666", "/dev/fuse", "c", "10", "229")  # a device that everybody may read, but for these two
    machine.run("sh", "-c", ": < /dev/fuse")

    watch, send = tries(machine, BOTH[0]), tries(machine, BOTH[1])

    assert watch == {**common, "inet": "Address family not supported by protocol", "ledger": "done", "device": refused}
    assert send == {**common, "inet": "done", "ledger": "Permission denied", "device": gone}


def test_enrolment_sees_the_claim_as_credentials_alone_and_then_it_is_destroyed(machine: Machine) -> None:
    claim = machine.root / "etc/mien/claim"
    claim.mkdir(mode=0o700)
    for name in ("claim.pem", "claim.key", "ca.pem"):
        (claim / name).write_text(f"what is in {name}\n")
        (claim / name).chmod(0o600)
    drop_in = machine.root / "etc/systemd/system/mien-enroll.service.d/look.conf"
    drop_in.parent.mkdir()
    look = 'id -un; cd "$CREDENTIALS_DIRECTORY"; cat claim.pem claim.key ca.pem; ls /etc/mien/claim'
    drop_in.write_text(f"[Service]\nExecStart=\nExecStart=-/bin/sh -c '{look}'\n".replace("$", "$$"))
    machine.run("systemctl", "daemon-reload")

    machine.run("systemctl", "start", "mien-enroll")

    said = machine.journal("mien-enroll").splitlines()
    assert [line for line in said if line.startswith("what is in")] == [
        f"what is in {one}" for one in ("claim.pem", "claim.key", "ca.pem")
    ]
    assert "mien-send" in said
    assert any("/etc/mien/claim" in line and "Permission denied" in line for line in said)
    assert [path.name for path in claim.iterdir()] == ["ca.pem"]
    assert machine.run("find", "/run/credentials", "-name", "claim*").stdout == ""


def test_the_sending_process_reaches_its_broker_and_nobody_else(machine: Machine) -> None:
    allowed = machine.run("systemctl", "show", "mien-send", "-p", "IPAddressAllow", "--value").stdout.split()
    assert allowed == ["127.0.0.1/32"]
    settings = machine.root / "etc/mien/settings.toml"

    settings.write_text(SETTINGS.replace("localhost", "127.0.0.2"))  # the same broker, at an address that nobody has allowed
    machine.run("systemctl", "mask", "--runtime", "mien-egress.service")
    machine.run("systemctl", "restart", "mien-send")
    machine.wait(lambda: "mqtt://127.0.0.2:1883: cannot reach it" in machine.journal("mien-send"), "the refusal")
    machine.run("systemctl", "unmask", "--runtime", "mien-egress.service")
    count = len(delivered(machine))

    machine.run("systemctl", "start", "mien-egress")  # and now somebody has, while it runs
    machine.wait(lambda: len(delivered(machine)) > count, "a report")

    settings.write_text(SETTINGS)
    machine.run("systemctl", "restart", "mien-send")


def test_only_the_state_and_what_is_gone_at_the_next_start_is_written(machine: Machine) -> None:
    users = [machine.run("id", "-u", user).stdout.strip() for user in ("mien-watch", "mien-send")]
    words = ["find", "/", "-xdev", "(", "-uid", users[0], "-o", "-uid", users[1], ")", "-not", "-path", "/proc/*"]

    found = machine.run(*words, timeout=200).stdout.split()

    assert [path for path in found if not Path(path).is_relative_to("/var/lib/mien")] == []
    assert "/var/lib/mien/spool/new" in found
