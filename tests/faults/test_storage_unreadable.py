"""A file on a bad place of the card, or something else in its place: it is replaced, and nobody has to come for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device import health
from device.health import WatchHealth
from device.ledger import Ledger
from device.noise import MICRO, Budget
from tests.build import Device, SetClock
from tests.conftest import Process, wait_for

pytestmark = pytest.mark.timeout(120)
COMPILER = shutil.which("cc") or shutil.which("gcc")
FULL = """
import sys
from pathlib import Path
from device.spool import Limits, Spool
from tests.build import envelope

spool = Spool(Path(sys.argv[1]), "watch", Limits(files=2))
for number in range(1, 6):
    spool.put(envelope(number))
"""
NOISE = 'noise = "discrete-laplace"\nepsilon_window = 0.01\nepsilon_day = 400.0'
Unreadable = Callable[..., Process]


@pytest.fixture
def unreadable(tmp_path: Path, start: Callable[..., Process]) -> Unreadable:
    """A function that starts the real ``mien`` where a file, by the end of its path, cannot be read."""
    if COMPILER is None:
        pytest.skip("no C compiler is installed: sudo apt install gcc libc6-dev")
    library = tmp_path / "unreadable.so"
    source = Path(__file__).with_name("unreadable.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True, timeout=60)

    def run(name: str, *words: str | Path) -> Process:
        shim = (f"LD_PRELOAD={library}", f"UNREADABLE={name}", f"UNKNOWN={name}")
        return start("env", *shim, sys.executable, *(words if words[0] == "-c" else ("-m", "device.cli", *words)))

    return run


def test_settings_that_cannot_be_read_for_now_are_read_again_and_not_taken_for_wrong(
    device: Device, unreadable: Unreadable
) -> None:
    device.write()

    watch, send = (unreadable("/settings.toml", word, "--settings", device.settings) for word in ("watch", "send"))

    for process in (watch, send):
        assert process.wait() == 75  # systemd starts it again, as it does not after 78
        said = f"mien: {device.settings}: cannot read the settings (Input/output error); check the disk, then try again"
        assert process.complaints == [said]


def test_a_name_of_the_connection_that_cannot_be_read_is_replaced(device: Device, unreadable: Unreadable) -> None:
    device.write(broker='publisher = "stdout"').put(2)
    name = device.folder / "send" / "connection_name"
    name.parent.mkdir()
    name.write_text("a" * 22)

    send = unreadable("/send/connection_name", "send", "--settings", device.settings, "--once")

    assert send.wait() == 0, send.err.read_text()
    assert device.seqs("new") == []
    assert name.read_text() != "a" * 22


def test_a_ledger_that_cannot_be_read_is_set_aside_like_a_damaged_one(device: Device, unreadable: Unreadable) -> None:
    device.write(top=NOISE)
    state = device.folder / "state"
    Ledger(state, Budget(5, MICRO // 100, 400 * MICRO), SetClock(1.0)).close()
    before = (state / "ledger.json").read_bytes()

    watch = unreadable("/state/ledger.json", "watch", "--settings", device.settings)
    wait_for(lambda: device.held("new") > 0 if (device.folder / "spool" / "new").exists() else not watch.running, why="a report")

    assert watch.end() == 0, watch.err.read_text()
    assert any("the ε ledger is damaged" in said for said in watch.events("error"))
    assert (state / "ledger.json.bad").read_bytes() == before


def test_a_report_of_which_nothing_can_be_found_out_stays_and_a_full_spool_goes_on(device: Device, unreadable: Unreadable) -> None:
    put = unreadable("/report-000000000002.json", "-c", FULL, device.folder / "spool")

    assert put.wait() == 0, put.err.read_text()
    assert device.seqs("new") == [2, 4, 5]


@pytest.mark.parametrize("name", ["ledger.json", ".ledger.lock", "ledger.tmp"])
def test_a_folder_in_the_place_of_a_file_of_the_ledger_ends_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "something").mkdir(parents=True)

    ledger = Ledger(tmp_path, Budget(900, MICRO, 100 * MICRO), SetClock(1.0))

    assert ledger.left == 0
    ledger.close()


@pytest.mark.parametrize("name", ["health.json", "health.tmp"])
@pytest.mark.parametrize("how", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
@pytest.mark.timeout(20)
def test_what_stands_in_the_place_of_the_health_is_moved_or_replaced(
    tmp_path: Path, name: str, how: Callable[[Path], object]
) -> None:
    how(tmp_path / name)
    told = WatchHealth(at=1.0, health="ok", trouble=None, models=None)

    health.write(tmp_path, told)

    assert health.read(tmp_path, 2.0) == told


@pytest.mark.parametrize("name", ["device.pem", "device.key", "ca.pem"])
def test_a_pipe_in_the_place_of_an_identity_is_named_and_not_waited_for(
    device: Device, mien: Callable[..., Process], name: str
) -> None:
    folder = device.folder
    files = f'ca_file = "{folder}/ca.pem"\ncertificate_file = "{folder}/device.pem"\nkey_file = "{folder}/device.key"'
    for one in ("ca.pem", "device.pem", "device.key"):
        (folder / one).write_text("x")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    device.write("mqtts://localhost:1", broker=files)

    watch, send = (mien(word, "--settings", device.settings) for word in ("watch", "send"))

    assert (watch.wait(), send.wait()) == (65, 69)  # systemd starts both again: an identity is received, and may come again
