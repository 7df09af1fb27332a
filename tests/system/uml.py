"""A machine with a kernel of its own: user-mode Linux on a Debian root with mien, for limits that a container does not enforce.

Nothing can be asked from outside: what is to be done is a script that runs inside once systemd is up; what it prints comes back.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

SCRIPT, OUT, END = "usr/local/task.sh", "usr/local/task.out", "usr/local/task.end"
UDEV = ("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket")
UNWANTED = (*UDEV, "systemd-firstboot.service", "systemd-random-seed.service", "systemd-logind.service", "e2scrub_reap.service")
TASK = f"""[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/bash /{SCRIPT} > /{OUT} 2>&1; echo $? > /{END}; systemctl poweroff --force --force'
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
"""


def run(root: Path, script: str, log: Path, *, seconds: float, memory: str = "1G") -> str:
    """Boot, run a script, power off; returns what it has printed. It has to end with 0."""
    (root / SCRIPT).write_text(script)
    wants = root / "etc/systemd/system/graphical.target.wants/task.service"
    wants.parent.mkdir(parents=True, exist_ok=True)
    (root / "etc/systemd/system/task.service").write_text(TASK)
    wants.symlink_to("../task.service")
    for unwanted in UNWANTED:
        (root / "etc/systemd/system" / unwanted).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unwanted).symlink_to("/dev/null")
    words = [
        "linux.uml",
        f"mem={memory}",
        "rootfstype=hostfs",
        f"rootflags={root}",
        "rw",
        "init=/sbin/init",
        "con=null",
        "con0=fd:0,fd:1",
    ]
    kernel = [*words, "systemd.unified_cgroup_hierarchy=1", "systemd.mask=getty.target", "systemd.show_status=0"]
    with log.open("wb") as console:
        machine = subprocess.Popen(kernel, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        try:
            with suppress(subprocess.TimeoutExpired):  # what follows says how far it got
                machine.wait(seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)  # each process inside is one of this machine's
            machine.wait()
    end, out = root / END, root / OUT
    said = out.read_text(errors="replace") if out.exists() else ""
    assert end.exists(), f"the script did not end\n{said}\n{log.read_text(errors='replace')[-3000:]}"
    assert end.read_text().strip() == "0", said
    return said
