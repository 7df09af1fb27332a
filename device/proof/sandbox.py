"""Runs a program where the kernel leaves something out: the network, or the devices."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from device.errors import MienError
from device.proof.tracer import NotTriedError

NO_NETWORK: Final = ("--net",)
PRIVATE_DEVICES: Final = ("--mount",)
KEPT: Final = ("null", "zero", "full", "random", "urandom")  # what PrivateDevices=yes of systemd keeps, as far as it matters here
SCRIPT: Final = """
set -e
inside=$1; shift
for name in {kept}; do touch "$inside/$name"; mount --bind "/dev/$name" "$inside/$name"; done
mount --rbind "$inside" /dev
exec "$@"
"""


def without_network(words: list[str]) -> list[str]:
    """The same program in a network namespace of its own, which has no interface: what ``PrivateNetwork=yes`` does."""
    return [*_unshare(NO_NETWORK), *words]


def without_devices(words: list[str], folder: Path) -> list[str]:
    """The same program with a ``/dev`` that has no camera: what ``PrivateDevices=yes`` does.

    Args:
        folder: Empty; becomes ``/dev``.
    """
    return [*_unshare(PRIVATE_DEVICES), "sh", "-c", SCRIPT.format(kept=" ".join(KEPT)), "sh", str(folder), *words]


def run(words: list[str], *, env: Mapping[str, str], cwd: Path, timeout: float) -> str:
    """Run a program to its end; returns what it has printed.

    Raises:
        MienError: It did not end well, or not in time.
    """
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, stdin=subprocess.DEVNULL, cwd=cwd, env=dict(env), timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise MienError(f"{' '.join(words[-4:])} did not end within {timeout:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise MienError(f"{' '.join(words[-4:])} ended with {done.returncode}: {' / '.join(said[-3:])}")
    return done.stdout.decode()


def _unshare(what: tuple[str, ...]) -> list[str]:
    """How to get a namespace here: as root, or as an ordinary user where the kernel permits user namespaces.

    Raises:
        NotTriedError: Neither works.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NotTriedError("unshare is not installed; install it: sudo apt install util-linux")
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = [unshare, *user, *what]
    tried = subprocess.run([*command, "true"], check=False, capture_output=True)
    if tried.returncode != 0:
        raise NotTriedError(
            f"this user may not make namespaces ({tried.stderr.decode(errors='replace').strip()}); run as root, "
            "or allow them: sudo sysctl kernel.unprivileged_userns_clone=1"
        )
    return command
