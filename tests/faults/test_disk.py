"""Spools that cannot be used, and disks that are full."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from device import health
from device.contract import Envelope
from device.outbox import Outbox
from device.settings import load
from device.spool import Spool, SpoolFullError
from device.watcher import Watcher
from tests.build import HASHES, Device, SetClock, envelope, put_reports, recorded
from tests.conftest import Process, wait_for

Mien = Callable[..., Process]
FULL_DISK = (
    'mount -t tmpfs -o size=2m tmpfs "$1"; head -c 3000000 /dev/zero > "$1/ballast" 2>/dev/null; '
    'exec "$2" -m device.cli watch --settings "$3"'
)
NAMESPACES = (("unshare", "--mount"), ("unshare", "--mount", "--map-root-user"))


@pytest.fixture(scope="module")
def namespace() -> tuple[str, ...]:
    """The words before a command that give it mounts of its own."""
    for words in NAMESPACES:
        if not subprocess.run([*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode:
            return words
    pytest.skip("no mount namespaces here: needs root, or kernel.unprivileged_userns_clone")


class FullDisk(Spool):
    """Full until it is said not to be."""

    full = True

    def put(self, envelope: Envelope) -> int:
        if self.full:
            raise SpoolFullError("the disk is full")
        return super().put(envelope)


def test_a_full_disk_is_a_trouble_in_the_health(device: Device) -> None:
    settings = load(device.write().settings)
    log, _ = recorded()
    with closing(FullDisk(settings.spool.folder, "watch")) as spool:
        outbox = Outbox(spool, log)
        outbox.put(envelope(1))

        Watcher(settings, HASHES, SetClock(), outbox, log).tell()

    assert health.read(settings.run_folder, 0.0).trouble == "disk"


def test_reports_wait_in_memory_while_the_disk_is_full_and_are_then_stored_in_order(tmp_path: Path) -> None:
    spool = FullDisk(tmp_path, "watch")
    log, entries = recorded()
    outbox = Outbox(spool, log)

    for _ in range(3):
        outbox.put(envelope(outbox.next_seq))
    assert outbox.stuck
    assert [(entry["log_level"], entry["waiting"]) for entry in entries] == [("error", 1), ("error", 2), ("error", 3)]
    spool.full = False
    outbox.put(envelope(outbox.next_seq))
    spool.close()

    assert [entry["seq"] for entry in entries if entry["event"] == "report"] == [1, 2, 3, 4]
    assert len(list((tmp_path / "new").iterdir())) == 4


def test_a_disk_that_stays_full_costs_the_oldest_reports_and_not_the_memory(tmp_path: Path) -> None:
    spool = FullDisk(tmp_path, "watch")
    log, entries = recorded()
    outbox = Outbox(spool, log, limit=2)

    for _ in range(4):
        outbox.put(envelope(outbox.next_seq))
    spool.full = False
    outbox.put()
    spool.close()

    assert [entry["seq"] for entry in entries if "memory is full" in entry["event"]] == [1, 2]
    assert [entry["seq"] for entry in entries if entry["event"] == "report"] == [3, 4]


def watch_on_a_full_disk(device: Device, namespace: tuple[str, ...], start: Callable[..., Process]) -> Process:
    """The real watching process, on a real disk of 2 MB that is full at first."""
    disk = device.write().folder / "spool"
    disk.mkdir()
    return start(*namespace, "sh", "-c", FULL_DISK, "sh", disk, sys.executable, device.settings)


@pytest.mark.timeout(150)
def test_a_full_disk_is_said_once_per_window_and_loses_nothing(
    device: Device, namespace: tuple[str, ...], start: Callable[..., Process]
) -> None:
    watch = watch_on_a_full_disk(device, namespace, start)
    inside = Path(f"/proc/{watch.process.pid}/root{device.folder}/spool")

    wait_for(lambda: len(watch.events("error")) >= 3, 60, why="the complaints")
    assert not list((inside / "new").iterdir())
    wait_for(lambda: not list((inside / "tmp").iterdir()), why="the file that was being tried to be gone")
    (inside / "ballast").unlink()
    wait_for(lambda: stored(watch), 60, why="reports on the disk")
    kept = sorted(path.name for path in (inside / "new").iterdir())
    ended = watch.end()

    complaints = [line for line in watch.log if line["level"] == "error"]
    assert ended == 0
    assert [line["waiting"] for line in complaints] == list(range(1, len(complaints) + 1))  # one line for each window
    assert all("the disk is full; free some space" in line["event"] for line in complaints)
    assert stored(watch) == list(range(1, len(stored(watch)) + 1))  # all of them, in order
    assert len(stored(watch)) > len(complaints)
    assert kept == [f"report-{seq:012d}.json" for seq in range(1, len(kept) + 1)]


@pytest.mark.timeout(150)
def test_reports_that_never_found_room_are_said_to_be_lost_when_watching_stops(
    device: Device, namespace: tuple[str, ...], start: Callable[..., Process]
) -> None:
    watch = watch_on_a_full_disk(device, namespace, start)
    wait_for(lambda: watch.events("error"), 60, why="the first complaint")

    ended = watch.end()

    assert ended == 73
    (line,) = watch.complaints
    assert "reports could not be stored in" in line
    assert "are lost with this process" in line


def stored(watch: Process) -> list[int]:
    return [line["seq"] for line in watch.log if line["event"] == "report"]


@pytest.mark.parametrize("command", ["watch", "send"])
@pytest.mark.parametrize("where", ["file/spool", "/proc/spool"])
def test_a_spool_that_cannot_be_made_is_73_and_one_line(device: Device, mien: Mien, command: str, where: str) -> None:
    (device.folder / "file").write_text("")
    folder = device.folder / where
    text = device.write().settings.read_text().replace(f"{device.folder}/spool", str(folder))
    device.settings.write_text(text)

    process = mien(command, "--settings", device.settings)

    assert process.wait() == 73
    (line,) = process.complaints
    assert line.startswith(f"mien: {folder}: cannot be used as a spool (")
    assert line.endswith("make the folder writable for this user")
    assert not process.log


@pytest.mark.parametrize("command", ["watch", "send"])
def test_a_spool_on_a_read_only_disk_is_73_and_one_line(
    device: Device, namespace: tuple[str, ...], start: Callable[..., Process], command: str
) -> None:
    disk = device.folder / "spool"
    disk.mkdir()
    script = 'mount -t tmpfs -o ro tmpfs "$1"; exec "$2" -m device.cli "$4" --settings "$3"'

    process = start(*namespace, "sh", "-c", script, "sh", disk, sys.executable, device.write().settings, command)

    assert process.wait() == 73
    assert process.complaints == [
        f"mien: {disk}: cannot be used as a spool (Read-only file system); make the folder writable for this user"
    ]


@pytest.mark.parametrize("command", ["watch", "send"])
def test_a_second_process_on_one_spool_is_75_and_one_line_and_the_first_goes_on(device: Device, mien: Mien, command: str) -> None:
    device.write()
    first = mien(command, "--settings", device.settings)
    wait_for(first.events, why="the first one")

    second = mien(command, "--settings", device.settings)

    assert second.wait() == 75
    spool = device.folder / "spool"
    assert second.complaints == [
        f"mien: {spool}: another 'mien {command}' is using this spool; stop it, or give this one a folder of its own"
    ]
    assert first.running
    assert first.end() == 0


def test_a_half_written_file_is_set_aside_by_one_line_and_the_rest_is_sent(device: Device, mien: Mien) -> None:
    put_reports(device.folder / "spool", 3)
    half = device.folder / "spool" / "new" / "report-000000000002.json"
    half.write_bytes(half.read_bytes()[:300])
    device.write(broker='publisher = "stdout"')

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0
    assert [json.loads(line)["seq"] for line in send.out.read_text().splitlines()] == [1, 3]
    assert send.events("error") == [f"{half.name} was not a report; what there was of it is in {device.folder / 'spool' / 'bad'}"]
    assert device.seqs("bad") == [2]


def test_an_epsilon_ledger_on_a_full_disk_ends_the_start_with_73_and_nothing_is_published(
    device: Device, namespace: tuple[str, ...], start: Callable[..., Process]
) -> None:
    state = device.folder / "state"
    state.mkdir()
    device.write(top='noise = "discrete-laplace"\nepsilon_window = 0.01\nepsilon_day = 400.0')
    script = FULL_DISK.replace("size=2m", "size=4k").replace("2>/dev/null", "2>/dev/null || true")

    watch = start(*namespace, "sh", "-c", script, "sh", state, sys.executable, device.settings)

    assert watch.wait(60) == 73
    (line,) = watch.complaints
    assert line == f"mien: {state}/ledger.json: cannot be read or written (No space left on device); check the disk and its owner"
    assert not device.held("new")
