"""``kill -9`` of a device in every state of a rollout: the end is always one whole model, and the state that says which."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.contract_model import Array, ModelJob
from device.manifest import FOLDER, read_manifest
from device.model_store import in_force
from device.settings import parse
from tests.build import settings_text
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.repository import EMOTION, Shop, Web, another, serve, vectors_of

pytestmark = pytest.mark.timeout(300)
NEW = hashlib.sha256(another()).hexdigest()
STATE, TOLD, SLOT = "/state/rollout.json", "/run/model.json", "/inbox/model.json"


@dataclass
class Box:
    """A device in a folder, which trusts a fleet's repository."""

    folder: Path
    start: Callable[..., Process]
    url: str = "mqtt://127.0.0.1:1"

    def __post_init__(self) -> None:
        self.shop = Shop(self.folder / "fleet")
        (self.folder / "root.json").write_bytes(self.shop.root)
        text = (
            settings_text(self.folder, self.url)
            + f'\n[models]\nroot_file = "{self.folder}/root.json"\ndetector = "short"\ntiles = 1\n'
        )
        self.settings, self.file = parse(text, "f"), self.folder / "settings.toml"
        self.file.write_text(text)

    def publish(self, good: bool, url: str = "http://127.0.0.1:1") -> ModelJob:
        wrong = vectors_of().model_copy(update={"outputs": (Array.of(np.zeros((8, 8), np.float32)),)})
        target = self.shop.publish(vectors=None if good else wrong.model_dump_json(by_alias=True).encode())
        return self.shop.job(target, url)

    def mien(self, command: str) -> Process:
        return self.start(sys.executable, "-m", "device.cli", command, "--settings", self.file)

    def dies(self, command: str, event: str, suffix: str, count: int) -> None:
        words = ("-m", "tests.killed_at", event, suffix, str(count), command)
        process = self.start(sys.executable, *words, "--settings", self.file)
        assert process.wait(120) == -signal.SIGKILL, process.err.read_text()

    @property
    def told(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "run/model.json").read_text()))
        except FileNotFoundError:
            return {}

    def ends(self, watch: Process, state: str, sha256: str) -> None:
        """One whole model: on disk, in memory, and in what is told."""
        wait_for(lambda: self.told.get("state") == state or not watch.running, 120, why=f"{state}, not {self.told}")
        assert watch.running, watch.err.read_text()
        file = in_force(read_manifest(FOLDER), self.settings).file("emotion")
        assert (file.sha256, hashlib.sha256(file.path.read_bytes()).hexdigest()) == (sha256, sha256)
        health = self.folder / "run/health.json"
        wait_for(lambda: (health.exists() and sha256 in health.read_text()) or not watch.running, 60, why="the model to be loaded")
        left = {path.name for path in (self.folder / "state/models").glob("*")}
        assert left <= {f"{sha256}.tflite"}


# What is about to happen when the watching process dies, in the order of a job's life.
DEATHS = {
    "staged, not looked at": (True, "open", SLOT, 1),
    "seen, not remembered": (True, "os.rename", STATE, 1),
    "remembered, not told": (True, "os.rename", TOLD, 1),
    "attempt not counted": (True, "os.rename", STATE, 2),
    "metadata half verified": (True, "os.rename", "/tuf/snapshot.json", 1),
    "signatures good, file not in place": (True, "os.rename", f"/models/{NEW}.tflite", 1),
    "test vectors good, not remembered": (True, "os.rename", STATE, 3),
    "verified, not told": (True, "os.rename", TOLD, 2),
    "trial not counted": (True, "os.rename", STATE, 4),
    "trial begun, nothing opened": (True, "open", f"/models/{NEW}.tflite", 2),
    "trial passed, not remembered": (True, "os.rename", STATE, 5),
    "committed, not told": (True, "os.rename", TOLD, 3),
    "refused, not remembered": (False, "os.rename", STATE, 3),
    "refused, not told": (False, "os.rename", TOLD, 2),
}


