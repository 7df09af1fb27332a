"""``mien-fleet serve`` with something odd about it: ``python -m tests.odd_service FOLDER [silent=STEP] [dies=STEP]``.

It leaves a step unanswered, as if the request were lost; or it dies by SIGKILL once it has decided, before the answer leaves.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioning import fleet
from provisioning.authority import Authority
from provisioning.intake import Intake
from provisioning.registry import Registry
from provisioning.renewal import Renewals
from provisioning.serve import Service


def odd(handle: Callable[..., Any], silent: str | None, dies: str | None) -> Callable[..., Any]:
    def handled(self: object, topic: str, payload: bytes) -> Any:
        step = topic.rsplit("/", 1)[1]
        if step == silent:
            return None
        answer = handle(self, topic, payload)
        if step == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return handled


def main(folder: Path, silent: str | None = None, dies: str | None = None) -> None:
    Intake.handle = odd(Intake.handle, silent, dies)  # type: ignore[method-assign]
    Renewals.handle = odd(Renewals.handle, silent, dies)  # type: ignore[method-assign]
    registry = Registry.open(f"sqlite:///{folder}/registry.db")
    authority = Authority.open(folder, (folder.parent / "passphrase").read_bytes().strip())
    Service(fleet.load(folder), authority, registry).run(lambda: False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), **dict(word.split("=") for word in sys.argv[2:]))
