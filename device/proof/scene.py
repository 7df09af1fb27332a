"""A folder with all that the real processes need to be tried in: settings, pictures, a spool, a broker."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from device.commands.broker import embedded
from device.errors import BrokerError
from device.proof import pictures, sandbox
from device.proof.memory import HERE
from device.proof.tracer import NotTriedError

PICTURES: Final = 40
TIMEOUT: Final = 60.0  # seconds that a process gets


class Place:
    """Where the proof takes place.

    Args:
        folder: Empty, and private to the proof.
        stack: Ends what is started here.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
        self._stack = stack
        self._broker = ""

    def command(self, *words: str | Path) -> list[str]:
        """This Python, with these words."""
        return [sys.executable, *map(str, words)]

    def run(self, command: list[str]) -> str:
        """What a program prints. Raises MienError when it does not end well."""
        return sandbox.run(command, env=self.env, cwd=self.folder, timeout=TIMEOUT)

    def python(self, *words: str | Path) -> str:
        return self.run(self.command(*words))

    def people(self) -> Path:
        """A recording of three people in front of the canary."""
        folder = self.folder / "people"
        if not folder.exists():
            pictures.write_people(folder, PICTURES)
        return folder

    def settings(self, url: str = "mqtt://127.0.0.1:9") -> Path:
        """A settings file; without a URL, reports are printed."""
        file, where = self.folder / "settings.toml", self.folder
        broker = f'url = "{url}"' if url else 'publisher = "stdout"'
        file.write_text(
            f'window_seconds = 5\nk = 3\nnoise = "off"\nrun_folder = "{where}/run"\nstate_folder = "{where}/state"\n'
            f'inbox_folder = "{where}/inbox"\nsend_folder = "{where}/send"\n[policy]\nsetting = "research"\njurisdiction = "EU"\n'
            f'[camera]\nfast = true\n[spool]\nfolder = "{where}/spool"\n[broker]\n{broker}\n'
        )
        return file

    def waiting(self) -> list[Path]:
        """The reports in the spool."""
        return sorted((self.folder / "spool" / "new").glob("report-*"))

    def reports(self) -> int:
        """How many reports wait, made by the real process where there were none."""
        if not self.waiting():
            self.python("-m", "device.cli", "watch", "--settings", self.settings(), "--camera", f"replay:{self.people()}")
        return len(self.waiting())

    def broker(self) -> str:
        """The URL of a broker without TLS. Raises NotTriedError where there is none."""
        if not self._broker:
            try:
                self._broker = self._stack.enter_context(embedded(self.folder))
            except BrokerError as error:
                raise NotTriedError(f"{error}") from error
        return self._broker

    def port(self) -> int:
        """A port of this machine that somebody listens on."""
        server = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        return int(server.getsockname()[1])
