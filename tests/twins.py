"""Wishes of a fleet, for tests: a settings file, and what may be laid over it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from device import inbox
from device.contract_twin import ReportedTwin
from device.settings import Settings, parse
from device.twin import Wish, merged
from device.twin_keeper import TwinKeeper, told
from tests.build import recorded, settings_text

FILE = """
device = "shelf-7"
k = 5
epsilon_window = 0.8
epsilon_day = 90.0
[camera]
source = "v4l2:/dev/video0"
fps = 4.0
[policy]
setting = "retail"
jurisdiction = "DE"
staff_out_of_view = "the till is behind the camera"
[consent]
pause_seconds = 600
[broker]
twin = true
"""
BASE = parse(FILE, "f")


def wish(version: int = 1, epoch: int = 1, **desired: Any) -> Wish:
    return Wish(epoch=epoch, version=version, desired=json.dumps(desired))


def want(base: Settings = BASE, **desired: Any) -> Settings:
    found = merged(base, json.dumps(desired))
    assert isinstance(found, Settings), found
    return found


class Device:
    """A device's folders, and a watching process after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file()
        self.start()

    def file(self, top: str = "k = 4") -> None:
        self.settings = parse(settings_text(self.folder, top=top, broker="twin = true"), "f")

    def start(self) -> None:
        """Another process: nothing is left of the one before but what is on disk."""
        self.log, self.entries = recorded()
        self.keeper = TwinKeeper(self.settings, self.log)

    def wish(self, version: int, epoch: int = 1, **desired: Any) -> None:
        self.put(json.dumps({"epoch": epoch, "version": version, "desired": desired}).encode())

    def put(self, content: bytes) -> None:
        inbox.put_slot(self.settings.inbox_folder, "twin", content)

    def begin(self) -> Settings:
        return self.keeper.before(self.settings)

    def run(self) -> Settings:
        """A run that works."""
        settings = self.begin()
        self.keeper.works()
        return settings

    @property
    def said(self) -> ReportedTwin:
        answer = told(self.settings)
        assert answer is not None
        return answer

    def says(self) -> tuple[str, int, int]:
        return self.said.state, self.said.desired_version, self.said.reported.k

    def events(self) -> list[str]:
        return [str(entry["event"]) for entry in self.entries]
