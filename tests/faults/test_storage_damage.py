"""Every store damaged at once, in every way: both processes start, say so, go on, and have mended it when they start again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build import Device, put_reports
from tests.conftest import Process, wait_for

pytestmark = pytest.mark.timeout(120)
WATCHING = ("state/ledger.json", "state/twin.json", "state/commands.json", "state/rollout.json")
SENDING = ("send/commands.json",)
QUIET = (  # what only the one of the two says that made it, or nobody has to know of
    "state/models.json",
    "send/connection_name",
    "send/model.json",
    "inbox/twin.json",
    "inbox/model.json",
    "inbox/command/a1.json",
    "run/health.json",
    "run/twin.json",
    "run/model.json",
    "spool/.watch.lock",
    "spool/.send.lock",
    "spool/sent/report-000000000002.json",
)
REPORT = "spool/new/report-000000000001.json"


def junk(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def folder(path: Path) -> None:
    path.mkdir()
    (path / "something").write_bytes(b"in it")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(b'{"page": {"generation": 1, "schema": 1, "known'),
    "zeros": lambda path: path.write_bytes(bytes(512)),
    "random bytes": lambda path: path.write_bytes(junk(512)),
    "another version": lambda path: path.write_bytes(b'{"schema": 99, "format": "of 2031", "epoch": 1, "version": 1}'),
    "10 MB": lambda path: path.write_bytes(junk(10_000_000)),
    "a folder": folder,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
}


def damaged(device: Device, how: Callable[[Path], object]) -> None:
    device.write(
        broker='publisher = "stdout"\ntwin = true\ncommands = true',
        top='noise = "discrete-laplace"\nepsilon_window = 0.01\nepsilon_day = 400.0',
    )
    put_reports(device.folder / "spool", 3)
    for name in (*WATCHING, *SENDING, *QUIET, REPORT):
        path = device.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        how(path)


@pytest.mark.parametrize(
    "how", [how if how in ("zeros", "a folder", "a pipe") else pytest.param(how, marks=pytest.mark.system) for how in DAMAGE]
)
def test_with_every_store_damaged_both_processes_start_say_so_and_mend_it(
    device: Device, mien: Callable[..., Process], how: str
) -> None:
    damaged(device, DAMAGE[how])

    def lives() -> tuple[Process, Process]:
        watch = mien("watch", "--settings", device.settings)
        wait_for(lambda: "report" in watch.events() or not watch.running, 60, why="a report")
        assert watch.end() == 0, watch.err.read_text()
        send = mien("send", "--settings", device.settings, "--once")
        assert send.wait(60) == 0, send.err.read_text()
        return watch, send

    watch, send = lives()
    said = [[f"{line['event']} {line.get('because')}" for line in one.log if line["level"] == "error"] for one in (watch, send)]
    again = lives()

    for process, errors, names in ((watch, said[0], WATCHING), (send, said[1], SENDING)):
        assert process.complaints == []  # so no traceback
        for name in names:
            assert any(f"{device.folder / name}: " in error for error in errors), (name, errors)
    assert any("report-000000000001.json was not a report" in error for error in said[1]) or how == "a link to nothing"
    assert device.seqs("new") == []
    assert 3 in device.seqs("sent") or max(device.seqs("sent")) > 3
    left = [error for process in again for error in process.events("error") if f"{device.folder}/inbox/" not in error]
    assert left == []  # what is in the inbox is the fleet's, which says it again


@pytest.mark.parametrize("name", ["tmp", "new", "sent", "bad"])
def test_a_file_where_a_folder_of_the_spool_should_be_is_set_aside(device: Device, mien: Callable[..., Process], name: str) -> None:
    device.write(broker='publisher = "stdout"')
    (device.folder / "spool").mkdir()
    (device.folder / "spool" / name).write_bytes(b"not a folder")

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0, send.err.read_text()
    assert (device.folder / "spool" / f"{name}.bad").read_bytes() == b"not a folder"
