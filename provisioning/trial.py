"""Mosquitto with the fleet's configuration, on this machine, for a trial: ``mien-fleet broker``."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from provisioning import files, mosquitto
from provisioning.errors import BrokerError
from provisioning.fleet import Fleet

LOOK_EVERY: Final = 0.5  # seconds between two looks at the revocation list
HINT: Final = "on Debian or Raspberry Pi OS: sudo apt install mosquitto mosquitto-clients (its service need not run)"


def program(path: str | None = None) -> str:
    """Where Mosquitto is.

    Args:
        path: Folders to look in; ``None`` for ``$PATH`` and those of system programs.

    Raises:
        BrokerError: Nowhere.
    """
    found = shutil.which("mosquitto", path=path or f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerError(f"mosquitto is not installed; {HINT}")
    return found


def prepare(fleet: Fleet, port: int | None = None) -> Path:
    """Write the configuration of a broker that lives in the fleet's folder; returns the file."""
    folder = files.private_folder(fleet.folder.absolute() / "trial")
    state = folder / "dynamic-security.json"
    if not state.exists():
        files.write(state, mosquitto.dynamic_security())
    host = fleet.host if _loopback(fleet.host) else ""
    user = "root" if os.geteuid() == 0 else "mosquitto"  # whoever is not root stays who they are
    text = mosquitto.configuration(
        fleet.size, port=port or fleet.port, host=host, files=folder.parent / "broker", data=folder, user=user
    )
    return files.write(folder / "mosquitto.conf", text)


def run(fleet: Fleet, port: int | None = None, ready: Callable[[int], None] = lambda _: None) -> int:
    """Run the broker until a signal ends it; it reads the revocation list again whenever that changes.

    Args:
        fleet: Whose configuration.
        port: Instead of the one in the fleet's URL.
        ready: Called with the port once the broker listens.

    Returns:
        Mosquitto's exit code.

    Raises:
        BrokerError: Mosquitto is missing, cannot be started, or the port is taken.
    """
    mosquitto_program, port = program(), port or fleet.port
    config, crl = prepare(fleet, port), fleet.folder / "broker" / "crl.pem"
    if _listens(port):
        raise BrokerError(
            f"port {port} is taken (by Debian's own mosquitto service? sudo systemctl stop mosquitto); or give --port"
        )
    seen = crl.stat().st_mtime_ns
    process = subprocess.Popen([mosquitto_program, "-c", str(config)], preexec_fn=_end_with_parent)  # noqa: PLW1509 (no threads yet)
    before = {number: signal.signal(number, lambda *_: process.terminate()) for number in (signal.SIGTERM, signal.SIGINT)}
    told = False
    try:
        while True:
            try:
                return process.wait(0.05 if not told else LOOK_EVERY)
            except subprocess.TimeoutExpired:
                pass
            if not told and _listens(port):
                told = True
                ready(port)
            if (now := crl.stat().st_mtime_ns) != seen:
                seen = now
                process.send_signal(signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        process.terminate()
        process.wait()


def _loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def _listens(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                if probe.connect_ex((host, port)) == 0:
                    return True
        except OSError:
            continue
    return False


def _end_with_parent() -> None:
    """Ask Linux to end the broker when this process dies, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
