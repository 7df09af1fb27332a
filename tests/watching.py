"""A watching process as far as commands go, without a camera: the test says what comes, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device import inbox, order
from device.consent import Consent
from device.contract_command import Check, Command, Finding, Reason
from device.order import Order
from device.orders import Orders
from device.settings import Settings, parse
from tests.build import SetClock, recorded, settings_text

Found = dict[Check, Finding] | Reason | None


class Watching:
    """A watching process as far as commands go; ``again`` is the next one on the same disk."""

    def __init__(self, folder: Path, clock: SetClock | None = None) -> None:
        self.folder, self.clock = folder, clock or SetClock(1000.0)
        self.settings = parse(settings_text(folder), "settings.toml")
        self.log, self.entries = recorded()
        self.found: Found = None
        self.doctors = 0
        self.file: Callable[[], Settings] = lambda: self.settings
        self.consent = Consent()
        self.orders = Orders(self.settings, self.clock, self.log, reread=self._reread, doctor=self._doctor)
        self.orders.begin(self.consent)

    def _reread(self) -> Settings:
        return self.file()

    def _doctor(self) -> Callable[[], Found]:
        self.doctors += 1
        return lambda: self.found

    def again(self, boot: str = "5f0c1a2b") -> Watching:
        clock = SetClock(self.clock.now())
        object.__setattr__(clock, "boot", boot)
        return Watching(self.folder, clock)

    def left(self, name: str, command: str, seconds: int | None = None, expires: float = 60.0) -> Watching:
        """The sending process leaves this."""
        asked = Command.model_validate({"command": command, "seconds": seconds})
        until = self.clock.now() + expires
        order.leave(self.settings.inbox_folder, Order(schema=1, id=name, command=asked, boot=self.clock.boot, until=until))
        return self

    def look(self) -> Watching:
        self.orders.look(self.consent)
        return self

    @property
    def paused(self) -> bool:
        return self.orders.paused(self.consent)

    def answer(self, name: str) -> tuple[str, str | None] | None:
        path = order.answer_file(self.settings.run_folder, name)
        said: Any = json.loads(path.read_bytes()) if path.exists() else None
        return said and (said["state"], said["reason"])

    @property
    def waiting(self) -> list[str]:
        return [path.stem for path, _ in inbox.commands(self.settings.inbox_folder)[0]]
