"""``kill -9`` in every state of a wish, of either process: the end is always exactly one version of the settings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device import inbox
from device.settings import parse
from device.twin import Page
from tests.build import settings_text
from tests.conftest import Listener, Mosquitto, Process, wait_for

pytestmark = pytest.mark.timeout(240)
GOOD = {"epoch": 7, "version": 2, "desired": {"window_seconds": 6, "camera": {"fps": 4}}}
BAD = {"epoch": 7, "version": 2, "desired": {"window_seconds": 6, "camera": {"fps": 400}}}
STATE, RUN, INBOX = "/state/twin.json", "/run/twin.json", "/inbox/twin.json"


class Box:
    """A device in a folder, in which version 1 of epoch 7 is in force."""

    def __init__(self, folder: Path, start: Callable[..., Process], url: str = "mqtt://127.0.0.1:1") -> None:
        self.folder, self._start = folder, start
        text = settings_text(folder, url, broker="twin = true")
        self.settings, self.file = parse(text, "f"), folder / "settings.toml"
        self.file.write_text(text)
        (folder / "state").mkdir()
        first = {"epoch": 7, "version": 1}
        page = Page.model_validate({"applied": {**first, "desired": '{"window_seconds":8}'}, **first})
        (folder / "state/twin.json").write_text(page.model_dump_json())

    def wish(self, wish: dict[str, Any]) -> None:
        inbox.put_slot(self.settings.inbox_folder, "twin", json.dumps(wish).encode())

    def mien(self, command: str) -> Process:
        return self._start(sys.executable, "-m", "device.cli", command, "--settings", self.file)

    def dies(self, command: str, event: str, suffix: str, count: int) -> Process:
        return self._start(sys.executable, "-m", "tests.killed_at", event, suffix, str(count), command, "--settings", self.file)

    @property
    def said(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "run/twin.json").read_text()))
        except FileNotFoundError:
            return {}

    @property
    def page(self) -> Page:
        return Page.model_validate_json((self.folder / "state/twin.json").read_text())


def window(watch: Process) -> list[int]:
    """The settings that were really watched with, run by run."""
    return [line["window_seconds"] for line in watch.log if line["event"] == "watching"]


def ends_with(box: Box, watch: Process, wish: dict[str, Any]) -> None:
    """Exactly one version: in memory, on disk, and in what is told."""
    good = wish is GOOD
    wait_for(lambda: box.said.get("desired_version") == 2 or not watch.running, 60, why="an answer")
    wait_for(lambda: window(watch) or not watch.running, 60, why="watching")
    assert watch.running, watch.err.read_text()
    assert box.said["state"] == ("applied" if good else "rejected")
    assert box.said["reported"]["window_seconds"] == (6 if good else 8)
    assert window(watch)[-1] == (6 if good else 8)
    page = box.page
    assert page.applied is not None
    assert (page.applied.version, page.trying, page.version) == (2 if good else 1, None, 2)
    assert bool(page.errors) is not good


# What is about to happen when the watching process dies, in the order of a wish's life.
DEATHS = {
    "received, not looked at": (GOOD, "open", INBOX, 1),
    "valid, not begun": (GOOD, "os.rename", STATE, 1),
    "begun, nothing opened": (GOOD, "open", ".tflite", 1),
    "works, not remembered": (GOOD, "os.rename", STATE, 2),
    "remembered, not told": (GOOD, "os.rename", RUN, 1),
    "refused, not remembered": (BAD, "os.rename", STATE, 1),
    "refused, not told": (BAD, "os.rename", RUN, 1),
}


@pytest.mark.parametrize("state", DEATHS)
def test_the_watching_process_killed_in_any_state_ends_with_one_version(
    tmp_path: Path, start: Callable[..., Process], state: str
) -> None:
    wish, event, suffix, count = DEATHS[state]
    box = Box(tmp_path, start)
    box.wish(wish)
    watch = box.dies("watch", event, suffix, count)
    assert watch.wait(60) == -signal.SIGKILL, watch.err.read_text()
    assert box.said.get("desired_version") != 2

    watch = box.mien("watch")

    ends_with(box, watch, wish)
    assert watch.end() == 0


def test_killed_while_a_wish_waits_for_the_window_s_end_and_after_it_was_told(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    box = Box(tmp_path, start)
    watch = box.mien("watch")
    wait_for(lambda: box.said, 60, why="the first answer")
    assert (box.said["desired_version"], box.said["reported"]["window_seconds"]) == (1, 8)
    box.wish(GOOD)
    wait_for(lambda: "new settings wait for the window's end" in watch.events(), why="the wish to wait")
    assert watch.end(signal.SIGKILL) == -signal.SIGKILL
    assert box.said["desired_version"] == 1

    watch = box.mien("watch")
    ends_with(box, watch, GOOD)
    watch.end(signal.SIGKILL)
    watch = box.mien("watch")

    ends_with(box, watch, GOOD)


def desire(broker: Mosquitto, wish: dict[str, Any]) -> None:
    words = ("-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-r", "-t", "mien/v1/shelf-7/down/twin", "-m", json.dumps(wish))
    subprocess.run(("mosquitto_pub", *words), check=True, timeout=20)


@pytest.mark.parametrize(("event", "suffix"), [("os.rename", INBOX), ("open", RUN)], ids=["wish not left", "answer not sent"])
def test_the_sending_process_killed_in_any_state_ends_with_one_version_and_its_answer(
    tmp_path: Path,
    start: Callable[..., Process],
    mosquitto: Mosquitto,
    listen: Callable[..., Listener],
    event: str,
    suffix: str,
) -> None:
    box = Box(tmp_path, start, mosquitto.url)
    if suffix == RUN:
        box.wish(GOOD)
        watch = box.mien("watch")
        ends_with(box, watch, GOOD)
    else:
        desire(mosquitto, GOOD)
    send = box.dies("send", event, suffix, 1)
    assert send.wait(60) == -signal.SIGKILL, send.err.read_text()
    heard = listen(mosquitto, "-t", "mien/v1/shelf-7/up/twin")
    assert heard.messages == []

    box.mien("send")
    if suffix == INBOX:
        watch = box.mien("watch")

    ends_with(box, watch, GOOD)
    wait_for(lambda: heard.messages and heard.messages[-1]["payload"]["desired_version"] == 2, why="the answer")
    assert heard.messages[-1]["payload"] == box.said


def test_both_killed_while_a_wish_waits_answer_it_when_they_are_back(
    tmp_path: Path, start: Callable[..., Process], mosquitto: Mosquitto, listen: Callable[..., Listener]
) -> None:
    box = Box(tmp_path, start, mosquitto.url)
    watch, send = box.mien("watch"), box.mien("send")
    heard = listen(mosquitto, "-t", "mien/v1/shelf-7/up/twin")
    wait_for(lambda: heard.messages, 60, why="the first answer")
    desire(mosquitto, GOOD)
    wait_for(lambda: "new settings wait for the window's end" in watch.events(), why="the wish to wait")
    for process in (watch, send):
        process.end(signal.SIGKILL)

    watch, send = box.mien("watch"), box.mien("send")

    ends_with(box, watch, GOOD)
    wait_for(lambda: heard.messages[-1]["payload"]["desired_version"] == 2, why="the answer")
    assert [message["payload"]["desired_version"] for message in heard.messages if message["payload"]["state"] != "applied"] == []
