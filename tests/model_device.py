"""The watching process's side of a rollout for tests, without a camera."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.contract_model import ModelJob, ModelState
from device.manifest import FOLDER, read_manifest
from device.model_store import Models, in_force
from device.settings import Settings, parse
from device.watch import load_nets
from tests.build import PERMISSIVE, SetClock, recorded, settings_text
from tests.repository import EMOTION, Shop, another

NEW = hashlib.sha256(another()).hexdigest()


@dataclass
class Device:
    """The watching process's side of a device, without its camera."""

    folder: Path
    policy: str = PERMISSIVE

    def __post_init__(self) -> None:
        self.shop = Shop(self.folder / "fleet")
        (self.folder / "root.json").write_bytes(self.shop.root)
        text = settings_text(self.folder, policy=self.policy) + f'\n[models]\nroot_file = "{self.folder}/root.json"\n'
        self.settings: Settings = parse(text, "f")
        self.clock, (self.log, self.said) = SetClock(), recorded()
        self.start()

    def start(self) -> None:
        """As if the process had just begun."""
        self.models = Models(self.settings, self.clock, self.log)

    def run(self) -> None:
        """A run begins."""
        self.models.before(self.settings)

    def install(self, content: bytes | None = None, job: str = "0123456789abcdef", **other: Any) -> ModelJob:
        """Publish, stage, and let the next run begin."""
        wanted = {name: other.pop(name) for name in ("trial", "timestamp", "timeout_seconds") if name in other}
        made = self.shop.job(self.shop.publish(content, **other), job=job, **wanted)
        self.shop.stage(self.settings.inbox_folder, made)
        self.run()
        return made

    def pass_trial(self) -> None:
        self.clock.move(self.settings.window_seconds)
        assert not self.models.wants(self.clock.now())

    @property
    def told(self) -> ModelState:
        return ModelState.model_validate_json((self.settings.run_folder / "model.json").read_bytes())

    @property
    def state(self) -> tuple[str, str | None]:
        return self.told.state, self.told.reason

    @property
    def in_force(self) -> str:
        """The hash of the model that a run would really load."""
        manifest = in_force(read_manifest(FOLDER), self.settings)
        assert hashlib.sha256(manifest.file("emotion").path.read_bytes()).hexdigest() == manifest.file("emotion").sha256
        return manifest.file("emotion").sha256


def refused(device: Device, reason: str) -> None:
    assert device.state == ("rejected", reason)
    assert device.in_force == EMOTION.sha256
    assert not device.models.wants(device.clock.now())
    assert not list((device.settings.state_folder / "models").glob("*"))
    assert load_nets(device.settings).hashes.emotion == f"sha256:{EMOTION.sha256}"
