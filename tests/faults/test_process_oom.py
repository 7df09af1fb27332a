"""The kernel kills a process because memory is short: nothing that was stored is lost, and the next one goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from device.spool import Spool
from tests.build import Device
from tests.conftest import Process, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
GROUPS = Path("/sys/fs/cgroup/memory")

# The whole of mien watch, and beside it in the same process something that eats memory once there is a report.
HUNGRY = """
import os, sys, threading, time
from pathlib import Path

Path(sys.argv[1], "tasks").write_text(str(os.getpid()))
sys.orig_argv = ["python", "-m", "device.cli", "watch"]
# Else it would begin anew without the thread.
os.environ |= {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0", "PYTHONMALLOC": "malloc"}

def eat():
    while not list(Path(sys.argv[2], "spool", "new").glob("*")):
        time.sleep(0.05)
    eaten = []
    while True:
        eaten.append(bytearray(b"x" * 10_000_000))

threading.Thread(target=eat, daemon=True).start()
from device.cli import main
main(["watch", "--settings", sys.argv[2] + "/settings.toml"])
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory cgroup (version 1) with a limit of 600 MB."""
    folder = GROUPS / f"mien-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text("600000000")
    except OSError as error:
        pytest.skip(f"{folder}: no memory cgroup of version 1 can be made here ({error.strerror})")
    yield folder

    def gone() -> bool:
        with suppress(OSError):
            folder.rmdir()
        return not folder.exists()

    wait_for(gone, why="the group to be empty")


def test_a_watching_process_that_the_kernel_kills_has_lost_nothing_that_it_stored(
    device: Device, group: Path, start: Callable[..., Process], mien: Callable[..., Process]
) -> None:
    device.write(broker='publisher = "stdout"')

    hungry = start(sys.executable, "-c", HUNGRY, group, device.folder)
    ended = hungry.wait(120)

    assert ended == -signal.SIGKILL, hungry.err.read_text()
    assert "oom_kill 1" in (group / "memory.oom_control").read_text()
    said = [line["seq"] for line in hungry.log if line["event"] == "report"]
    assert said
    with closing(Spool(device.folder / "spool", "send")) as spool:
        assert {envelope.seq for path in spool.waiting() if (envelope := spool.read(path))} >= set(said)
    watch = mien("watch", "--settings", device.settings)
    wait_for(lambda: "report" in watch.events() or not watch.running, 60, why="a report of the next process")
    assert watch.end() == 0, watch.err.read_text()
    assert max(said) < max(device.seqs("new"))
