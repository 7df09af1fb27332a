"""A machine of its own in a container: systemd as process 1, with its own network, on a Debian root with mien."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 120.0  # seconds for a condition: two cores, and others at work
PRINTED = ("ActiveState", "SubState", "MainPID", "NRestarts", "Result", "ExecMainStatus", "ExecMainCode", "StatusText")


class Machine:
    """A container that has booted.

    Attributes:
        root: Its file system, as this machine sees it.
    """

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(self, *words: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program inside; with ``check`` it has to end with 0."""
        inside = ("nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", *words)
        done = subprocess.run(inside, check=False, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def unit(self, name: str) -> dict[str, str]:
        """What systemd says about a unit."""
        said = self.run("systemctl", "show", name, "-p", ",".join(PRINTED)).stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def pid(self, name: str) -> int:
        """The unit's main process, as the machine numbers it; 0 when there is none."""
        return int(self.unit(name)["MainPID"])

    def kill(self, name: str, number: signal.Signals) -> None:
        self.run("sh", "-c", f"kill -{number.value} {self.pid(name)}")  # a minimal system has no kill(1)

    def journal(self, name: str) -> str:
        return self.run("journalctl", "-u", name, "-o", "cat", "--no-pager").stdout

    def wait(self, condition: Callable[[], object], why: str, seconds: float = LIMIT) -> None:
        """Wait for a condition; what the units have said is shown when it does not come true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{why} did not come true within {seconds} s\n{self.journal('mien-*')[-4000:]}")
            time.sleep(0.1)


@contextmanager
def booted(root: Path, log: Path, *more: str) -> Iterator[Machine]:
    """Start a container, with more words for systemd-nspawn; ends with it, and nothing of it is left running."""
    words = ["systemd-nspawn", "-q", "-D", str(root), "--private-network", "--register=no", "--keep-unit", "-b"]
    words += ["--resolv-conf=off", "--system-call-filter=bpf", "--capability=CAP_BPF", *more]  # for IPAddressDeny, as on a machine
    with log.open("wb") as out:
        container = subprocess.Popen(
            [*words, "--console=interactive"],  # as a pipe it hangs
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "UNIFIED_CGROUP_HIERARCHY": "1"},
        )
    try:
        machine = Machine(root, _leader(container, log))
        up = ("running", "degraded")
        machine.wait(lambda: machine.run("systemctl", "is-system-running", check=False).stdout.strip() in up, "the boot")
        yield machine
    finally:
        container.terminate()  # which powers it off
        try:
            container.wait(30)
        except subprocess.TimeoutExpired:
            container.kill()
            container.wait()


def _leader(container: subprocess.Popen[bytes], log: Path) -> int:
    """Process 1 of the container, as this machine numbers it, once it answers."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        assert container.poll() is None, log.read_text(errors="replace")
        for child in children.read_text().split():
            ready = ("nsenter", "-t", child, "-m", "-p", "--", "test", "-S", "/run/systemd/private")
            if subprocess.run(ready, check=False, capture_output=True).returncode == 0:
                return int(child)
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))
