"""``mien-fleet serve`` that dies by SIGKILL around a twin: ``python -m tests.killed_twins FOLDER sent|heard``.

``sent``: once a wish is taken to be sent, before it leaves. ``heard``: once a report has come, before it is stored.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from provisioning import fleet, twins
from provisioning.authority import Authority
from provisioning.registry import Registry
from provisioning.serve import Service

due = twins.due


def take_and_die(registry: Registry) -> list[tuple[str, bytes]]:
    found = due(registry)
    if found:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


def die(registry: Registry, device: str, payload: bytes) -> None:
    del registry, device, payload
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2] == "sent":
        twins.due = take_and_die
    else:
        twins.heard = die
    registry = Registry.open(f"sqlite:///{folder}/registry.db")
    authority = Authority.open(folder, (folder.parent / "passphrase").read_bytes().strip())
    Service(fleet.load(folder), authority, registry).run(lambda: False)
