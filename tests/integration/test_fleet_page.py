"""What README and ``docs/fleet.md`` say about fleets is true: their blocks are run in order, as a newcomer would, in one shell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.build import free_port
from tests.conftest import MOSQUITTO, ROOT

LIMIT = 280.0  # seconds; a person has five minutes
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALL = ".venv/bin/pip install '.[fleet]'\n"  # what runs here is this tree
MISSING = MOSQUITTO is None or any(shutil.which(one) is None for one in ("mosquitto_sub", "openssl", "awk"))
PROMISED = {
    "README.md": ["10, all after", "made, ", " 0 lost", "simulated  live"],
    "docs/fleet.md": ["10 of 10 messages", "applied", "succeeded", ".tflite  done  rollout", "revoked", "2 new of 2 serials"],
}


@pytest.mark.skipif(MISSING, reason="needs mosquitto, mosquitto-clients and openssl: sudo apt install them")
@pytest.mark.timeout(320)
@pytest.mark.parametrize("page", sorted(PROMISED))
def test_the_page_leads_from_nothing_to_a_fleet(page: str, tmp_path: Path) -> None:
    """Every command succeeds, and what the page promises is what they print. Ports are others: these may be taken."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in (("mien-fleet", "provisioning.cli"), ("mien", "device.entry")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "models").symlink_to(ROOT / "models")
    blocks = BLOCK.findall((ROOT / page).read_text())
    said = "".join(f'echo "=== {number}"\n{block.replace(INSTALL, "")}' for number, block in enumerate(blocks))
    ports = {"8883": str(free_port()), "8000": str(free_port())}
    said = said.replace("-n 10 --minutes 1 ", "-n 10 --minutes 0.4 ")  # README's devices do all the same in less time
    script = re.sub("8883|8000", lambda found: ports[found[0]], f"set -euo pipefail -m\n{said}")
    path = f"{programs}:{os.environ['PATH']}:/usr/sbin"

    with (tmp_path / "printed").open("wb") as file:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with suppress(subprocess.TimeoutExpired):
            shell.wait(LIMIT)
    finally:
        _end(shell.pid)

    printed = (tmp_path / "printed").read_text()
    logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in tmp_path.glob("*.log"))
    assert shell.returncode == 0, f"{printed}\n{logs}"
    for wanted in PROMISED[page]:
        assert wanted in printed, f"{wanted!r} is not in:\n{printed}"


def _end(session: int) -> None:
    """Kill whatever of a session still runs: each job of an interactive shell is a process group of its own."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                os.kill(int(entry.name), signal.SIGKILL)