@pytest.mark.parametrize("state", DEATHS)
def test_the_watching_process_killed_in_any_state_ends_with_one_whole_model(
    tmp_path: Path, start: Callable[..., Process], state: str
) -> None:
    good, event, suffix, count = DEATHS[state]
    box = Box(tmp_path, start)
    box.shop.stage(box.settings.inbox_folder, box.publish(good))
    box.dies("watch", event, suffix, count)
    file = in_force(read_manifest(FOLDER), box.settings).file("emotion")
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256

    watch = box.mien("watch")

    box.ends(watch, "committed" if good else "rejected", NEW if good else EMOTION.sha256)
    assert watch.end() == 0


def test_a_model_that_kills_the_watching_process_three_times_is_taken_back(tmp_path: Path, start: Callable[..., Process]) -> None:
    box = Box(tmp_path, start)
    box.shop.stage(box.settings.inbox_folder, box.publish(good=True))
    for _ in range(3):
        watch = box.mien("watch")
        wait_for(lambda watch=watch: "watching" in watch.events() or not watch.running, 120, why="the trial")  # type: ignore[misc]
        assert box.told["state"] == "trial", watch.err.read_text()
        watch.end(signal.SIGKILL)

    watch = box.mien("watch")

    box.ends(watch, "rolled_back", EMOTION.sha256)
    assert box.told["reason"] == "crashed"


@pytest.mark.parametrize("event", ["os.rename", "open"])
def test_killed_while_it_takes_a_model_back_it_has_one_whole_model(
    tmp_path: Path, start: Callable[..., Process], event: str
) -> None:
    """A committed model is withdrawn; death comes before that is remembered, and before the packaged model is opened again."""
    box = Box(tmp_path, start)
    job = box.publish(good=True)
    box.shop.stage(box.settings.inbox_folder, job)
    watch = box.mien("watch")
    box.ends(watch, "committed", NEW)
    assert watch.end() == 0
    box.shop.leave(box.settings.inbox_folder, job.model_copy(update={"action": "withdraw"}))
    box.dies("watch", event, STATE if event == "os.rename" else "/models/emotion.tflite", 1)

    watch = box.mien("watch")

    box.ends(watch, "rolled_back", EMOTION.sha256)
    assert box.told["reason"] == "withdrawn"


SENDING = {
    "job not remembered": ("os.rename", "/send/model.json", 1),
    "download not remembered": ("os.rename", "/send/model.json", 2),
    "metadata half fetched": ("os.rename", "/metadata/snapshot.json", 1),
    "download begins": ("open", ".tflite.part", 1),
    "downloaded, not in place": ("os.rename", ".tflite", 1),
    "in place, not handed over": ("os.rename", SLOT, 1),
    "handed over, not remembered": ("os.rename", "/send/model.json", 3),
}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "fleet").mkdir()
    with serve(tmp_path / "fleet" / "models" / "repository") as web:
        yield web


@pytest.mark.parametrize("state", SENDING)
def test_the_sending_process_killed_in_any_state_hands_the_model_over_in_the_end(
    tmp_path: Path, start: Callable[..., Process], mosquitto: Mosquitto, listen: Callable[..., Listener], web: Web, state: str
) -> None:
    event, suffix, count = SENDING[state]
    box = Box(tmp_path, start, mosquitto.url)
    job = box.publish(good=True, url=web.url)
    words = ("-V", "mqttv5", "-p", str(mosquitto.port), "-q", "1", "-r", "-t", "mien/v1/shelf-7/down/model")
    subprocess.run(("mosquitto_pub", *words, "-m", job.model_dump_json()), check=True, timeout=20)
    heard = listen(mosquitto, "-t", "mien/v1/shelf-7/up/model")
    box.dies("send", event, suffix, count)

    send, watch = box.mien("send"), box.mien("watch")

    box.ends(watch, "committed", NEW)
    wait_for(lambda: heard.messages and heard.messages[-1]["payload"]["state"] == "committed", 60, why="the state")
    wait_for(lambda: not (tmp_path / "inbox/model/targets").exists(), 60, why="the staged files to be removed")
    assert send.running
